"""What should not be there: found by comparing networks, books and Temporal, and closed."""
