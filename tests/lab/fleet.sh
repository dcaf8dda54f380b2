#!/bin/bash
# Shows a small fleet, started from nothing: tests/demo.sh fleet [--seconds N]
# A broker with the page; two devices with real pulls from a private Engine and registry, and with real agents; and 200 simulated
# devices. Runs until Ctrl-C, or for N seconds, and leaves nothing behind.
# PULL=/path/of/docker-pull-with-progress and AGENT=/path/of/alm-agent use those programs instead of building them.
set -euo pipefail

fail() { echo "demo: $*" >&2; exit 1; }
usage() { sed -n '2,/^[^#]/s/^# //p' "$0"; }

seconds=''
case "$*" in
    '') ;;
    '--seconds '[1-9]*)
        seconds=$2
        if [ $# != 2 ] || [ -n "${seconds//[0-9]/}" ]; then usage >&2; exit 2; fi
        ;;
    --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
esac
[ "$(id -u)" = 0 ] || fail 'needs root, for an Engine of its own: sudo tests/demo.sh fleet'
[ -z "${PULL-}" ] || PULL=$(realpath -- "$PULL")
[ -z "${AGENT-}" ] || AGENT=$(realpath -- "$AGENT")
cd "$(dirname "$0")/../.."
lab=$PWD/tests/lab/lab.sh
dir=$(mktemp -d)
children=()

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    code=$?
    trap '' INT TERM
    for ((at = ${#children[@]} - 1; at >= 0; at--)); do kill "${children[at]}" 2>/dev/null || true; done
    wait
    [ $code = 0 ] || tail -n 20 "$dir"/*.log >&2 || true
    "$lab" stop "$dir/lab" && rm -rf "$dir" || code=1
    [ $code != 0 ] || echo 'demo: ok'
    exit $code
}
trap clean_up EXIT
# Ctrl-C is the normal end.
trap 'exit 0' INT; trap 'exit 143' TERM

child() { # NAME COMMAND...
    # In its own session, so that Ctrl-C reaches only this script, which then ends the children in order.
    setsid "${@:2}" </dev/null >"$dir/$1.log" 2>&1 &
    children+=($!)
}
await() { # WHAT COMMAND...
    local end=$((SECONDS + 30))
    until "${@:2}" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || fail "not within 30 seconds: $1"; sleep 0.2; done
}
ports() { python3 -c 'import socket; s = [socket.socket() for _ in range(3)]; [one.bind(("127.0.0.1", 0)) for one in s]; print(*[one.getsockname()[1] for one in s])'; }

echo '== install what is missing =='
missing=(mosquitto mosquitto-clients openssl python3)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
"$lab" install "${missing[@]}"
deploy/fleet/site.sh "$dir/site"
if [ -z "${PULL-}" ] || [ -z "${AGENT-}" ]; then
    echo '== build =='
    cargo build --release --locked -p docker-pull-with-progress -p alm-agent
    PULL=${PULL:-$(realpath "${CARGO_TARGET_DIR:-target}/release/docker-pull-with-progress")}
    AGENT=${AGENT:-$(realpath "${CARGO_TARGET_DIR:-target}/release/alm-agent")}
fi

echo '== start a private Engine and registry =='
"$lab" start "$dir/lab"
# shellcheck source=/dev/null
. "$dir/lab/env"
unset "${!DOCKER_@}"
export DOCKER_CONFIG=$dir/lab/config

echo '== start the broker, with the page =='
read -r devices simulator page < <(ports)
word() { head -c 9 /dev/urandom | base64 | tr '+/' 'xy'; }
viewer=$(word) writer=$(word)
certificate() { # NAME EXTENSION
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$dir/$1.key" -out "$dir/$1.csr" 2>/dev/null
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 -out "$dir/$1.pem" -extfile <(echo "$2") 2>/dev/null
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=demo' -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
certificate broker subjectAltName=DNS:localhost,IP:127.0.0.1
mosquitto_passwd -c -b "$dir/passwd" viewer "$viewer"
mosquitto_passwd -b "$dir/passwd" simulator "$writer"
cat >"$dir/acl" <<END
user viewer
topic read fleet/#
user simulator
topic readwrite fleet/#
pattern write fleet/%u/online
pattern write fleet/%u/state
pattern write fleet/%u/progress
END
cat >"$dir/mosquitto.conf" <<END
per_listener_settings true
user root
max_queued_messages 4000
listener $devices 127.0.0.1
cafile $dir/ca.pem
certfile $dir/broker.pem
keyfile $dir/broker.key
require_certificate true
use_identity_as_username true
acl_file $dir/acl
listener $simulator 127.0.0.1
allow_anonymous false
password_file $dir/passwd
acl_file $dir/acl
listener $page
protocol websockets
http_dir $dir/site
allow_anonymous false
password_file $dir/passwd
acl_file $dir/acl
END
child mosquitto mosquitto -c "$dir/mosquitto.conf"
retained() { mosquitto_sub -p "$simulator" -u simulator -P "$writer" -t "$1" -C 1 -W 3; }
await 'the broker answers' bash -c "exec 3<>/dev/tcp/127.0.0.1/$page"
child simulator node tests/page/simulator.mjs "mqtt://127.0.0.1:$simulator" 200 --share 8 --seconds 999999 --user simulator --password "$writer"
await 'the simulated devices are told' grep -q '200 devices told' "$dir/simulator.log"

pull() { # DEVICE IMAGE
    "$PULL" --host "unix://$ENGINE_SOCKET" --no-log --progress quiet --state "$dir/state/$1" "$REGISTRY/$2" >>"$dir/pull-$1.log" 2>&1
}
echo '== two real devices =='
for device in player-berlin player-hamburg; do
    certificate $device basicConstraints=CA:FALSE
    mkdir -p "$dir/state/$device"
    site=${device#player-}
    child $device "$AGENT" --broker "mqtts://localhost:$devices" --ca "$dir/ca.pem" --cert "$dir/$device.pem" --key "$dir/$device.key" --site "${site^}" --state "$dir/state/$device"
done
pull player-berlin three:latest || fail 'the first pull failed'
! pull player-hamburg three:missing || fail 'a tag that does not exist was pulled'
has_state() { retained "fleet/$1/state" | grep -q "$2"; }
await 'player-berlin has its image' has_state player-berlin '"status":"Done"'
await 'player-hamburg says what is wrong' has_state player-hamburg '"kind":"not-found"'

cat <<END

The page:  http://127.0.0.1:$page/index.html
Login:     viewer
Password:  $viewer

player-berlin and player-hamburg are real: one has its image, the other asks for a tag that does not exist.
All others are simulated. ${seconds:+It ends after $seconds seconds; }Ctrl-C ends it.
END
end=$((SECONDS + ${seconds:-999999999}))
# A pull from time to time, so that something changes.
turn=0
while [ $SECONDS -lt $end ]; do
    for pid in "${children[@]}"; do kill -0 "$pid" 2>/dev/null || fail "a part of the fleet has ended (pid $pid)"; done
    if [ $((turn++ % 20)) = 10 ]; then pull player-berlin "three:$([ $((turn / 20 % 2)) = 0 ] && echo v2 || echo latest)" || true; fi
    sleep 1
done
