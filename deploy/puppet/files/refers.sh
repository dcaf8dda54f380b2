# shellcheck shell=sh
# What the arguments of a container refer to: it can change while the arguments stay the same. $refers has a line for each:
#   network:NAME pid:NAME ipc:NAME     the container whose namespace is used
#   volumes-from:NAME link:NAME        another container
#   net:NAME                           a network that was created by a user
#   file:PATH                          a file that docker reads to create the container, or that its program reads (restart_on)
#   env-file:PATH                      the same, and its variables without a value get it from the environment
#   env:NAME                           a variable that gets its value from the environment
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

digest() { sha256sum | cut -d ' ' -f 1; }

# The variables of a file for --env-file that have no value there, and get it from the environment. As docker does, this accepts any
# kind of line end, blanks before a variable, and a byte order mark.
variables_without_value() { # FILE
    bom=$(printf '\357\273\277')
    LC_ALL=C sed "1s/^$bom//; s/\r\$//; s/^[[:space:]]*//; /^#/d; /=/d; /^\$/d" "$1"
}

# The present value of one of them.
current_value() { # KIND WHAT
    case $1 in
    network | pid | ipc | volumes-from | link) docker container inspect --format '{{.Id}}' "$2" 2>/dev/null || echo none ;;
    net) docker network inspect --format '{{.Id}}' "$2" 2>/dev/null || echo none ;;
    env) printenv -- "$2" | digest ;;
    file | env-file)
        [ -e "$2" ] || { echo none; return; }
        # If it is a directory, all files in it count.
        {
            find -L "$2" -type f -exec sha256sum {} + | LC_ALL=C sort
            [ "$1" = file ] || variables_without_value "$2" | while IFS= read -r variable; do printenv -- "$variable" || printf unset; done
        } | digest
        ;;
    esac
}

# Sets $resolved: a line for each of them with its present value. It is the content of the label of the container.
resolve() {
    resolved=$(printf '%s' "$refers" | while IFS= read -r line; do
        echo "${line%%:*} $(current_value "${line%%:*}" "${line#*:}") ${line#*:}"
    done)
}

# Names the first one whose value has changed.
describe_change() { # BEFORE NOW
    printf '%s\n' "$2" | while read -r kind id what; do
        case "
$1
" in *"
$kind $id $what
"*) continue ;; esac
        case $kind in
        network | pid | ipc | volumes-from | link) echo "container $what, which $name depends on, is another one now" ;;
        net) echo "network $what, which $name uses, is another one now" ;;
        env) echo "the variable $what of $name has changed" ;;
        *) echo "the file $what of $name has changed" ;;
        esac
        return
    done | grep . || echo "container $name was created with other references"
}

# Whether the containers whose namespaces are used are running. If one is not, the new container could not start, and the old one must
# not be stopped for it.
namespace_owners_run() {
    printf '%s' "$refers" | while IFS= read -r line; do
        case $line in network:* | pid:* | ipc:*) ;; *) continue ;; esac
        { inspect '{{.State.Running}}' "${line#*:}" && [ "$answer" = true ]; } || { say "not touched: container ${line#*:}, whose ${line%%:*} it uses, does not run" >&2; exit 1; }
    done
}

# Sets $owners: a line for each namespace that a container uses of another one: net, pid or ipc, and the id of its owner.
owners_of() { # CONTAINER
    inspect 'net={{.HostConfig.NetworkMode}} pid={{.HostConfig.PidMode}} ipc={{.HostConfig.IpcMode}}' "$1" || return 1
    owners=$(printf '%s\n' "$answer" | tr ' ' '\n' | sed -n 's/=container:/ /p')
}

# Whether all owners run: otherwise neither a start nor a restart can succeed.
owners_run() { # CONTAINER
    owners_of "$1" || return 1
    printf '%s\n' "$owners" | while read -r _ owner; do
        [ -z "$owner" ] || { inspect '{{.State.Running}}' "$owner" && [ "$answer" = true ]; } || exit 1
    done
}

# Whether a container is still in the old namespace of an owner that was restarted since.
namespace_is_dead() { # CONTAINER
    owners_of "$1" && inspect '{{.State.Pid}}' "$1" || return 1
    own=$answer
    ! printf '%s\n' "$owners" | while read -r space owner; do
        [ -n "$owner" ] || continue
        inspect '{{.State.Pid}}' "$owner" || continue
        actual=$(readlink "/proc/$own/ns/$space") || continue
        expected=$(readlink "/proc/$answer/ns/$space") || continue
        [ "$actual" = "$expected" ] || exit 1
    done
}
