"""All tables, one module per noun."""
