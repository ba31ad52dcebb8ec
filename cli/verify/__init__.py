"""The first live run of a provider: two small jobs, what they should do, and what they did."""
