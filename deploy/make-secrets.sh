#!/bin/sh
# make-secrets.sh [FOLDER]: make the secrets of docker-compose.temporal.yml, by default in
# deploy/secrets. What is there already stays, so running it again is harmless.
#
# The folder is closed to everyone else on this machine. The files in it can be read, because
# compose shows each one to containers whose users (PostgreSQL's, Temporal's, Cortex's) are not
# the owner here; a file of mode 0600 would be closed to them.
set -eu
umask 077

folder=${1:-$(dirname "$0")/secrets}
# Where the containers find PostgreSQL; part of the connection URL.
database=${DATABASE_ADDRESS:-postgresql:5432}

password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

write() { # write NAME TEXT: whole or not at all, and never over what is there
    if [ ! -s "$folder/$1" ]; then
        printf '%s' "$2" >"$folder/.$1.new"
        chmod 444 "$folder/.$1.new"
        mv "$folder/.$1.new" "$folder/$1"
        printf 'made %s\n' "$folder/$1"
    fi
}

mkdir -p "$folder"
chmod 700 "$folder"
write postgres_password "$(password)"
write temporal_db_password "$(password)"
write cortex_db_password "$(password)"
write cortex_database__url "postgresql://cortex:$(cat "$folder/cortex_db_password")@$database/cortex"
write cortex_api__key "ctx_$(password)"
write cortex_encryption_keys "k1:$(head -c 32 /dev/urandom | base64 | tr -d '\n')"
