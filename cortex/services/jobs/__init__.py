"""Taking jobs, changing them, and what one may read of them."""
