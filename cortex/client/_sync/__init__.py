"""The blocking client, one module per noun."""
# Made from _async/__init__.py by `make format`; change that one.
