#!/bin/bash
# Debian's Alertmanager with deploy/fleet/alertmanager.yml: many failing devices lead to one message to a webhook on loopback.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() { echo "alertmanager.sh: $*" >&2; exit 1; }
tests/lab/lab.sh install curl python3 prometheus prometheus-alertmanager
dir=$(mktemp -d) hook='' manager=''
stop() {
    [ -z "$hook" ] || kill "$hook" || true
    [ -z "$manager" ] || kill "$manager" || true
    rm -rf "$dir"
}
trap stop EXIT

promtool check rules deploy/fleet/rules.yml
promtool test rules deploy/fleet/test.yml
amtool check-config deploy/fleet/alertmanager.yml

python3 - "$dir" <<'END' &
import http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        open(sys.argv[1] + "/got", "a").write(body.strip() + "\n")
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
open(sys.argv[1] + "/port", "w").write(str(server.server_port))
server.serve_forever()
END
hook=$!
for _ in $(seq 100); do [ -s "$dir/port" ] && break; sleep 0.1; done
echo "http://127.0.0.1:$(cat "$dir/port")/services/x" >"$dir/webhook"
sed -e "s|/etc/prometheus/slack-webhook|$dir/webhook|" -e 's/group_wait: .*/group_wait: 2s/' deploy/fleet/alertmanager.yml >"$dir/alertmanager.yml"

# Several tries, because a port that was free may have been taken meanwhile.
for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 10000))
    prometheus-alertmanager --config.file="$dir/alertmanager.yml" --storage.path="$dir/data" --cluster.listen-address= \
        --web.listen-address=127.0.0.1:$port 2>"$dir/alertmanager.log" &
    manager=$!
    for _ in $(seq 100); do
        ! curl -sf -o /dev/null "127.0.0.1:$port/-/ready" || break 2
        kill -0 $manager 2>/dev/null || break
        sleep 0.1
    done
    kill $manager 2>/dev/null || true
    manager=
done
[ -n "$manager" ] || die "Alertmanager has not begun: $(cat "$dir/alertmanager.log")"

send() { curl -sf -X POST -H 'content-type: application/json' --data "@$dir/alerts" "127.0.0.1:$port/api/v2/alerts"; }
alert() { printf '{"labels":{"alertname":"%s","image":"%s","instance":"pi-%s"},"annotations":{"summary":"pi-%s: %s cannot be pulled (disk-full)"}}' "$1" "$2" "$3" "$3" "$2"; }
{
    printf '['
    for at in $(seq 200); do alert ImagePullFailing app:1 "$at"; printf ,; done
    alert ImagePullFailing other:1 1
    printf ,
    alert ImagePullFailingFleetwide third:1 0
    printf ,
    alert ImagePullFailing third:1 7
    printf ']'
} >"$dir/alerts"
: >"$dir/got"
send
for _ in $(seq 100); do [ "$(wc -l <"$dir/got")" -ge 3 ] && break; sleep 0.1; done
sleep 3
[ "$(wc -l <"$dir/got")" = 3 ] || { cat "$dir/alertmanager.log" >&2; die "$(wc -l <"$dir/got") messages, not 3"; }
grep -q '200 devices' "$dir/got" || die 'the 200 devices are not one message'
! grep -q 'pi-7: third:1' "$dir/got" || die 'a device is told beside its fleet'
echo '203 alerts: 3 messages, one of 200 devices; a device whose whole fleet fails is not told besides'
