#!/bin/sh
# Keeps a container on an image; the Puppet define alm_pull::container runs it.
#   container current [OPTION...] PULLER NAME IMAGE ARGUMENT...    exit 0 if NAME runs the local IMAGE with these ARGUMENT...
#   container recreate [OPTION...] PULLER NAME IMAGE ARGUMENT...   make it so; go back to the old one if the trial of the new one fails
#   container started [OPTION...] PULLER NAME IMAGE ARGUMENT...    exit 0 if NAME has not stopped, whatever image it runs
#   container start [OPTION...] PULLER NAME IMAGE ARGUMENT...      start it, from the local image
#   container retry [--state DIR] NAME                             let the next run try again what was rolled back
# PULLER is docker-pull-with-progress; ARGUMENT... are all arguments for `docker create`: options, image, command.
# Options:
#   --image-at N          the number of the image among ARGUMENT...
#   --refers KIND:WHAT    something that ARGUMENT... refer to (see refers.sh), or a file whose changes recreate NAME
#   --grace SECONDS       how long a new container must run before the old one is removed; 0: no trial (30)
#   --grace-limit SECONDS the longest time until a new container with a health check is healthy (600)
#   --remove-replaced     remove the replaced images
#   --state DIR           the directory of journals and states (/var/lib/alm)
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
case $name in '' | [!A-Za-z0-9]* | *[!A-Za-z0-9_.-]*) echo "container: '$name' is not a valid container name" >&2; exit 2 ;; esac
states=$state/container

. "$here/common.sh"
. "$here/journal.sh"
. "$here/refers.sh"
. "$here/replace.sh"
. "$here/images.sh"

# The exit codes are the puller's: 0 is yes, 1 is no, and any other code means that it could not be determined.
is_current() {
    text=$("$puller" --ascii --running "$name" "$image") || { code=$?; echo "$text"; return $code; }
    inspect "{{index .Config.Labels \"$label.arguments\"}}" "$name" || return 1
    [ "$answer" = "$arguments" ] || { echo "no: container $name was created with other arguments"; return 1; }
    inspect "{{index .Config.Labels \"$label.refers\"}}" "$name" || return 1
    [ "$answer" = "$resolved" ] || { echo "no: $(describe_change "$answer" "$resolved")"; return 1; }
    echo "$text"
}

# Whether it runs, or the engine itself restarts it. A container in a dead namespace runs, but nothing can reach it, so it counts as
# stopped. If the container that owns the namespace does not run, a start would fail.
is_started() {
    if ! inspect '{{.State.Status}}' "$name"; then
        # It can be created if the image is here and has not failed a trial.
        image_id "$image" || return 0
        is_held_back "$(fingerprint "$answer")"
        return
    fi
    status=$answer
    owners_run "$name" || return 0
    case $status in
    running) ! namespace_is_dead "$name" || { echo "no: container $name is in a dead namespace"; return 1; } ;;
    restarting | paused) ;;
    *) echo "no: container $name is $status"; return 1 ;;
    esac
}

# A warning and not an error: 32-bit images run on 64-bit devices, and others run with an emulator.
warn_about_platform() {
    engine=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}' 2>/dev/null) || return 0
    platform=$(docker image inspect --format '{{.Os}}/{{.Architecture}}' "$image" 2>/dev/null) || return 0
    [ "$platform" = "$engine" ] || say "warning: $image is for $platform, and this device is $engine: it may not run here"
}

# Puppet takes an undetermined check for a no. That is no reason to stop a container that may be as it should be.
recreate() {
    code=0
    is_current "$@" || code=$?
    case $code in
    0) if [ "$must_recreate" = no ]; then clear_mark; publish_running; return; fi ;;
    1) ;;
    *) say 'not touched: it could not be determined whether it is as it should be' >&2; exit $code ;;
    esac
    image_id "$image" || { say "$image is not here" >&2; exit 1; }
    wanted=$(fingerprint "$answer")
    if is_held_back "$wanted"; then
        ensure_running || :
        say "$image was rolled back and is tried again after $(utc "$(next_try)"): $reason" >&2
        exit 1
    fi
    namespace_owners_run || exit 1
    warn_about_platform
    replace "$@"
}

start() { if inspect . "$name"; then ensure_running; else recreate "$@"; fi; }

arguments=$(printf '%s\n' "$@" | sha256sum | cut -d ' ' -f 1)
if [ "$mode" = current ] || [ "$mode" = started ]; then
    resolve
    load_journal
    [ -z "$step" ] || { echo "no: a change of container $name was interrupted"; exit 1; }
    if [ "$mode" = started ]; then is_started; exit; fi
    ! inspect . "$name.old" || { echo "no: a change of container $name was interrupted"; exit 1; }
    is_current
    clear_mark
    publish_running
    exit
fi

lock
load_journal
if [ "$mode" = retry ]; then
    [ -n "$mark" ] || { say 'nothing was rolled back'; exit; }
    mark=''
    save_journal
    say 'the next run tries again what was rolled back'
    exit
fi
resolve
must_recreate=no
resume_interrupted_change "$@"
"$mode" "$@"
