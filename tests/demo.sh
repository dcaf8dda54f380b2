#!/bin/bash
# Shows the main job, from nothing: a private Docker Engine and registry, three pulls with their log, and one that fails.
# tests/demo.sh fleet [--seconds N] shows a fleet instead: its page, two real devices and 200 simulated ones.
# PULL=/path/of/docker-pull-with-progress uses that program instead of building it.
set -euo pipefail

usage() { sed -n '2,/^[^#]/s/^# //p' "$0"; }
[ "$*" != --help ] || { usage; exit; }
[ "${1-}" != fleet ] || exec "$(dirname "$0")/lab/fleet.sh" "${@:2}"
[ $# = 0 ] || { usage >&2; exit 2; }

fail() { echo "demo: $*" >&2; exit 1; }

run() { # EXIT-CODE COMMAND...
    local code=0
    echo "$ ${*:2}"
    "${@:2}" || code=$?
    [ $code = "$1" ] || fail "exit $code instead of $1: ${*:2}"
}

logged() { grep -qF -- "$1" "$dir/docker-pull.log" || fail "the log does not say: $1"; }

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    code=$?
    trap '' INT TERM
    "$lab" stop "$dir/lab" && rm -rf "$dir" || code=1
    [ $code != 0 ] || echo 'demo: ok'
    exit $code
}

[ "$(id -u)" = 0 ] || fail 'needs root, for an Engine of its own: sudo tests/demo.sh'
[ -z "${PULL-}" ] || PULL=$(realpath -- "$PULL")
cd "$(dirname "$0")/.."
lab=$PWD/tests/lab/lab.sh
dir=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT; trap 'exit 143' TERM

echo '== install what is missing =='
"$lab" install

if [ -z "${PULL-}" ]; then
    echo '== build =='
    run 0 cargo build --release --locked
    PULL=$(realpath "${CARGO_TARGET_DIR:-target}/release/docker-pull-with-progress")
fi

echo '== start a private Engine and registry =='
"$lab" start "$dir/lab"
# shellcheck source=/dev/null
. "$dir/lab/env"
unset "${!DOCKER_@}"
export DOCKER_CONFIG=$dir/lab/config
pull=("$PULL" --host "unix://$ENGINE_SOCKET" --log "$dir/docker-pull.log")
inspect=(docker -H "unix://$ENGINE_SOCKET" image inspect --format '{{.Id}}')

for tag in latest v2; do
    echo "== pull three:$tag =="
    run 0 "${pull[@]}" "$REGISTRY/three:$tag"
    run 0 "${inspect[@]}" "$REGISTRY/three:$tag"
done
logged 'Already cached'
echo '== pull it again: up to date =='
run 0 "${pull[@]}" "$REGISTRY/three:v2"
logged 'Image is up to date'
[ "$(grep -c 'PULL SUCCESSFUL' "$dir/docker-pull.log")" = 3 ] || fail 'the log does not have three successes'
echo '== a tag that does not exist: exit 1 =='
run 1 "${pull[@]}" "$REGISTRY/three:missing"
logged 'PULL FAILED'
echo '== the log =='
run 0 cat "$dir/docker-pull.log"
