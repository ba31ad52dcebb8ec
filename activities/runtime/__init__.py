"""What a worker is made of: its providers, their queues, and what goes around each activity."""
