#!/usr/bin/env bash
# bench/compare.sh REV [OPTIONS]: the API of commit REV and of the working tree, side by side in one run.
#
# Both run as whole stacks, on ports and in folders of their own, and answer the same client in
# turns. Takes two to three minutes; `bench/compare.sh REV --help` lists the options.
set -euo pipefail

usage="usage: bench/compare.sh REV [--rounds N] [--seconds S] [--jobs N] [--clients N]"
root=$(cd "$(dirname "$0")/.." && pwd)
python=$root/.venv/bin/python
[[ $# -ge 1 && $1 != -* ]] || { echo "$usage" >&2; exit 2; }
[[ -x $python ]] || { echo "run \`make dev\` first" >&2; exit 2; }
rev=$(git -C "$root" rev-parse --verify --quiet "$1^{commit}") || { echo "no commit: $1" >&2; exit 2; }
shift

folder=$(mktemp -d -t ctx-compare-XXXXXX)
child=
clean_up() {
    trap - EXIT INT TERM HUP
    if [[ -n $child ]]; then
        kill -TERM "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    git -C "$root" worktree remove --force "$folder/tree" 2>/dev/null || true
    rm -rf "$folder"
    git -C "$root" worktree prune
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

git -C "$root" worktree add --quiet --detach "$folder/tree" "$rev"

# What was pinned then is pinned now: one environment serves both. Otherwise it gets its own.
pins() { sed -E 's/[[:space:]]*(;.*)?(#.*)?$//; /^$/d' "$1" | sort; }
old_python=$python
if [[ -n $(comm -23 <(pins "$folder/tree/requirements.txt") <(pins "$root/requirements.txt")) ]]; then
    echo "other versions were pinned at ${rev:0:7}: installing them ..." >&2
    "$python" -m venv "$folder/venv"
    old_python=$folder/venv/bin/python
    "$old_python" -m pip install --quiet --requirement "$folder/tree/requirements.txt"
    "$old_python" -m pip install --quiet --no-deps "$folder/tree"
fi

cd "$root"
# In the background, so that a signal is not put off until it has ended.
"$python" -m bench.compare --name "${rev:0:7}" --tree "$folder/tree" --python "$old_python" "$@" &
child=$!
status=0
wait "$child" || status=$?
child=
exit "$status"
