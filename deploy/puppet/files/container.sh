#!/bin/sh
# Keeps a container on an image; the Puppet define alm_pull::container runs it.
#   container current PULLER NAME IMAGE ARGUMENT...    exit 0 where NAME runs the local IMAGE, created with ARGUMENT...
#   container recreate PULLER NAME IMAGE ARGUMENT...   make it so; recreate-and-remove also removes the replaced image
# PULLER is docker-pull-with-progress; ARGUMENT... is all that `docker create` is given: options, image, command.
# Whatever happens in the middle, the next recreate begins with putting in order what it finds.
set -eu

label=alm_pull.arguments

inspect() { docker container inspect --format "$1" "$2" 2>/dev/null; }
exists() { inspect . "$1" >/dev/null; }
say() { echo "container $name: $*"; }
arguments() { printf '%s\n' "$@" | sha256sum | cut -d ' ' -f 1; }

[ $# -ge 4 ] || { echo 'usage: container current|recreate[-and-remove] PULLER NAME IMAGE ARGUMENT...' >&2; exit 2; }
mode=$1 puller=$2 name=$3 image=$4
shift 4
case $mode in current | recreate | recreate-and-remove) ;; *) echo "container: unknown mode $mode" >&2; exit 2 ;; esac
new=$name.new old=$name.replaced

# 0 and 1 are something that was found out; all else is not, as with the puller.
is_current() {
    "$puller" --ascii --running "$name" "$image" || return
    created_with=$(inspect "{{index .Config.Labels \"$label\"}}" "$name") ||
        { echo "cannot tell: container $name cannot be inspected"; return 3; }
    [ "$created_with" = "$(arguments "$@")" ] ||
        { echo "no: container $name was created with other arguments"; return 1; }
}

code=0
is_current "$@" || code=$?
[ "$mode" != current ] || exit $code
# To Puppet a check that cannot tell has said no. That is no reason to stop a container that may be well.
case $code in
0) exit ;;
1) ;;
*) say 'not touched: nobody can tell whether it is as it should be' >&2; exit $code ;;
esac

# Left by a run that was cut off.
if exists "$old"; then
    if exists "$name"; then docker rm --force "$old" >/dev/null; else docker rename "$old" "$name"; fi
fi
! exists "$new" || docker rm --force "$new" >/dev/null

was=$(inspect '{{.Image}}' "$name") || was=
# Never a pull here: docker would do it without a word.
docker create --pull never --name "$new" --label "$label=$(arguments "$@")" "$@" >/dev/null
if [ -n "$was" ]; then
    docker stop "$name" >/dev/null
    # A container that was run with --rm goes by itself.
    docker rename "$name" "$old" 2>/dev/null || docker rm --force "$name" >/dev/null 2>&1 || sleep 1
fi
docker rename "$new" "$name"
if ! docker start "$name" >/dev/null; then
    docker rm --force "$name" >/dev/null
    if exists "$old"; then
        docker rename "$old" "$name"
        docker start "$name" >/dev/null
        say 'the new one does not start; the old one runs again' >&2
    fi
    exit 1
fi
! exists "$old" || docker rm "$old" >/dev/null
now=$(inspect '{{.Image}}' "$name")
say "${was:+re}created on $image ($now)"

if [ "$mode" = recreate-and-remove ] && [ -n "$was" ] && [ "$was" != "$now" ]; then
    # Never by force: other containers may use it.
    if reason=$(docker image rm "$was" 2>&1 >/dev/null); then say "removed the replaced image $was"
    else say "kept the replaced image: $reason"; fi
fi
