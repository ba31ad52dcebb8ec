# The runner: runs a command exactly once, frames its output, tells its end, then idles until it
# is released. Needs nothing but a POSIX shell; what else there is (date, curl, wget, tar) it uses.
#
# Called as `sh -c <this> cortex-runner COMMAND ARG...`; settings come as CORTEX_RUNNER_* variables.
# Each line that it prints is one of
#     o<n> text        line n of the command's stdout
#     e<n> text        line n of its stderr
#     c <token> ...    what the runner itself says: the command cannot write such a line. How the
#                      command ended is `end CODE TIME OUTPUTS`, or `stopped ...` if somebody had
#                      asked the container to end and the command did not succeed all the same
umask 077
token=$CORTEX_RUNNER_TOKEN
key=$CORTEX_RUNNER_KEY
idle=${CORTEX_RUNNER_IDLE:-1}
keep=$CORTEX_RUNNER_STATE
marks=$CORTEX_RUNNER_MARKS
workdir=$CORTEX_RUNNER_WORKDIR
inputs_url=$CORTEX_RUNNER_INPUTS_URL
outputs=$CORTEX_RUNNER_OUTPUTS
outputs_url=$CORTEX_RUNNER_OUTPUTS_URL
result_url=$CORTEX_RUNNER_RESULT_URL
exec 3>&1

say() { printf 'c %s %s\n' "$token" "$*" >&3; }

now() { date +%s 2>/dev/null || printf 0; }

has() { command -v "$1" >/dev/null 2>&1; }

# The first folder that can be written; one that is kept when the container restarts, if named.
for folder in "$keep" "$marks" "$TMPDIR" /tmp /dev/shm /var/tmp /run . /; do
    [ -n "$folder" ] || continue
    [ -d "$folder" ] || mkdir -p "$folder" 2>/dev/null
    state=$folder/.cortex-$key
    (: >>"$state.probe") 2>/dev/null && break
    state=
done

rest() { # nothing is left to do: wait for the release, without a tool that waits
    [ "$idle" = 1 ] || exit "${1:-0}"
    trap 'kill -KILL $sleeper 2>/dev/null; exit 0' TERM INT HUP
    while :; do
        sh -c 'kill -STOP $$' 3>&- &
        sleeper=$!
        wait $sleeper
    done
}

if [ -z "$state" ]; then
    say "end 126 $(now) none no folder can be written"
    rest 126
fi

replay() { # after a restart: what the earlier container has said
    [ -n "$keep" ] && [ -r "$state.log" ] || return 0
    while IFS= read -r line; do printf '%s\n' "$line" >&3; done <"$state.log"
}

if ! (set -C && : >"$state.started") 2>/dev/null; then
    replay
    if [ -r "$state.end" ]; then
        IFS= read -r last <"$state.end"
        say "$last"
        code=${last#* }
        code=${code%% *}
    else
        say "interrupted $(now)"
        code=137
    fi
    rest "$code"
fi

pump() { # pump LETTER: frame what comes in
    trap '' TERM INT HUP # a signal that is only caught would end `read`
    count=0
    while IFS= read -r line || [ -n "$line" ]; do
        count=$((count + 1))
        printf '%s%s %s\n' "$1" "$count" "$line" >&3
        [ -z "$keep" ] || printf '%s%s %s\n' "$1" "$count" "$line" >>"$state.log"
    done
}

# Of this run alone: the parts of a lease may share a machine and its process numbers.
run=$token.$$.

sweep() { # sweep SIGNAL: whatever carries the run's mark, wherever it has gone
    for process in /proc/[0-9]*; do
        marks=
        { IFS= read -r marks <"$process/environ"; } 2>/dev/null
        case $marks in
        *"CORTEX_RUN=$run"*) kill "-$1" "${process#/proc/}" 2>/dev/null ;;
        esac
    done
}

command_itself() {
    trap : TERM INT HUP
    unset CORTEX_RUNNER_TOKEN CORTEX_RUNNER_KEY CORTEX_RUNNER_IDLE CORTEX_RUNNER_STATE \
        CORTEX_RUNNER_MARKS CORTEX_RUNNER_WORKDIR CORTEX_RUNNER_OUTPUTS CORTEX_RUNNER_OUTPUTS_URL \
        CORTEX_RUNNER_RESULT_URL CORTEX_RUNNER_INPUTS_URL
    # What this shell has to say of the command's end ("Killed") is not its output: 5 is stderr.
    {
        # shellcheck disable=SC2016
        (CORTEX_RUN=$run sh -c 'printf "%s\n" "$$" >"$0.pid"; exec "$@"' "$state" "$@" \
            2>&5 3>&- 4>&- 5>&-)
        code=$?
    } 5>&2 2>/dev/null
    printf '%s\n' "$code" >"$state.code"
    sweep KILL
}

