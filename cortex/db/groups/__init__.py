"""Groups in the database: accepted, run by guarded writes, shown as JSON."""
