"""Encryption of what must not be read in the database."""
