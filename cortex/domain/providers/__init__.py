"""What is known of a provider: its health, its circuit breaker, its record, its rank. Pure."""
