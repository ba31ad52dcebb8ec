"""Steps about a provider itself: its check, its drafts, the look at what it holds."""
