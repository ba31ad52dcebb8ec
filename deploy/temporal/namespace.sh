#!/bin/sh
# Make the namespace and the search attributes of Cortex where they are missing. Workers do the
# same at their start; here it is done before, so that a worker may run without operator rights.
set -eu

TEMPORAL_ADDRESS=${TEMPORAL_ADDRESS:-temporal:7233}
namespace=${TEMPORAL_NAMESPACE:-cortex}
retention=${RETENTION:-720h}
export TEMPORAL_ADDRESS

tries=0
until temporal operator cluster health >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
        printf 'Temporal at %s does not answer\n' "$TEMPORAL_ADDRESS" >&2
        exit 1
    fi
    sleep 1
done

exists() { temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; }

if ! exists; then
    temporal operator namespace create --namespace "$namespace" --retention "$retention" \
        --description "Jobs of Cortex" || exists
fi

# A new namespace is known to every part of the server only after its caches were refreshed.
attributes() {
    temporal operator search-attribute create --namespace "$namespace" \
        --name CortexProvider --type Keyword \
        --name CortexStatus --type Keyword \
        --name CortexUser --type Keyword \
        --name CortexGroup --type Keyword \
        --name CortexLabels --type KeywordList
}
tries=0
until attributes; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || exit 1
    sleep 1
done
printf 'namespace %s is ready\n' "$namespace"
