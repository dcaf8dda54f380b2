#!/bin/sh
# Keeps a container on an image; the Puppet define alm_pull::container runs it.
#   container current [OPTION...] PULLER NAME IMAGE ARGUMENT...    exit 0 if NAME runs the local IMAGE, created with ARGUMENT...
#   container recreate [OPTION...] PULLER NAME IMAGE ARGUMENT...   recreate it so; roll back if the new container fails its trial
#   container started [OPTION...] PULLER NAME IMAGE ARGUMENT...    exit 0 if NAME has not stopped, whatever image it runs
#   container start [OPTION...] PULLER NAME IMAGE ARGUMENT...      start it as it is, or create it from the local image
#   container retry [--state DIR] NAME                             try an image that was rolled back again in the next run
# PULLER is docker-pull-with-progress; ARGUMENT... are all arguments of `docker create`: options, image, command.
# Options:
#   --image-at N          the position of the image among ARGUMENT..., from 1
#   --refers KIND:NAME    something that ARGUMENT... refer to (see references.sh), or a file whose change recreates NAME
#   --grace SECONDS       how long a new container must run before the old one is removed; 0: no trial [30]
#   --grace-limit SECONDS how long a new container with a health check may take to become healthy [600]
#   --remove-replaced     remove the image that the container ran before
#   --state DIR           the directory of the journals and states [/var/lib/alm]
# shellcheck source-path=SCRIPTDIR
set -eu

here=$(dirname "$(readlink -f "$0")")
usage() { sed -n 's/^#   container/container/p' "$0" >&2; exit 2; }
report() { echo "container $name: $*"; }

[ $# -ge 1 ] || usage
mode=$1
shift
case $mode in current | recreate | started | start | retry) ;; *) usage ;; esac
grace=30 grace_limit=600 remove_replaced='' state=/var/lib/alm references='' image_at=0
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
    --refers) references="$references$2
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
. "$here/references.sh"
. "$here/replace.sh"
. "$here/images.sh"

# Like the puller, it returns 0 for yes and 1 for no; any other code means that the answer is unknown.
is_current() {
    text=$("$puller" --ascii --running "$name" "$image") || { code=$?; echo "$text"; return $code; }
    inspect "{{index .Config.Labels \"$label.arguments\"}}" "$name" || return 1
    [ "$answer" = "$arguments" ] || { echo "no: container $name was created with other arguments"; return 1; }
    inspect "{{index .Config.Labels \"$label.refers\"}}" "$name" || return 1
    [ "$answer" = "$resolved" ] || { echo "no: $(describe_change "$answer" "$resolved")"; return 1; }
    echo "$text"
}

# Whether the container runs, or the engine starts it again by itself. A container in a dead namespace runs, but nobody can
# reach it. If the owner of the namespace does not run, a start cannot help.
is_started() {
    if ! inspect '{{.State.Status}}' "$name"; then
        # It can be created if the image is here and is not on hold after a rollback.
        image_id "$image" || return 0
        is_on_hold "$(candidate_of "$answer")"
        return
    fi
    status=$answer
    owners_run "$name" || return 0
    case $status in
    running) ! has_dead_namespace "$name" || { echo "no: container $name is in a namespace that is dead"; return 1; } ;;
    restarting | paused) ;;
    *) echo "no: container $name is $status"; return 1 ;;
    esac
}

# A warning and no error: 32-bit images run on 64-bit devices, and an emulator may run any.
warn_of_platform() {
    engine=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}' 2>/dev/null) || return 0
    platform=$(docker image inspect --format '{{.Os}}/{{.Architecture}}' "$image" 2>/dev/null) || return 0
    [ "$platform" = "$engine" ] || report "warning: $image is for $platform, and this device is $engine: it may not run here"
}

# Puppet takes a check without an answer for a no. That is no reason to stop a container that may be well.
recreate() {
    code=0
    is_current "$@" || code=$?
    case $code in
    0) if [ "$policy_is_unknown" = no ]; then clear_mark; publish_running; return; fi ;;
    1) ;;
    *) report 'not touched: cannot determine whether it is current' >&2; exit $code ;;
    esac
    create_from_image "$@"
}

create_from_image() {
    image_id "$image" || { report "not touched: the image $image is not on this device" >&2; exit 1; }
    candidate=$(candidate_of "$answer")
    if is_on_hold "$candidate"; then
        keep_running || :
        report "$image was rolled back and is tried again $(describe_next_try): $reason" >&2
        exit 1
    fi
    require_namespaces || exit 1
    warn_of_platform
    replace "$@"
}

# It works without the puller: a container is started even if that cannot be installed.
start() { if inspect . "$name"; then keep_running; else create_from_image "$@"; fi; }

arguments=$(printf '%s\n' "$@" | sha256sum | cut -d ' ' -f 1)
if [ "$mode" = current ] || [ "$mode" = started ]; then
    resolve_references
    load_journal
    [ -z "$step" ] || { echo "no: a change of container $name was interrupted"; exit 1; }
    if [ "$mode" = started ]; then is_started; exit; fi
    ! inspect . "$name.old" || { echo "no: a change of container $name was interrupted"; exit 1; }
    is_current
    clear_mark
    publish_running
    forget_removed
    exit
fi

lock
load_journal
if [ "$mode" = retry ]; then
    [ -n "$mark" ] || { report 'nothing was rolled back'; exit; }
    mark=''
    save_journal
    report 'what was rolled back is tried again in the next run'
    exit
fi
resolve_references
policy_is_unknown=no
finish_interrupted_change "$@"
"$mode" "$@"
