#!/usr/bin/env bash
# All tests. What fails runs once more, alone: a test that passes then is named as unsteady, in
# the open, instead of making everything else wait for a quieter machine.
set -euo pipefail

if make test PYTEST_ARGS="--maxfail=10 $*"; then
    exit 0
fi
printf '\n==> what failed, once more and alone\n'
make test WORKERS=1 PYTEST_ARGS="--last-failed --last-failed-no-failures none $*"
printf '\nUNSTEADY: the tests above failed beside others and passed alone\n'
