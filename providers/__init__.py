"""Networks that run jobs. Each folder knows one network's API; nothing else does."""
