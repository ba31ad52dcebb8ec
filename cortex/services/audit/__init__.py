"""The audit log: what the API reads of it, and what it adds of its own accord."""
