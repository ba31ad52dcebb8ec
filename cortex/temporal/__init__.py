"""How Cortex speaks to Temporal: contracts, connection, delivery of commands."""
