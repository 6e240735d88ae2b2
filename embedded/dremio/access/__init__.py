"""Who may do what in the enterprise edition: users, roles, privileges and ownership, and the checks of statements.

The community edition has no access control: every user may do everything, and GRANT is refused.
"""
