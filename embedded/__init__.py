"""The embedded stack: every service of the lakehouse on one machine, without containers."""
