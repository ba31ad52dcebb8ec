"""Providers in the database: what is configured, how they are, and their record."""
