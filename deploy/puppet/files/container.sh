#!/bin/sh
# Keeps a container on an image; the Puppet define alm_pull::container runs it.
#   container current [OPTION...] PULLER NAME IMAGE ARGUMENT...    exit 0 where NAME runs the local IMAGE as ARGUMENT... say
#   container recreate [OPTION...] PULLER NAME IMAGE ARGUMENT...   make it so, and go back where the new one is no good
#   container started [OPTION...] PULLER NAME IMAGE ARGUMENT...    exit 0 where NAME has not stopped, whatever it runs
#   container start [OPTION...] PULLER NAME IMAGE ARGUMENT...      start what is here
#   container retry [--state DIR] NAME                             try again in the next run what was rolled back
# PULLER is docker-pull-with-progress; ARGUMENT... is all that `docker create` is given: options, image, command.
# Options:
#   --image-at N          which one of ARGUMENT... is the image
#   --refers KIND:WHAT    what ARGUMENT... refer to (see refers.sh), or a file with which to recreate NAME
#   --grace SECONDS       how long a new container has to run before the old one is removed; 0: not at all (30)
#   --grace-limit SECONDS how long one that has a health check may take until it is healthy (600)
#   --remove-replaced     remove the images that were replaced
#   --state DIR           where journals and states are (/var/lib/alm)
# shellcheck source-path=SCRIPTDIR
set -eu

here=$(dirname "$(readlink -f "$0")")
usage() { sed -n 's/^#   container/container/p' "$0" >&2; exit 2; }
say() { echo "container $name: $*"; }

[ $# -ge 1 ] || usage
mode=$1
shift
case $mode in current | recreate | started | start | retry) ;; *) usage ;; esac
grace=30 grace_limit=600 remove_replaced='' state=/var/lib/alm refers='' image_at=0
while [ $# -gt 0 ]; do
    case $1 in
    --remove-replaced) remove_replaced=yes; shift; continue ;;
    --grace | --grace-limit | --image-at) case ${2-} in '' | *[!0-9]*) usage ;; esac ;;
    --refers | --state) [ $# -ge 2 ] || usage ;;
    --*) usage ;;
    *) break ;;
    esac
    case $1 in
    --grace) grace=$2 ;;
    --grace-limit) grace_limit=$2 ;;
    --image-at) image_at=$2 ;;
    --state) state=$2 ;;
    --refers) refers="$refers$2
" ;;
    esac
    shift 2
done
if [ "$mode" = retry ]; then
    [ $# = 1 ] || usage
    puller='' name=$1 image=''
else
    [ $# -ge 3 ] || usage
    puller=$1 name=$2 image=$3
    shift 3
fi
case $name in '' | [!A-Za-z0-9]* | *[!A-Za-z0-9_.-]*) echo "container: '$name' is no container's name" >&2; exit 2 ;; esac
states=$state/container

. "$here/common.sh"
. "$here/journal.sh"
. "$here/refers.sh"
. "$here/replace.sh"
. "$here/images.sh"

# 0 and 1 are something that was found out; all else is not, as with the puller.
is_current() {
    text=$("$puller" --ascii --running "$name" "$image") || { code=$?; echo "$text"; return $code; }
    look "{{index .Config.Labels \"$label.arguments\"}}" "$name" || return 1
    [ "$answer" = "$arguments" ] || { echo "no: container $name was created with other arguments"; return 1; }
    look "{{index .Config.Labels \"$label.refers\"}}" "$name" || return 1
    [ "$answer" = "$resolved" ] || { echo "no: $(changed "$answer" "$resolved")"; return 1; }
    echo "$text"
}

# Runs, or is started again by the engine. One whose namespaces are dead has not stopped, but nobody can reach it. Where
# the container that they belong to does not run, a start cannot help.
is_started() {
    if ! look '{{.State.Status}}' "$name"; then
        # It can be made where the image is here and was not found to be no good.
        image_id "$image" || return 0
        holds "$(pair "$answer")"
        return
    fi
    status=$answer
    owners_run "$name" || return 0
    case $status in
    running) ! namespace_is_dead "$name" || { echo "no: container $name is in a namespace that is dead"; return 1; } ;;
    restarting | paused) ;;
    *) echo "no: container $name is $status"; return 1 ;;
    esac
}

# Told and not refused: 32-bit images on 64-bit devices run, and so does what an emulator is there for.
warn_of_platform() {
    engine=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}' 2>/dev/null) || return 0
    platform=$(docker image inspect --format '{{.Os}}/{{.Architecture}}' "$image" 2>/dev/null) || return 0
    [ "$platform" = "$engine" ] || say "warning: $image is for $platform, and this device is $engine: it may not run here"
}

# To Puppet a check that cannot tell has said no. That is no reason to stop a container that may be well.
recreate() {
    code=0
    is_current "$@" || code=$?
    case $code in
    0) if [ "$unsettled" = no ]; then lift_mark; settled; return; fi ;;
    1) ;;
    *) say 'not touched: nobody can tell whether it is as it should be' >&2; exit $code ;;
    esac
    image_id "$image" || { say "$image is not here" >&2; exit 1; }
    wanted=$(pair "$answer")
    if holds "$wanted"; then
        keep_running || :
        say "$image was rolled back and is tried again $(when_again): $reason" >&2
        exit 1
    fi
    namespaces_are_there || exit 1
    warn_of_platform
    replace "$@"
}

start() { if look . "$name"; then keep_running; else recreate "$@"; fi; }

arguments=$(printf '%s\n' "$@" | sha256sum | cut -d ' ' -f 1)
if [ "$mode" = current ] || [ "$mode" = started ]; then
    resolve
    load_journal
    [ -z "$step" ] || { echo "no: a change of container $name was cut off"; exit 1; }
    if [ "$mode" = started ]; then is_started; exit; fi
    ! look . "$name.old" || { echo "no: a change of container $name was cut off"; exit 1; }
    is_current
    lift_mark
    settled
    exit
fi

lock
load_journal
if [ "$mode" = retry ]; then
    [ -n "$mark" ] || { say 'nothing was rolled back'; exit; }
    mark=''
    save_journal
    say 'what was rolled back is tried again in the next run'
    exit
fi
resolve
unsettled=no
finish_what_was_cut_off "$@"
"$mode" "$@"
