"""SQL about notices: what persons want, what happened, what waits to be told."""
