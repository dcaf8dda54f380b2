# shellcheck shell=sh
# What a container's arguments refer to: it can change while the arguments stay the same. $references has a line for each:
#   network:NAME pid:NAME ipc:NAME     the container whose namespace is used
#   volumes-from:NAME link:NAME        another container
#   net:NAME                           a network that was created by a user
#   file:PATH                          a file that docker reads at the creation or, with restart_on, the container's program
#   env-file:PATH                      the same; a variable in it without a value has that of the environment
#   env:NAME                           a variable whose value is that of the environment
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

digest() { sha256sum | cut -d ' ' -f 1; }

# The variables without a value in a file for --env-file. It is read as docker reads it: any line end, blanks before a variable,
# a byte order mark.
variables_without_value() { # FILE
    bom=$(printf '\357\273\277')
    LC_ALL=C sed "1s/^$bom//; s/\r\$//; s/^[[:space:]]*//; /^#/d; /=/d; /^\$/d" "$1"
}

# The present value of a reference: the id of a container or network, or the digest of a variable or of contents.
value_of() { # KIND NAME
    case $1 in
    network | pid | ipc | volumes-from | link) docker container inspect --format '{{.Id}}' "$2" 2>/dev/null || echo none ;;
    net) docker network inspect --format '{{.Id}}' "$2" 2>/dev/null || echo none ;;
    env) printenv -- "$2" | digest ;;
    file | env-file)
        [ -e "$2" ] || { echo none; return; }
        # Of a directory all files.
        {
            find -L "$2" -type f -exec sha256sum {} + | LC_ALL=C sort
            [ "$1" = file ] || variables_without_value "$2" | while IFS= read -r variable; do printenv -- "$variable" || printf unset; done
        } | digest
        ;;
    esac
}

# Sets $resolved, the content of the container's label: a line KIND VALUE NAME for each reference.
resolve_references() {
    resolved=$(printf '%s' "$references" | while IFS= read -r line; do
        echo "${line%%:*} $(value_of "${line%%:*}" "${line#*:}") ${line#*:}"
    done)
}

# Says which reference is the first that differs.
describe_change() { # RESOLVED-BEFORE RESOLVED-NOW
    printf '%s\n' "$2" | while read -r kind value target; do
        case "
$1
" in *"
$kind $value $target
"*) continue ;; esac
        case $kind in
        network | pid | ipc | volumes-from | link) echo "container $target, which $name depends on, was replaced" ;;
        net) echo "network $target, which $name uses, was replaced" ;;
        env) echo "the variable $target of $name has changed" ;;
        *) echo "the file $target of $name has changed" ;;
        esac
        return
    done | grep . || echo "what $name refers to has changed"
}

# Checks that the containers run whose namespaces are to be used. Otherwise the old container would be stopped for a new one
# that cannot start.
require_namespaces() {
    printf '%s' "$references" | while IFS= read -r line; do
        case $line in network:* | pid:* | ipc:*) ;; *) continue ;; esac
        { inspect '{{.State.Running}}' "${line#*:}" && [ "$answer" = true ]; } || { report "not touched: container ${line#*:}, whose ${line%%:*} it uses, does not run" >&2; exit 1; }
    done
}

# Sets $owners: a line KIND ID for each namespace (net, pid, ipc) that a container shares with the container ID.
list_owners() { # CONTAINER
    inspect 'net={{.HostConfig.NetworkMode}} pid={{.HostConfig.PidMode}} ipc={{.HostConfig.IpcMode}}' "$1" || return 1
    owners=$(printf '%s\n' "$answer" | tr ' ' '\n' | sed -n 's/=container:/ /p')
}

# Whether all of these containers run: otherwise neither a start nor a restart can succeed.
owners_run() { # CONTAINER
    list_owners "$1" || return 1
    printf '%s\n' "$owners" | while read -r _ owner; do
        [ -z "$owner" ] || { inspect '{{.State.Running}}' "$owner" && [ "$answer" = true ]; } || exit 1
    done
}

# Whether a container is still in an old namespace of a container that was restarted since.
has_dead_namespace() { # CONTAINER
    list_owners "$1" && inspect '{{.State.Pid}}' "$1" || return 1
    pid=$answer
    ! printf '%s\n' "$owners" | while read -r space owner; do
        [ -n "$owner" ] || continue
        inspect '{{.State.Pid}}' "$owner" || continue
        actual=$(readlink "/proc/$pid/ns/$space") || continue
        expected=$(readlink "/proc/$answer/ns/$space") || continue
        [ "$actual" = "$expected" ] || exit 1
    done
}
