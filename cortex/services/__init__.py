"""What Cortex does, as functions and services that every front end calls."""