asked= # a signal that the command has not been given yet
how=end
trap asked=1 TERM INT HUP

if [ -n "$workdir" ] && ! cd "$workdir" 2>/dev/null; then
    mkdir -p "$workdir" 2>/dev/null
    if ! cd "$workdir" 2>/dev/null; then
        printf 'e1 the folder %s cannot be made\n' "$workdir" >&3
        say "end 126 $(now) none no working folder"
        rest 126
    fi
fi

receive() { # receive FILE URL
    if has curl; then
        curl -fsS -m 600 --retry 3 -o "$1" "$2" >/dev/null 2>&1
    elif has wget; then
        wget -q -T 600 -O "$1" "$2" >/dev/null 2>&1
    else
        return 1
    fi
}

if [ -n "$inputs_url" ]; then
    if ! receive "$state.in" "$inputs_url" || ! tar -xf "$state.in" 2>/dev/null; then
        printf 'e1 the files of the job did not arrive: that needs curl or wget, and tar\n' >&3
        say "end 126 $(now) none no input files"
        rest 126
    fi
    rm -f "$state.in"
fi

say "start $(now)"
[ -z "$keep" ] || printf 'c %s start %s\n' "$token" "$(now)" >"$state.log"
# A signal to the whole group must end none of these shells: each begins without the traps of its parent.
{
    trap : TERM INT HUP
    {
        trap : TERM INT HUP
        command_itself "$@" 2>&1 1>&4 | pump e
    } 4>&1 | pump o
} &
running=$!
# From here on this shell has nothing to say but what goes to 3: that a signal has ended a tool of its
# own ("Terminated") is nobody's output.
exec 2>/dev/null
while :; do
    # The command's own process gets the signals that come to the runner, early ones as well.
    while [ -n "$asked" ] && kill -0 "$running" 2>/dev/null; do
        { IFS= read -r main <"$state.pid"; } 2>/dev/null || continue
        kill -TERM "$main" 2>/dev/null
        asked=
        how=stopped
    done
    wait "$running" && break
    kill -0 "$running" 2>/dev/null || break
done
trap : TERM INT HUP

{ IFS= read -r code <"$state.code"; } 2>/dev/null || code=137
ended=$(now)
[ "$code" != 0 ] || how=end
stopped=false
[ "$how" = end ] || stopped=true

send() { # send FILE URL
    if has curl; then
        curl -fsS -m 600 --retry 3 -T "$1" "$2" >/dev/null 2>&1
    elif has wget; then
        wget -q -T 600 -O /dev/null --post-file="$1" "$2" >/dev/null 2>&1
    else
        return 1
    fi
}

inside() { # inside PATH: no folder on the way to it is a link, which may lead out of the job
    rest=$1
    way=
    while :; do
        case $rest in
        */*) way=$way${rest%%/*} ;;
        *) return 0 ;;
        esac
        [ -L "$way" ] && return 1
        way=$way/
        rest=${rest#*/}
    done
}

sent=none
if [ -n "$outputs" ] && [ -n "$outputs_url" ]; then
    sent=failed
    if has tar; then
        set -f
        old=$IFS
        IFS='
'
        set --
        for path in $outputs; do
            [ -e "$path" ] && inside "$path" && set -- "$@" "$path"
        done
        IFS=$old
        set +f
        [ $# -gt 0 ] || set -- -T /dev/null
        tar -cf "$state.tar" "$@" 2>/dev/null && send "$state.tar" "$outputs_url" && sent=sent
        rm -f "$state.tar" 2>/dev/null
    fi
fi

printf '%s %s %s %s\n' "$how" "$code" "$ended" "$sent" >"$state.end"
say "$how $code $ended $sent"
if [ -n "$result_url" ]; then
    printf '{"exit_code":%s,"finished_at":%s,"outputs":"%s","stopped":%s}\n' \
        "$code" "$ended" "$sent" "$stopped" >"$state.json"
    send "$state.json" "$result_url"
fi
rest "$code"
