#!/bin/sh
# make-venv.sh PYTHON FOLDER: make a virtual environment with pip, or say what is missing.
set -eu

python=$1
venv=$2

fail() {
    printf 'cortex: %s\n' "$@" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "\`$python\` is not on this machine; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "\`$python\` is Python $version, and Cortex needs 3.11 or newer; name one: make PYTHON=python3.11"

if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    "$python" -m venv "$venv"
elif "$python" -c 'import venv, pip' 2>/dev/null; then
    # Debian splits ensurepip off; a pip that is there can do its work.
    "$python" -m venv --without-pip "$venv"
    "$python" -m pip --python "$venv/bin/python" install --quiet pip || {
        rm -rf "$venv"
        fail "pip of \`$python\` could not set up \`$venv\`; install the package python$version-venv instead"
    }
else
    fail "\`$python\` has no ensurepip, which a virtual environment needs" \
        "on Debian and Ubuntu: apt-get install python$version-venv" \
        "elsewhere: install the full Python, or name another one: make PYTHON=python3.12"
fi
