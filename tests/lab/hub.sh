#!/bin/bash
# Runs a command with a local registry in the place of Docker Hub:
#   tests/lab/hub.sh DIR COMMAND...    DIR is new or empty; the exit code is that of COMMAND
# In separate mount, network and process namespaces the Hub's names lead to 127.0.0.1, where docker-registry has a certificate
# for them. The CA is in DIR/ca.crt, for SSL_CERT_FILE; an Engine that trusts it listens on DIR/docker.sock; DIR/registry.log has
# the requests to the registry. All of it ends with the command.
set -euo pipefail

die() { echo "hub.sh: $*" >&2 && exit 1; }

[ $# -ge 2 ] || { sed -n 's/^#   //p' "$0" >&2 && exit 2; }
[ "$(id -u)" = 0 ] || die 'needs root, for namespaces and an Engine'
if [ "${HUB_INSIDE-}" != yes ]; then
    mkdir -p "$1"
    [ -z "$(ls -A "$1")" ] || die "$1 is not empty"
    HUB_INSIDE=yes exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0" "$@"
fi
unset HUB_INSIDE
dir=$(realpath -- "$1")
shift
PATH=$PATH:/usr/sbin:/sbin
names='registry-1.docker.io auth.docker.io index.docker.io'

ip link set lo up
for d in /run /opt /etc/docker; do mkdir -p $d; mount -t tmpfs hub $d; done
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 hub /sys/fs/cgroup
echo "127.0.0.1 localhost $names" >"$dir/hosts"
mount --bind "$dir/hosts" /etc/hosts

cd "$dir"
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -days 2 -subj '/CN=Hub on loopback' -out ca.crt
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout hub.key -subj '/CN=hub' -out hub.csr 2>/dev/null
printf 'basicConstraints=CA:FALSE\nsubjectAltName=%s\n' "DNS:${names// /,DNS:}" >extensions
openssl x509 -req -in hub.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out hub.crt 2>/dev/null

await() { # LOG COMMAND...: waits until COMMAND succeeds, at most 30 seconds
    local end=$((SECONDS + 30)) log=$1
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { tail -n 20 "$log" >&2 && die "$* does not succeed"; }
        sleep 0.1
    done
}
printf '%s\n' 'version: 0.1' "storage: {filesystem: {rootdirectory: $dir/store}}" 'http:' '  addr: "127.0.0.1:443"' \
    "  tls: {certificate: $dir/hub.crt, key: $dir/hub.key}" >registry.yml
env -i PATH="$PATH" docker-registry serve registry.yml </dev/null >registry.log 2>&1 &
await registry.log grep -q 'listening on' registry.log
env -i PATH="$PATH" SSL_CERT_FILE="$dir/ca.crt" dockerd -H "unix://$dir/docker.sock" --data-root "$dir/data" \
    --exec-root "$dir/exec" --pidfile "$dir/docker.pid" --bridge=none --iptables=false --ip-forward=false \
    </dev/null >engine.log 2>&1 &
await engine.log docker -H "unix://$dir/docker.sock" version

code=0
"$@" </dev/null || code=$?
kill "$(cat docker.pid)"
for _ in {1..100}; do [ -e docker.pid ] || break; sleep 0.1; done
exit $code
