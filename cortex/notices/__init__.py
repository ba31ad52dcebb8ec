"""What Cortex tells single persons: by e-mail or in a chat of their own, durably."""
