"""Live events: whose they are, and how they are sent."""
