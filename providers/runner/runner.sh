# The runner: runs a command exactly once, frames its output, tells its end, then idles until it
# is released. Needs nothing but a POSIX shell; what else there is (date, curl, wget, tar) it uses.
#
# Between `# part NAME` and `# end of part` is what only some networks need.
#
# Called as `sh -c <this> cortex-runner COMMAND ARG...`; settings come as CORTEX_RUNNER_* variables.
# Each line that it prints is shorter than 16 KiB, where the logs of containers begin to break lines,
# and is one of
#     o<n> text        a line of the command's stdout, or the end of one
#     o<n>+text        the beginning of one, or a piece of it, as it came: the line goes on
#     o<n>=text        the same two after a carriage return: the line begins anew. Of several states
#     o<n>-text        of a progress bar that came together, only the last one is told
#     e<n>...          the same of its stderr. <n> grows from one to the next of a stream
#     c <token> ...    what the runner itself says: the command cannot write such a line. How the
#                      command ended is `end CODE TIME OUTPUTS`, or `stopped ...` if somebody had
#                      asked the container to end and the command did not succeed all the same;
#                      `cut LETTER`: from here on nothing of a stream is printed, for there is no
#                      more room; `long sent|failed`: what became of it
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
handover_url=$CORTEX_RUNNER_HANDOVER_URL
handover_pad=$CORTEX_RUNNER_HANDOVER_PAD
handover_needed=$CORTEX_RUNNER_HANDOVER_NEEDED
room=$CORTEX_RUNNER_ROOM
long_url=
asked= # a signal came of which nothing has been made yet
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

# The folder of the marks may be a few MiB of memory, which the command may have filled: only the
# marks lie there. What is written while the command runs, and files, go where there is room.
work=$state
if [ -z "$keep" ] && [ -n "$marks" ]; then
    for folder in "$TMPDIR" /tmp /var/tmp /run .; do
        [ -n "$folder" ] && [ -d "$folder" ] || continue
        (: >>"$folder/.cortex-$key.probe") 2>/dev/null || continue
        work=$folder/.cortex-$key
        break
    done
fi

rest() { # nothing is left to do: wait for the release, without a tool that waits
    [ "$idle" = 1 ] || exit "${1:-0}"
    while :; do
        # shellcheck disable=SC2016
        sh -c 'kill -STOP $$' 3>&- &
        trap 'kill -KILL $! 2>/dev/null; exit 0' TERM INT HUP
        if [ -n "$asked" ]; then # it came between the last word and here
            kill -KILL $! 2>/dev/null
            exit 0
        fi
        wait $!
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

nl='
'
cr=$(printf '\r')
cont=$(printf '\200-\277') # bytes that go on with a letter, and those that begin one of 2, 3, 4 bytes
two=$(printf '\302-\337')
three=$(printf '\340-\357')
four=$(printf '\360-\364')
kib='????????????????'
kib=$kib$kib$kib$kib$kib$kib$kib$kib
kib=$kib$kib$kib$kib$kib$kib$kib$kib

# The same as `frames`, for large pieces: l is the letter, n the last number, k how the piece ends.
# shellcheck disable=SC2016
framing='
NR > 1 { put(held, " ") }
{ held = $0 }
END { if (NR) put(held, k) }
function put(s, kind, states, i) {
    if (index(s, "\r")) {
        i = split(s, states, "\r")
        while (i > 1 && states[i] == "") i--
        if (i > 1) kind = kind == "+" ? "-" : "="
        s = states[i]
    }
    printf "%s%.0f%s%s\n", l, ++n, kind, s
}'

state() { # state KIND: of $line, the last state that its carriage returns leave, and its $kind
    kind=$1
    while :; do
        case $line in
        *"$cr") line=${line%"$cr"} ;;
        *"$cr"*)
            line=${line##*"$cr"}
            [ "$kind" = + ] && kind=- || kind='='
            return
            ;;
        *) return ;;
        esac
    done
}

frames() { # frames LETTER TEXT: puts it into frames, numbered on from $number
    text=$2
    framed=
    while [ -n "$text" ]; do
        case $text in
        *"$nl"*) line=${text%%"$nl"*} text=${text#*"$nl"} && state ' ' ;;
        *) line=$text text= && state + ;;
        esac
        number=$((number + 1))
        framed=$framed$1$number$kind$line$nl
    done
}

