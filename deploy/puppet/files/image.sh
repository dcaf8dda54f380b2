#!/bin/sh
# Pulls an image, and removes replaced images; the Puppet define alm_pull::image runs it.
#   image current [OPTION...] IMAGE CHECK...   exit 0 if there is nothing to pull, according to the command CHECK...
#   image pull [OPTION...] IMAGE PULL...       pull it with the command PULL..., and record that it was pulled here
#   image clean [OPTION...] IMAGE              remove images that were pulled under this name, were replaced, and are not used
#   image cleaned [OPTION...] IMAGE            exit 0 if there are no such images
#   image forget [OPTION...] IMAGE FORGET...   forget its pulls with the command FORGET..., and the states of its containers
#   image forgotten [OPTION...] IMAGE JSON...  exit 0 if there are no such states; the command JSON... shows those of the pulls
# Options:
#   --when-unknown pull|skip   the answer of `current` if the image is here and the registry cannot be asked [skip]
#   --remove-replaced          `pull` cleans, too
#   --state DIR                where the record is kept [/var/lib/alm]
#   --run DIR                  where the states of pulls are until the next boot [/run/alm]
# shellcheck source-path=SCRIPTDIR
set -eu

usage() { sed -n 's/^#   image/image/p' "$0" >&2; exit 2; }
report() { echo "image $image: $*"; }

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

# An image has no digest of a registry if an old engine pulled two platforms under one name, or if it was built here. A pull
# corrects the first case, not the second; therefore it is tried once, and then once a day.
has_no_digest() { [ "$(docker image inspect --format '{{len .RepoDigests}}' "$image" 2>/dev/null)" = 0 ]; }
was_reported_today() {
    image_id "$image" && reported=$(sed -n "s/^reported $answer //p" "$(record_of "$image")" 2>/dev/null) && [ -n "$reported" ] || return 1
    now=$(date +%s)
    [ "$now" -ge "$reported" ] && [ "$now" -lt $((reported + 24 * 3600)) ]
}

# An image's name in docker's short form, and with the tag.
short_form() { # NAME
    short=${1#docker.io/} short=${short#index.docker.io/} short=${short#library/}
    case ${short##*/} in *[:@]*) ;; *) short=$short:latest ;; esac
    printf '%s\n' "$short"
}

# The files with the public states of the image's containers.
container_states() {
    id=$(short_form "$image")
    for file in "$state"/container/*.json; do
        runs=$(sed -n 's/^{"v":1,"name":"[^"]*","image":"\([^"]*\)",.*/\1/p' "$file" 2>/dev/null) || continue
        [ -z "$runs" ] || [ "$(short_form "$runs")" != "$id" ] || printf '%s\n' "$file"
    done
}

# Whether the last check failed for a reason for which a pull would fail, too; read from the state that the check wrote.
would_pull_fail() {
    id=$(short_form "$image")
    key='[{,]'
    for file in "$run"/pull/*.json "$state"/pull/*.json; do
        # Only small regular files can be states.
        if [ ! -f "$file" ] || [ -L "$file" ] || [ "$(stat -c %s "$file")" -gt 65536 ]; then continue; fi
        # Within a JSON string every quote follows a backslash, so the content of a string cannot look like a key.
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
    lines=$(recorded_ids "$image" | sed 's/^/pulled /')
    write_record "$image" "$lines
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
        elif [ $code = 0 ] && has_no_digest; then
            lines="$lines
reported $answer $(date +%s)"
            report 'no digest of a registry is known for it here, so it cannot be compared with the registry, and a pull does not' \
                "change that. It is pulled once a day. To correct this: docker image rm $image, and let Puppet pull it again"
        fi
    fi
    write_record "$image" "$lines"
    [ -z "$remove" ] || remove_replaced "$image"
    exit $code
}

case $mode in
current)
    code=0
    "$@" || code=$?
    case $code in 1 | 3) ! has_no_digest || ! was_reported_today || exit 0 ;; esac
    [ $code = 3 ] || exit $code
    [ "$when_unknown" = skip ] && image_id "$image" && would_pull_fail || exit 3
    report 'not pulled: the registry could not be asked, and a pull would fail, too'
    ;;
pull) pull "$@" ;;
clean) remove_replaced "$image" ;;
cleaned)
    kept=$(sed -n 's/^kept //p' "$(record_of "$image")" 2>/dev/null) || kept=''
    ! replaced_ids "$image" | grep -qvxF "${kept:-none}"
    ;;
forget)
    container_states | while read -r file; do rm -f "$file"; done
    code=0
    "$@" || code=$?
    # 3: there are no states of pulls.
    [ $code = 3 ] || exit $code
    ;;
forgotten) [ -z "$(container_states)" ] && ! "$@" | grep -q '"id":"' ;;
*) usage ;;
esac
