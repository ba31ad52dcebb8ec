"""Accounts: who may ask at all, and what is known of them."""
