"""The explorer: traces, what does not get on, and decisions by hand."""
