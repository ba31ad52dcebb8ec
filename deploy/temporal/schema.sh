#!/bin/sh
# Bring Temporal's two databases to the schema of this image. Both steps look at the version that
# is there first, so running it again, or with a newer image, is what an upgrade needs.
set -eu

SQL_PASSWORD=$(cat "${SECRETS_DIR:-/run/secrets}/temporal_db_password")
SQL_PLUGIN=postgres12_pgx
SQL_HOST=${POSTGRES_SEEDS:-postgresql}
SQL_PORT=${DB_PORT:-5432}
SQL_USER=${POSTGRES_USER:-temporal}
export SQL_PASSWORD SQL_PLUGIN SQL_HOST SQL_PORT SQL_USER

versions=/etc/temporal/schema/postgresql/v12

update() { # update DATABASE FOLDER
    temporal-sql-tool --db "$1" setup-schema -v 0.0
    temporal-sql-tool --db "$1" update-schema -d "$versions/$2/versioned"
}

update temporal temporal
update temporal_visibility visibility
