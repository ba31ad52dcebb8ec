#!/bin/sh
# Roles and databases of Temporal and Cortex: each owns its own and sees no other.
# The PostgreSQL image runs this once, when its volume is new; running it again changes nothing
# but the passwords, which become those of the secret files.
set -eu

secrets=${SECRETS_DIR:-/run/secrets}

# Passwords travel as psql variables from standard input: an argument would show in `ps`.
{
    printf "\\\\set temporal_password '%s'\n" "$(cat "$secrets/temporal_db_password")"
    printf "\\\\set cortex_password '%s'\n" "$(cat "$secrets/cortex_db_password")"
    cat <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', name)
  FROM unnest(ARRAY['temporal', 'cortex']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE temporal PASSWORD :'temporal_password';
ALTER ROLE cortex PASSWORD :'cortex_password';
SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
  FROM (VALUES ('temporal', 'temporal'), ('temporal_visibility', 'temporal'), ('cortex', 'cortex'))
       AS wanted (name, owner)
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
REVOKE ALL ON DATABASE temporal, temporal_visibility, cortex FROM PUBLIC;
SQL
} | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres
