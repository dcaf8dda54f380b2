#!/bin/sh
# Pulls an image, and removes replaced images; the Puppet define alm_pull::image runs it.
#   image current [OPTION...] IMAGE CHECK...   exit 0 if there is nothing to pull, according to the command CHECK...
#   image pull [OPTION...] IMAGE PULL...       pull it with the command PULL..., and record that it was pulled here
#   image clean [OPTION...] IMAGE              remove images that were pulled under this name, were replaced, and are not used
#   image cleaned [OPTION...] IMAGE            exit 0 if there are no such images
# Options:
#   --when-unknown pull|skip   the answer of `current` if the image is here and the registry cannot be asked [skip]
#   --remove-replaced          `pull` cleans, too
#   --state DIR                where the record is kept [/var/lib/alm]
#   --run DIR                  where the states of pulls are until the next boot [/run/alm]
# shellcheck source-path=SCRIPTDIR
set -eu

usage() { sed -n 's/^#   image/image/p' "$0" >&2; exit 2; }
say() { echo "image $image: $*"; }

[ $# -ge 1 ] || usage
mode=$1
shift
when_unknown=skip remove='' state=/var/lib/alm run=/run/alm
while [ $# -gt 0 ]; do
    case $1 in
    --when-unknown) case ${2-} in pull | skip) when_unknown=$2 ;; *) usage ;; esac; shift ;;
    --remove-replaced) remove=yes ;;
    --state) [ $# -ge 2 ] || usage; state=$2; shift ;;
    --run) [ $# -ge 2 ] || usage; run=$2; shift ;;
    --*) usage ;;
    *) break ;;
    esac
    shift
done
[ $# -ge 1 ] || usage
image=$1
shift

here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
. "$here/images.sh"

# An image without a digest of a registry: an old engine has pulled two platforms under one name, or it was built here. A pull
# corrects the first case, not the second; therefore it is tried once, and then once a day.
is_without_digest() { [ "$(docker image inspect --format '{{len .RepoDigests}}' "$image" 2>/dev/null)" = 0 ]; }
was_told() {
    image_id "$image" && told=$(sed -n "s/^told $answer //p" "$(record "$image")" 2>/dev/null) && [ -n "$told" ] || return 1
    now=$(date +%s)
    [ "$now" -ge "$told" ] && [ "$now" -lt $((told + 24 * 3600)) ]
}

# Whether the last check failed for a reason for which a pull would fail, too; read from the state that the check wrote.
is_passing() {
    # The name in docker's short form, and with the tag.
    id=${image#docker.io/} id=${id#index.docker.io/} id=${id#library/}
    case ${id##*/} in *[:@]*) ;; *) id=$id:latest ;; esac
    key='[{,]'
    for file in "$run"/pull/*.json "$state"/pull/*.json; do
        # Only small regular files can be states.
        if [ ! -f "$file" ] || [ -L "$file" ] || [ "$(stat -c %s "$file")" -gt 65536 ]; then continue; fi
        # Within a JSON text a quote follows a backslash, so a text cannot look like a key.
        text=$(tr -d '\n' <"$file" | sed 's/\([{,]\)[[:blank:]]*"/\1"/g; s/"[[:blank:]]*:[[:blank:]]*"/":"/g')
        case $text in *$key'"id":"'"$id"'"'*) ;; *) continue ;; esac
        case $text in *$key'"status":"Warning"'*) ;; *) return 1 ;; esac
        case $text in *$key'"text":"Cannot tell"'*) ;; *) return 1 ;; esac
        case $text in
        *$key'"kind":"rate-limit"'* | *$key'"kind":"unreachable"'* | *$key'"kind":"server-error"'*) return ;;
        esac
        return 1
    done
    return 1
}

pull() {
    if image_id "$image"; then before=$answer; else before=none; fi
    lines=$(recorded "$image" | sed 's/^/pulled /')
    rewrite "$image" "$lines
pulling $before"
    # In the background, so that the signal with which Puppet ends this script can be passed on to the pull.
    "$@" &
    child=$!
    trap 'kill -TERM $child 2>/dev/null' TERM INT
    code=0
    wait $child || code=$?
    while kill -0 $child 2>/dev/null; do
        code=0
        wait $child || code=$?
    done
    trap - TERM INT
    if image_id "$image"; then
        if [ "$answer" != "$before" ]; then
            lines="$lines
pulled $answer"
        elif [ $code = 0 ] && is_without_digest; then
            lines="$lines
told $answer $(date +%s)"
            say 'no digest of a registry is known for it here, so that nobody can tell whether it is the newest, and a pull' \
                "does not change that. It is pulled once a day. To mend it: docker image rm $image, and let it be pulled again"
        fi
    fi
    rewrite "$image" "$lines"
    [ -z "$remove" ] || remove_replaced "$image"
    exit $code
}

case $mode in
current)
    code=0
    "$@" || code=$?
    case $code in 1 | 3) ! is_without_digest || ! was_told || exit 0 ;; esac
    [ $code = 3 ] || exit $code
    [ "$when_unknown" = skip ] && image_id "$image" && is_passing || exit 3
    say 'not pulled: the registry could not be asked, and a pull would fail alike'
    ;;
pull) pull "$@" ;;
clean) remove_replaced "$image" ;;
cleaned)
    kept=$(sed -n 's/^kept //p' "$(record "$image")" 2>/dev/null) || kept=''
    ! replaced "$image" | grep -qvxF "${kept:-none}"
    ;;
*) usage ;;
esac