# part room
# Where room is scarce, what a piece takes of it: in JSON some bytes become several, and each line
# has a time beside it.
odd=$(printf '*[\001-\010\013-\037]*')
tab=$(printf '\t')
a_line=100

fits() { # fits TEXT: it is still to be printed
    [ "$room" -ge 0 ] || return 1
    # shellcheck disable=SC2254
    case ${1%"$nl"} in
    $odd) size=$((${#1} * 6)) ;;
    *[!\ -~$tab$nl]*) size=$((${#1} * 3)) ;;
    *[\"\\$tab]*) size=$((${#1} * 2)) ;;
    *) size=${#1} ;;
    esac
    if [ ${#1} -gt 500 ]; then
        lines=$(printf %s "$1" | tr -dc '\n' | wc -c)
    else
        lines=0
        left=$1
        while [ "$left" != "${left#*"$nl"}" ]; do
            left=${left#*"$nl"}
            lines=$((lines + 1))
        done
    fi
    room=$((room - size - ${lines:-${#1}} * a_line))
    [ "$room" -ge 0 ]
}

print() { # print FORMAT WORD...: as much as there is room for; of the rest, a file
    said=$2
    # shellcheck disable=SC2059
    [ "$1" = %s ] || said=$(printf "$@" && echo .)
    [ "$1" = %s ] || said=${said%.}
    if fits "$said"; then
        printf %s "$said" >&3
        return
    fi
    [ -n "$cut" ] || say "cut $letter"
    cut=1
    [ -n "$long_url$handover_url" ] && [ "$long" -ge 0 ] || return
    long=$((long - ${#said}))
    [ "$long" -ge 0 ] || said="[cortex] the log is cut: no more is kept of a stream of over 32 MiB$nl"
    printf %s "$said" >>"$state.long"
}
# end of part

tell() { # tell FORMAT WORD...: the two streams take turns, by a pipe that holds one byte
    [ -z "$turns" ] || IFS= read -r _ <&8
    # shellcheck disable=SC2059
    if [ -n "$room" ]; then print "$@"; else printf "$@" >&3; fi
    # shellcheck disable=SC2059
    [ -z "$keep" ] || printf "$@" >>"$state.log"
    [ -z "$turns" ] || printf '\n' >&8
}

take() { # take BYTES TIMES: what is there now; NUL, which no shell can hold, becomes no letter
    dd "bs=$1" "count=$2" | tr '\000' '\377'
}

calm() { # after a small piece: do not wake for each of very many, or for each state of a progress bar
    if [ -n "$open" ]; then
        sleep 0.3
        return
    fi
    IFS=' .' read -r seconds hundredths moment </proc/uptime || return
    moment=$seconds$hundredths
    [ $((moment - woken)) -lt 10 ] && quick=$((quick + 1)) || quick=0
    woken=$moment
    [ "$quick" -lt 10 ] || sleep 0.1
}

pieces() { # pieces LETTER: frame what comes in as soon as it comes
    number=0
    quick=0
    woken=0
    open=
    carry=
    while piece=$(take 15000 1 && echo .) && [ "$piece" != . ]; do
        piece=$carry${piece%.}
        carry=
        more=0
        case $piece in
        *[$two] | *[$three][$cont] | *[$four][$cont][$cont]) more=1 ;;
        *[$three] | *[$four][$cont]) more=2 ;;
        *[$four]) more=3 ;;
        *"$cr") carry=$cr piece=${piece%"$cr"} ;;
        esac
        [ "$more" = 0 ] || piece=$piece$(take 1 "$more" && echo .)
        [ "$more" = 0 ] || piece=${piece%.}
        [ -n "$piece" ] || continue
        open=+
        case $piece in *"$nl") open= ;; esac
        framed=
        if [ ${#piece} -gt 500 ]; then
            case $piece in
            *"$nl"*"$nl"*)
                framed=$(printf '%s' "$piece" |
                    awk -v "l=$1" -v "n=$number" -v "k=${open:- }" "$framing" && echo .)
                ;;
            esac
        fi
        case $framed in
        *.) framed=${framed%.} ;;
        *) frames "$1" "$piece" ;;
        esac
        number=$((number / 20000 * 20000 + 20000)) # more than a piece has lines
        tell %s "$framed"
        [ ${#piece} -gt 4000 ] || calm
    done
    [ -z "$open" ] || tell '%s \n' "$1$number"
}

pump() { # pump LETTER ROOM: frame what comes in
    trap '' TERM INT HUP # a signal that is only caught would end `read`
    exec 2>/dev/null
    export LC_ALL=C # what is counted are bytes
    letter=$1
    room=$2
    cut=
    long=33554432
    # Where no process can be started, or a tool is missing, the shell itself goes on by whole lines.
    if has dd && has tr; then (pieces "$1"); fi
    number=1000000000000000
    while IFS= read -r line || [ -n "$line" ]; do
        state ' '
        last=$kind
        while [ ${#line} -gt 1024 ]; do
            mark=$kib
            # shellcheck disable=SC2295
            while after=${line#$mark}; do
                case $after in
                [$cont]*) mark="$mark?" ;;
                *) break ;;
                esac
            done
            number=$((number + 1))
            [ "$last" = '=' ] && kind=- || kind=+
            tell "%s%.${#mark}s\n" "$1$number$kind" "$line"
            last=' '
            line=$after
        done
        number=$((number + 1))
        tell '%s%s\n' "$1$number$last" "$line"
    done
}

# Of this run alone: the parts of a lease may share a machine and its process numbers.
run=$token.$$.

sweep() { # sweep SIGNAL: whatever carries the run's mark, wherever it has gone, or has lost the mark
    # and still holds the command's output. The runner's own shells hold it too: they have the token.
    for process in /proc/[0-9]*; do
        found=
        {
            while IFS= read -r marks || [ -n "$marks" ]; do # a value may have several lines
                case $marks in
                *"CORTEX_RUN=$run"*) found=run && break ;;
                *CORTEX_RUNNER_TOKEN=*) found=own ;;
                esac
            done <"$process/environ"
        } 2>/dev/null
        if [ -z "$found" ]; then
            [ "$process/fd/1" -ef /proc/self/fd/1 ] || [ "$process/fd/2" -ef /proc/self/fd/2 ] ||
                [ "$process/fd/1" -ef /proc/self/fd/2 ] || [ "$process/fd/2" -ef /proc/self/fd/1 ] ||
                continue
        fi
        [ "$found" = own ] || kill "-$1" "${process#/proc/}" 2>/dev/null
    done
}

command_itself() {
    trap : TERM INT HUP
    unset CORTEX_RUNNER_TOKEN CORTEX_RUNNER_KEY CORTEX_RUNNER_IDLE CORTEX_RUNNER_STATE \
        CORTEX_RUNNER_MARKS CORTEX_RUNNER_WORKDIR CORTEX_RUNNER_OUTPUTS CORTEX_RUNNER_OUTPUTS_URL \
        CORTEX_RUNNER_RESULT_URL CORTEX_RUNNER_INPUTS_URL CORTEX_RUNNER_HANDOVER_URL \
        CORTEX_RUNNER_HANDOVER_PAD CORTEX_RUNNER_HANDOVER_NEEDED CORTEX_RUNNER_ROOM
    # What this shell has to say of the command's end ("Killed") is not its output: 5 is stderr.
    {
        # shellcheck disable=SC2016
        (CORTEX_RUN=$run sh -c 'printf "%s\n" "$$" >"$0.pid"; exec "$@"' "$work" "$@" \
            2>&5 3>&- 4>&- 5>&- 8>&- </dev/null)
        code=$?
    } 5>&2 2>/dev/null
    printf '%s\n' "$code" >"$work.code"
    sweep KILL
}

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
        curl -fsS --connect-timeout 20 -m 600 --retry 3 -o "$1" "$2" >/dev/null 2>&1
    elif has wget; then
        wget -q -T 600 -O "$1" "$2" >/dev/null 2>&1
    else
        return 1
    fi
}

# part handover
opened() { # opened PAD: the lines of hexadecimal digits that come in, each XOR one of the pad's
    pad=$1
    plain=
    while read -r left && [ -n "$pad" ]; do
        key=${pad%%,*}
        pad=${pad#"$key"}
        pad=${pad#,}
        while [ -n "$left" ] && [ -n "$key" ]; do
            byte=$((0x${left%"${left#??}"} ^ 0x${key%"${key#??}"}))
            left=${left#??}
            key=${key#??}
            plain=$plain\\0$((byte / 64))$((byte / 8 % 8))$((byte % 8))
        done
        printf '%b' "$plain"
        plain=
    done
}

take_over() { # what must not stand in the open: secrets, and links. It can be had once
    [ -n "$handover_url" ] || return 1
    receive "$state.open" "$handover_url" && [ -s "$state.open" ] || return 1
    eval "$(opened "$handover_pad" <"$state.open")"
    rm -f "$state.open"
    handover_url=
}

# Who was faster than this runner has it now, so the command must not go on without.
if [ -n "$handover_needed" ] && ! take_over; then
    if has curl || has wget; then
        say "end 126 $(now) none handover"
    else
        printf 'e1 the secrets and files of the job did not arrive: that needs curl or wget\n' >&3
        say "end 126 $(now) none no curl and no wget"
    fi
    rest 126
fi
# end of part

if [ -n "$inputs_url" ]; then
    if ! receive "$work.in" "$inputs_url" || ! tar -xf "$work.in" 2>/dev/null; then
        printf 'e1 the files of the job did not arrive: that needs curl or wget, and tar\n' >&3
        say "end 126 $(now) none no input files"
        rest 126
    fi
    rm -f "$work.in"
fi

say "start $(now)"
[ -z "$keep" ] || printf 'c %s start %s\n' "$token" "$(now)" >"$state.log"
# A signal to the whole group must end none of these shells: each begins without the traps of its parent.
printf '\n' | {
    trap : TERM INT HUP
    turns=
    (: 8<>/proc/self/fd/0) 2>/dev/null && turns=1 && exec 8<>/proc/self/fd/0
    {
        trap : TERM INT HUP
        command_itself "$@" 2>&1 1>&4 | pump e "${room:+$((room * 2 / 5))}"
    } 4>&1 | pump o "${room:+$((room * 3 / 5))}"
} &
running=$!
# From here on this shell has nothing to say but what goes to 3: that a signal has ended a tool of its
# own ("Terminated") is nobody's output.
exec 2>/dev/null
while :; do
    # The command's own process gets the signals that come to the runner, early ones as well.
    while [ -n "$asked" ] && kill -0 "$running" 2>/dev/null; do
        { IFS= read -r main <"$work.pid"; } 2>/dev/null || continue
        kill -TERM "$main" 2>/dev/null
        asked=
        how=stopped
    done
    wait "$running" && break
    kill -0 "$running" 2>/dev/null || break
done
trap : TERM INT HUP

{ IFS= read -r code <"$work.code"; } 2>/dev/null || code=137
ended=$(now)
[ "$code" != 0 ] || how=end
stopped=false
[ "$how" = end ] || stopped=true

send() { # send FILE URL
    if has curl; then
        curl -fsS --connect-timeout 20 -m 600 --retry 3 -T "$1" "$2" >/dev/null 2>&1
    elif has wget; then
        wget -q -T 600 -O /dev/null --post-file="$1" "$2" >/dev/null 2>&1
    else
        return 1
    fi
}

sent=none
# part outputs
# packing: the functions of providers/outputs/pack.sh
case $work in /*) stem=$work ;; *) stem=$PWD/$work ;; esac
if [ -n "$outputs" ] && [ -n "$outputs_url" ]; then
    sent=failed
    (pack "$stem") >"$work.tar" && send "$work.tar" "$outputs_url" && sent=sent
    rm -f "$work.tar" 2>/dev/null
fi
# end of part

# part room
if [ -s "$state.long" ]; then
    take_over
    if [ -n "$long_url" ] && send "$state.long" "$long_url"; then say "long sent"; else say "long failed"; fi
    rm -f "$state.long"
fi
# end of part

printf '%s %s %s %s\n' "$how" "$code" "$ended" "$sent" >"$state.end"
asked=
trap asked=1 TERM INT HUP
say "$how $code $ended $sent"
if [ -n "$result_url" ]; then
    printf '{"exit_code":%s,"finished_at":%s,"outputs":"%s","stopped":%s}\n' \
        "$code" "$ended" "$sent" "$stopped" >"$work.json"
    send "$work.json" "$result_url"
fi
rest "$code"
