#!/bin/sh
# Start the Temporal server. It reads its database password from the environment only; this way
# the password stands in a secret file and in no container definition.
set -eu

POSTGRES_PWD=$(cat "${SECRETS_DIR:-/run/secrets}/temporal_db_password")
export POSTGRES_PWD
exec /etc/temporal/entrypoint.sh
