"""The one watcher of each provider: what it sees of the running leases, and what it writes down."""
