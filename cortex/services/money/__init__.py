"""What jobs cost and what they may cost."""
