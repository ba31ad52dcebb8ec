#!/bin/sh
# `test-busy.sh RUNS`: the whole suite so many times, while another program keeps every core busy.
# A test that fails here and not on a quiet machine depends on its speed: that is a fault. Ends with
# 1 if anything failed; all runs are made.
set -eu
runs=${1:-5}
busy=""
trap 'kill $busy 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM

for _ in $(seq "$(getconf _NPROCESSORS_ONLN)"); do
    (while :; do :; done) &
    busy="$busy $!"
done

failed=0
for run in $(seq "$runs"); do
    for part in test test-slow; do
        begun=$(date +%s)
        verdict=passed
        make "$part" || verdict=FAILED
        [ "$verdict" = passed ] || failed=$((failed + 1))
        printf '\n==> busy run %s of %s: make %s %s in %s s\n\n' \
            "$run" "$runs" "$part" "$verdict" "$(($(date +%s) - begun))"
    done
done
[ "$failed" = 0 ]
