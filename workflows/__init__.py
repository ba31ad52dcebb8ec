"""What happens in which order, and how it is undone. Deterministic; no I/O.

Nothing is imported here: the sandbox imports this package anew for every run.
"""
