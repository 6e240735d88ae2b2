"""What all services share: run records, leases, the release journal, the batch date, declared YAML.

Everything here may be imported by every other folder of the package and imports none of them.
"""
