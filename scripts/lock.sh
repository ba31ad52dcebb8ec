#!/bin/sh
# lock.sh UV: pin what pyproject.toml allows, in four files that agree with one another.
#   requirements.txt         Cortex with its embedded servers
#   requirements-dev.txt     the tools for tests and checks, on top of requirements.txt
#   requirements-render.txt  Cortex with Blender, for the render provider's driver `local`
#   requirements-server.txt  Cortex without embedded servers, for container images
set -eu

uv=$1

compile() { # compile OUTPUT ARGUMENT...
    output=$1
    shift
    # An old file holds its versions: for a new package alone (KEEP=1). No index or link is written.
    [ -n "${KEEP:-}" ] || rm -f "$output"
    "$uv" pip compile --quiet --universal --python-version 3.11 --no-header \
        --annotation-style line --output-file "$output" "$@"
    { echo "# Made by 'make lock' from pyproject.toml; do not edit." && cat "$output"; } >"$output.new"
    mv "$output.new" "$output"
}

compile requirements.txt pyproject.toml --extra embedded
compile requirements-dev.txt --group dev --constraints requirements.txt
compile requirements-render.txt pyproject.toml --extra render --constraints requirements.txt
compile requirements-server.txt pyproject.toml --constraints requirements.txt
