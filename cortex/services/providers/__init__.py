"""Adding, changing and asking for providers."""
