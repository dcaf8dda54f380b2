# shellcheck shell=sh
# The things to which a container's arguments refer: they can change while the arguments stay the same. $refers has a line for each:
#   network:NAME pid:NAME ipc:NAME     the container whose namespace is used
#   volumes-from:NAME link:NAME        another container
#   net:NAME                           a network that was created by a user
#   file:PATH                          a file that is read when the container is created or, with restart_on, by its program
#   env-file:PATH                      the same; its variables may get their values from the environment
#   env:NAME                           a variable that gets its value from the environment
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

digest() { sha256sum | cut -d ' ' -f 1; }

# The variables in a file for --env-file that get their values from the environment. The file is read as docker does: with any line
# end, with blanks before a variable, with a byte order mark.
without_value() { # FILE
    bom=$(printf '\357\273\277')
    LC_ALL=C sed "1s/^$bom//; s/\r\$//; s/^[[:space:]]*//; /^#/d; /=/d; /^\$/d" "$1"
}

referred() { # KIND WHAT
    case $1 in
    network | pid | ipc | volumes-from | link) docker container inspect --format '{{.Id}}' "$2" 2>/dev/null || echo none ;;
    net) docker network inspect --format '{{.Id}}' "$2" 2>/dev/null || echo none ;;
    env) printenv -- "$2" | digest ;;
    file | env-file)
        [ -e "$2" ] || { echo none; return; }
        # For a directory all of its files.
        {
            find -L "$2" -type f -exec sha256sum {} + | LC_ALL=C sort
            [ "$1" = file ] || without_value "$2" | while IFS= read -r variable; do printenv -- "$variable" || printf unset; done
        } | digest
        ;;
    esac
}

# A line for each of them with its present value: the content of the container's label.
resolve() {
    resolved=$(printf '%s' "$refers" | while IFS= read -r line; do
        echo "${line%%:*} $(referred "${line%%:*}" "${line#*:}") ${line#*:}"
    done)
}

changed() { # BEFORE NOW: the first that is another, in words
    printf '%s\n' "$2" | while read -r kind id what; do
        case "
$1
" in *"
$kind $id $what
"*) continue ;; esac
        case $kind in
        network | pid | ipc | volumes-from | link) echo "container $what, which $name depends on, is another now" ;;
        net) echo "network $what, which $name uses, is another now" ;;
        env) echo "the variable $what of $name is another now" ;;
        *) echo "the file $what of $name has changed" ;;
        esac
        return
    done | grep . || echo "container $name refers to something else than now"
}

# Whether the containers run whose namespaces are to be used: otherwise the old container would be stopped for a new one that cannot
# start.
namespaces_are_there() {
    printf '%s' "$refers" | while IFS= read -r line; do
        case $line in network:* | pid:* | ipc:*) ;; *) continue ;; esac
        { look '{{.State.Running}}' "${line#*:}" && [ "$answer" = true ]; } || { say "not touched: container ${line#*:}, whose ${line%%:*} it uses, does not run" >&2; exit 1; }
    done
}

# Sets $owners: a line for each namespace that a container shares with another one: net, pid or ipc, and the other's id.
owners_of() { # CONTAINER
    look 'net={{.HostConfig.NetworkMode}} pid={{.HostConfig.PidMode}} ipc={{.HostConfig.IpcMode}}' "$1" || return 1
    owners=$(printf '%s\n' "$answer" | tr ' ' '\n' | sed -n 's/=container:/ /p')
}

# Whether all of these containers run: otherwise neither a start nor a restart can succeed.
owners_run() { # CONTAINER
    owners_of "$1" || return 1
    printf '%s\n' "$owners" | while read -r _ owner; do
        [ -z "$owner" ] || { look '{{.State.Running}}' "$owner" && [ "$answer" = true ]; } || exit 1
    done
}

# Whether a container is still in an old namespace of a container that was restarted since.
namespace_is_dead() { # CONTAINER
    owners_of "$1" && look '{{.State.Pid}}' "$1" || return 1
    own=$answer
    ! printf '%s\n' "$owners" | while read -r space owner; do
        [ -n "$owner" ] || continue
        look '{{.State.Pid}}' "$owner" || continue
        is=$(readlink "/proc/$own/ns/$space") || continue
        should=$(readlink "/proc/$answer/ns/$space") || continue
        [ "$is" = "$should" ] || exit 1
    done
}
