"""The embedded Dremio: a server that answers REST and Arrow Flight clients as Dremio does."""
