"""Taking groups, changing them, and what one may read of them."""
