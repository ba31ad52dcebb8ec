"""Jobs in the database: their rows, leases, logs, outputs and frames."""
