"""PostgreSQL: tables, migrations and repositories. The only place with SQL."""
