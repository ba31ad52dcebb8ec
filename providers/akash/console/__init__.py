"""The client of the Akash Console's API: its calls, its answers, its refusals."""
