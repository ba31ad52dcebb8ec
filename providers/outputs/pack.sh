# Packs a job's result files, by nothing but a POSIX shell and `tar` (or `cat` and `wc`).
#
# `pack STEM` prints an archive of what $outputs names, seen from the current folder: for each
# declared path `PATH//PATTERN//`, the pattern empty for a plain path (cortex.domain.patterns). STEM
# is the beginning of the names of two files that it may write.
#
# What it packs may be more than is kept, never less: who reads it decides, by the same rule for all
# networks. Paths are packed from the root; a trailer after the tar says what no tar does: which
# folder is the working folder, and what is there and cannot be packed. A link is packed with what
# it leads to, if that lies in the working folder.

cont=$(printf '\200-\277')
nl='
'

inside() { # inside PATH: it is a file of the job
    near=$roots
    while [ -n "$near" ]; do
        top=${near%%//*}
        near=${near#*//}
        case $1/ in
        /etc/* | /proc/* | /sys/* | /dev/* | /run/*) [ -n "$top" ] || continue ;;
        esac
        case $1/ in "$top"/*) return 0 ;; esac
    done
    return 1
}

give() { # give PATH: to be packed
    case $1 in
    *"$nl"* | *\\*) odd=$odd.$1// ;;
    *) printf '.%s\n' "$1" >&6 ;;
    esac
}

note() { printf '%s %s//\n' "$1" "$2" >&7; } # note WORD PATH

aim() { # aim LINK: $target is what it says
    target=$(readlink "$1" && echo .) || target=$(ls -ld "$1" && echo .)
    target=${target%"$nl".}
    case $target in *"$1 -> "*) target=${target#*"$1 -> "} ;; esac
}

lead() { # lead PATH: $real is where it leads; links on the way are packed as well
    todo=${1#/}
    real=
    hops=0
    while [ -n "$todo" ]; do
        step=${todo%%/*}
        case $todo in */*) todo=${todo#*/} ;; *) todo= ;; esac
        case $step in
        '' | .) continue ;;
        ..) real=${real%/*} && continue ;;
        esac
        if [ -L "$real/$step" ]; then
            hops=$((hops + 1))
            [ "$hops" -le 40 ] || return 1
            inside "$real/$step" && give "$real/$step"
            aim "$real/$step"
            case $target in /*) real= ;; esac
            todo=${target#/}/$todo
        else
            real=$real/$step
        fi
    done
    [ -e "$real/" ] || [ -e "$real" ]
}

walk() { # walk PATH: note what no tar has, and what links lead to
    if [ -L "$1" ]; then
        lead "$1" && inside "$real" || return 0
        case $walked in *"//$real//"*) return 0 ;; esac
        walked=$walked$real//
        give "$real"
        walk "$real"
    elif [ -d "$1" ]; then
        if ! [ -r "$1" ] || ! [ -x "$1" ]; then
            note unreadable "$1"
            return 0
        fi
        for item in "$1"/* "$1"/.[!.]* "$1"/..?*; do
            if [ -e "$item" ] || [ -L "$item" ]; then walk "$item"; fi
        done
    elif [ -f "$1" ]; then
        [ -r "$1" ] || note unreadable "$1"
    elif [ -S "$1" ]; then
        note socket "$1"
    fi
}

found() { # found PATH: one of those that are declared
    if [ "${1%/*}" != "$parent" ]; then
        parent=${1%/*}
        lead "$parent" || real=//
        place=$real
    fi
    set -- "$place/${1##*/}"
    if [ "$place" != // ] && inside "$1" && { [ -e "$1" ] || [ -L "$1" ]; }; then
        give "$1"
        walk "$1"
    fi
}

fits() { # fits NAME PATTERN
    plain=$1
    # shellcheck disable=SC2295
    while :; do
        case $plain in
        *[$cont]*) plain=${plain%%[$cont]*}${plain#*[$cont]} ;;
        *) break ;;
        esac
    done
    # shellcheck disable=SC2254
    case $plain in $2) return 0 ;; esac
    return 1
}

