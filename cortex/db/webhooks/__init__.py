"""SQL about webhooks: themselves, the fan-out of events, the deliveries."""
