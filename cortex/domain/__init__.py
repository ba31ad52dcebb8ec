"""The domain: what jobs, leases, offers, money and events are. Pure; no I/O."""