seek() { # seek FOLDER PATTERN: what matches below the folder
    case $2 in
    */*) set -- "$1" "${2%%/*}" "${2#*/}" ;;
    *) set -- "$1" "$2" '' ;;
    esac
    if [ "$2" = '**' ]; then
        seek "$1" "$3"
        for item in "$1"/*; do
            [ -d "$item" ] && [ ! -L "$item" ] || continue
            # What is packed whole need not be searched.
            case $3 in */*) ;; *) fits "${item##*/}" "$3" && continue ;; esac
            seek "$item" "**/$3"
        done
        return 0
    fi
    case $2 in
    .*) for item in "$1"/.[!.]* "$1"/..?*; do try "$item" "$2" "$3"; done ;;
    *) for item in "$1"/*; do try "$item" "$2" "$3"; done ;;
    esac
}

try() { # try PATH PART REST: go on there if its name matches the part
    fits "${1##*/}" "$2" || return 0
    if [ -z "$3" ]; then
        found "$1"
    elif [ -d "$1" ]; then
        if [ -L "$1" ]; then lead "$1" && inside "$real" || return 0; fi
        seek "$1" "$3"
    fi
}

tree() { # tree PATH PATTERN: how far links may lead from a path from the root
    if [ -z "$2" ]; then
        top=${1%/*}
        top=${top:-$1}
    else
        top=
        fixed=${2#/}/
        while [ -n "$fixed" ]; do
            case ${fixed%%/*} in *[*?[]*) break ;; esac
            top=$top/${fixed%%/*}
            fixed=${fixed#*/}
        done
    fi
    lead "$top" && roots=$roots$real//
}

plain() { # plain PATH: what tar would pack
    if [ -L "$1" ]; then
        aim "$1"
        printf 'l %s//\n%s//\n' "$1" "$target"
    elif [ -d "$1" ]; then
        printf 'd %s//\n' "$1"
        for item in "$1"/* "$1"/.[!.]* "$1"/..?*; do
            if [ -e "$item" ] || [ -L "$item" ]; then plain "$item"; fi
        done
    elif [ -f "$1" ] && [ -r "$1" ]; then
        [ -x "$1" ] && way=x || way=f
        size=$(wc -c <"$1")
        printf '%s %s//\n%d\n' "$way" "$1" "$size"
        cat "$1"
    elif [ -p "$1" ]; then
        printf 'p %s//\n' "$1"
    elif [ -b "$1" ] || [ -c "$1" ]; then
        printf 'c %s//\n' "$1"
    elif [ -e "$1" ]; then
        printf 'o %s//\n' "$1"
    fi
}

pack() { # pack STEM
    LC_ALL=C
    export LC_ALL
    exec 6>"$1.list" 7>"$1.notes" || return 1
    stem=$1
    base=$(pwd -P && echo .)
    base=${base%"$nl".}
    base=${base%/}
    roots=$base// walked=// odd='' parent=//
    # shellcheck disable=SC2154
    left=$outputs
    while [ -n "$left" ]; do
        path=${left%%//*}
        left=${left#*//}
        match=${left%%//*}
        left=${left#*//}
        case $path in
        /*) at='' && tree "$path" "$match" ;;
        *) at=$base path=/$path ;;
        esac
        found "$at$path"
        [ -z "$match" ] || seek "$at" "${match#/}"
    done
    exec 6>&- 7>&-
    cd / || return 1
    if command -v sort >/dev/null 2>&1; then sort -u -o "$stem.list" "$stem.list"; fi
    odds=$odd
    set --
    # A tar may know no `-T`, and a command takes so many words only.
    while [ $# -lt 1000 ] && IFS= read -r path; do set -- "$@" "$path"; done <"$stem.list"
    if [ $# -lt 1000 ]; then kind=words; else kind=list && set --; fi
    while [ -n "$odds" ]; do
        set -- "$@" "${odds%%//*}"
        odds=${odds#*//}
    done
    [ $# -gt 0 ] || set -- ".$stem.notes" # an archive of nothing is none
    printf '.%s\n' "$stem.notes" >"$stem.one"
    if ! command -v tar >/dev/null 2>&1; then
        kind=plain
    elif [ "$kind" = list ]; then
        tar -cf /dev/null -T "$stem.one" 2>/dev/null || kind=plain
    fi
    case $(tar --version 2>/dev/null) in
    *GNU*) how=-cSf ;; # holes of a file take no room
    *) how=-cf ;;
    esac
    case $kind in
    words) tar $how - "$@" 2>/dev/null ;;
    list) tar $how - -T "$stem.list" "$@" 2>/dev/null ;;
    *)
        printf 'cortex-plain 1//\n'
        while IFS= read -r path; do plain "${path#.}"; done <"$stem.list"
        while [ -n "$odd" ]; do
            path=${odd%%//*}
            odd=${odd#*//}
            plain "${path#.}"
        done
        printf 'e\n'
        ;;
    esac
    printf '\ncortex-outputs 1//\nroot %s//\n' "$base"
    while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done <"$stem.notes"
    rm -f "$stem.list" "$stem.notes" "$stem.one"
    printf 'whole//\n'
}
