"""Commands of the database, delivered to Temporal."""
