#!/bin/sh
# Build the Temporal server that docker-compose.temporal.yml runs, with its schema tool, from the Go
# module proxy: about 20 minutes on two cores, the first time. Kept outside of the tree;
# `tests/integration/test_real_temporal.py` and `python -m tests.support.real_temporal` use it.
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's|.*image: temporalio/server:||p' docker-compose.temporal.yml)
folder=${CORTEX_REAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cortex/real}/temporal-$version
if [ -x "$folder/temporal-server" ] && [ -x "$folder/temporal-sql-tool" ]; then
    echo "$folder"
    exit
fi
command -v go >/dev/null || {
    echo "building Temporal's server needs Go (https://go.dev/dl, or Debian's golang-go)" >&2
    exit 1
}

draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
trap 'exit 130' INT TERM
module=go.temporal.io/server
(
    cd "$draft"
    go mod init example.com/real >/dev/null 2>&1
    go get "$module@v$version"
    go build -ldflags "-s -w" -o temporal-server "$module/cmd/server"
    go build -ldflags "-s -w" -o temporal-sql-tool "$module/cmd/tools/sql"
)
mkdir -p "$folder"
mv "$draft/temporal-server" "$draft/temporal-sql-tool" "$folder/"
echo "$folder"
