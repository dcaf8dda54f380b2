#!/bin/bash
# From nothing to a page with the first device, with the lines of deploy/fleet/README.md, and what Puppet does for it later:
#   tests/proofs/first-device.sh [NUMBER]
# A server and a device with a real systemd each, in a network of their own, with certificates like those of Puppet's CA. This
# machine's Puppet applies the classes alm_pull::fleet, alm_pull::agent and alm_pull with `monitor` on them; Chromium shows the
# page. The device's monitor is on /dev/ttyNUMBER [61].
# PULL and AGENT name the executables [target/release/docker-pull-with-progress, alm-agent]. Needs root, cgroup v2 and consoles.
# Takes two minutes. The services of this machine are not affected.
set -euo pipefail
cd "$(dirname "$0")/../.."
die() { echo "first-device.sh: $*" >&2; exit 1; }
case "$*" in '' | [1-9] | [1-9][0-9]) ;; *) sed -n '2,/^[^#]/s/^# //p' "$0" >&2; exit 2 ;; esac
pull=$(realpath -m "${PULL:-target/release/docker-pull-with-progress}")
agent=$(realpath -m "${AGENT:-target/release/alm-agent}")
console=/dev/tty${1:-61}
[ "$(id -u)" = 0 ] || die 'needs root'
for file in "$pull" "$agent"; do [ -x "$file" ] || die "there is no $file: cargo build --release --locked -p ${file##*/}"; done
[ -c "$console" ] || die "there is no $console: needs a kernel with consoles"
[ -n "$(findmnt -nt cgroup2 -o TARGET)" ] || die 'needs cgroup v2'
missing=(systemd procps util-linux iproute2 openssl curl puppet-agent mosquitto nginx chromium dpkg-dev)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
tests/lab/lab.sh install "${missing[@]}"

dir=$(mktemp -d)
devices=$dir network=''
# shellcheck source=tests/lab/device.sh
. tests/lab/device.sh

# shellcheck disable=SC2317 # called by the trap
stop() {
    code=$?
    [ $code = 0 ] || { tail -n 60 "$dir/out" "$dir"/*/boot.log; for name in server device; do inside "$name" journalctl -q --no-pager -n 40; done; } >&2 2>/dev/null || true
    end_device server
    end_device device
    [ -z "$network" ] || kill "$network" 2>/dev/null || true
    tests/lab/lab.sh stop "$dir/lab" || code=1
    rm -rf --one-file-system "$dir"
    exit $code
}
trap stop EXIT

eventually() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + 60))
    shift
    until "$@" >"$dir/out" 2>&1; do
        [ $SECONDS -lt $end ] || die "$what: not within 60 seconds"
        sleep 0.3
    done
    echo "$what"
}
check() { # WHAT COMMAND...
    "${@:2}" >"$dir/out" 2>&1 || die "not so: $1"
    echo "$1"
}
is() { [ "$(inside "$1" systemctl is-active "$2")" = "$3" ]; } # DEVICE UNIT STATE
is_enabled() { inside "$1" systemctl is-enabled --quiet "$2"; }
main() { inside "$1" systemctl show -P MainPID "$2"; }

# == What is built, and the packages ==

mkdir "$dir/dist" "$dir/host"
cp "$pull" "$dir/host/docker-pull-with-progress"
cp "$agent" "$dir/host/alm-agent"
architecture=$(dpkg --print-architecture)
for name in docker-pull-with-progress alm-agent; do deploy/debian/package.sh "$dir/host/$name" "$architecture" "$dir/host/$name" "$dir/dist"; done
(cd deploy/fleet && npm ci --no-audit --no-fund --ignore-scripts >/dev/null)
deploy/fleet/package.sh "$dir/dist"
cp -r deploy/puppet "$dir/dist/alm_pull"

# == Two machines, and their certificates ==

certificates() { # like those of Puppet's CA
    local ca=$dir/ca name
    mkdir "$ca"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=Puppet CA: puppet.example.com' \
        -keyout "$ca/ca.key" -out "$ca/ca.pem" 2>/dev/null
    touch "$ca/index.txt"
    printf '%s\n' '[ca]' 'default_ca = puppet' '[puppet]' "database = $ca/index.txt" 'default_md = sha256' 'default_crl_days = 30' >"$ca/ca.cnf"
    openssl ca -gencrl -config "$ca/ca.cnf" -keyfile "$ca/ca.key" -cert "$ca/ca.pem" -out "$ca/crl.pem" 2>/dev/null
    for name in broker.example.com pi-1.example.com; do issue "$name"; done
}
issue() { # NAME
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$dir/ca/$1.key" -out "$dir/ca/$1.csr" 2>/dev/null
    openssl x509 -req -in "$dir/ca/$1.csr" -CA "$dir/ca/ca.pem" -CAkey "$dir/ca/ca.key" -CAcreateserial -days 20 \
        -extfile <(echo "subjectAltName = DNS:$1") -out "$dir/ca/$1.pem" 2>/dev/null
}
place_certificate() { # MACHINE NAME: copies the certificate to where Puppet keeps it
    local ssl=$dir/$1/system/$ssldir
    mkdir -p "$ssl/certs" "$ssl/private_keys"
    cp "$dir/ca/ca.pem" "$ssl/certs/ca.pem"
    cp "$dir/ca/crl.pem" "$ssl/crl.pem"
    install -m 644 "$dir/ca/$2.pem" "$ssl/certs/$2.pem"
    install -m 600 "$dir/ca/$2.key" "$ssl/private_keys/$2.pem"
}
machine() { # MACHINE NAME [OLD NEW]...
    make_device "$1"
    local root=$dir/$1/system
    rm -rf "$root/etc/puppet" "$root/etc/mosquitto/alm-fleet" "$root"/etc/mosquitto/conf.d/* "$root"/etc/default/alm-* \
        "$root"/etc/nginx/sites-enabled/* "$root"/etc/nginx/conf.d/* "$root"/usr/local/bin/{alm,docker-pull}* "$root/etc/apt/sources.list.d" \
        "$root/${ssldir:?}" "$root/var/lib/mosquitto/mosquitto.db"
    chroot "$root" dpkg -P alm-fleet alm-agent docker-pull-with-progress >/dev/null 2>&1 || true
    echo '127.0.0.1 localhost broker.example.com pi-1.example.com' >"$root/etc/hosts"
    # A root shell may be on a system without sudo.
    printf '#!/bin/sh\nexec "$@"\n' >"$root/usr/local/bin/sudo"
    chmod 755 "$root/usr/local/bin/sudo"
    cp -r "$dir/dist" "$root/srv/dist"
    place_certificate "$1" "$2"
    boot_device "$@"
    eventually "$1: systemd is up" inside "$1" sh -c 'systemctl is-system-running | grep -E "running|degraded"'
}
ssldir=$(env -i PATH="$PATH" HOME=/root puppet config print ssldir)
certificates
unshare --net sh -c 'ip link set lo up && exec sleep 10000' &
network=$!
tests/lab/lab.sh start "$dir/lab"
tests/lab/lab.sh image "$dir/lab" app:latest 20K
# shellcheck source=/dev/null
. "$dir/lab/env"
machine server broker.example.com
# The device uses the engine of the lab.
machine device pi-1.example.com "$console" /dev/tty0 "$console" /dev/tty1 "$dir/lab/docker.sock" /run/docker.sock

# == The lines of the README ==

lines() { # NUMBER: prints that code block of the section
    awk -v wanted="$1" '/^## /{ on = /From nothing/ } on && /^```bash$/ { block++; in_block = 1; next } /^```$/ { in_block = 0 } in_block && block == wanted' deploy/fleet/README.md
}
run_lines() { # MACHINE NUMBER [INPUT]
    lines "$2" | sed "s|REGISTRY|$REGISTRY|g" >"$dir/lines"
    cat "$dir/lines"
    install -m 755 "$dir/lines" "$dir/$1/system/srv/lines"
    printf '%s' "${3-}" >"$dir/input"
    # shellcheck disable=SC2016
    inside "$1" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        bash -euc 'cd /srv && . ./lines' <"$dir/input" >"$dir/out" 2>&1 || die "the lines for the $1 fail"
    # In a network without addresses Puppet warns about facts that it cannot determine.
    ! sed 's/\x1b\[[0-9;]*m//g' "$dir/out" | grep -E '^(Error|Warning): ' | grep -vE 'Facter:|serverip' || die "the lines for the $1 have warnings"
}
puppet_lines() { # MACHINE NUMBER: runs only the lines of Puppet; their exit code says whether anything changed
    lines "$2" | grep '^sudo puppet apply' | sed 's/puppet apply/puppet apply --detailed-exitcodes/' >"$dir/$1/system/srv/lines"
    inside "$1" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euc 'cd /srv && . ./lines' >"$dir/out" 2>&1
}
settled() { # MACHINE NUMBER
    puppet_lines "$1" "$2" || die "$1: a second run of Puppet changes something"
    echo "$1: a second run of Puppet changes nothing"
}
again() { # MACHINE NUMBER: a run that may change something
    puppet_lines "$1" "$2" || [ $? = 2 ] || die "$1: Puppet fails"
}
count=$({ lines 1; lines 2; lines 3; } | wc -l)
[[ $count =~ ^([1-9]|10)$ ]] || die "the README has $count lines, and not ten at most"
run_lines server 2 $'pass word 1\npass word 1\n'
for unit in mosquitto nginx; do
    check "server: $unit is enabled" is_enabled server $unit
    eventually "server: $unit runs" is server $unit active
done
run_lines device 3
for unit in alm-agent alm-monitor; do
    check "device: $unit is enabled" is_enabled device $unit
    eventually "device: $unit runs" is device $unit active
    check "device: $unit: systemd-analyze security is under 4.0, as Puppet has configured it" inside device systemd-analyze --no-pager --threshold=40 security $unit
done

# == The page ==

open_page() { nsenter -t "$network" -n node tests/page/first.mjs "$@"; }
echo '-- the page in Chromium'
open_page https://127.0.0.1/ me 'pass word 1' pi-1.example.com "$REGISTRY/app" >"$dir/out" 2>&1 || { cat "$dir/out" >&2; die 'the page does not show the device'; }
cat "$dir/out"
open_page https://127.0.0.1/ me wrong pi-1.example.com >"$dir/out" 2>&1 && die 'the page shows the device to who has a wrong password'
echo 'the page does not show the device with a wrong password'
settled server 2
settled device 3

# == The monitor ==

mknod -m 600 "$dir/cells" c 7 $((64 + ${1:-61}))
screen() { iconv -f UTF-32LE -t UTF-8 "$dir/cells"; }
shows() { screen | grep -qF "$1"; }
eventually 'the console of the device shows its site' shows 'Berlin, hall 2'
eventually 'the console of the device shows its image' shows 'UP TO DATE'

# == What changes later ==

another_pid() { local now; now=$(main "$1" "$2") && [ "$now" != 0 ] && [ "$now" != "$3" ]; } # MACHINE UNIT BEFORE
before=$(main device alm-agent) mosquitto=$(main server mosquitto) nginx=$(main server nginx)
issue pi-1.example.com
place_certificate device pi-1.example.com
again device 3
check 'a renewed certificate of the device: Puppet restarts the agent' another_pid device alm-agent "$before"
check 'the device has the renewed certificate' cmp "$dir/ca/pi-1.example.com.pem" "$dir/device/system/$ssldir/certs/pi-1.example.com.pem"
check 'systemd passes the renewed certificate to the agent' inside device cmp "$ssldir/certs/pi-1.example.com.pem" /run/credentials/alm-agent.service/cert
open_page https://127.0.0.1/ me 'pass word 1' pi-1.example.com "$REGISTRY/app" >"$dir/out" 2>&1 || { cat "$dir/out" >&2; die 'it does not come back to the page'; }
echo 'the device is on the page again'
settled device 3

serial() { # PORT
    nsenter -t "$network" -n openssl s_client -connect "127.0.0.1:$1" -servername broker.example.com </dev/null 2>/dev/null |
        openssl x509 -noout -serial
}
issue broker.example.com
place_certificate server broker.example.com
wanted=$(openssl x509 -noout -serial -in "$dir/ca/broker.example.com.pem")
again server 2
has() { [ "$(serial "$1")" = "$wanted" ]; } # PORT
eventually 'a renewed certificate of the broker: devices get it' has 8883
eventually 'a renewed certificate of the broker: viewers get it' has 443
check 'mosquitto was restarted' another_pid server mosquitto "$mosquitto"
check 'nginx was not restarted' test "$(main server nginx)" = "$nginx"

systemctl_() { inside "$1" systemctl "${@:2}"; }
systemctl_ device disable --quiet --now alm-agent alm-monitor
again device 3
for unit in alm-agent alm-monitor; do
    check "stopped and disabled by hand: $unit is enabled again" is_enabled device $unit
    eventually "and runs" is device $unit active
done
echo 'first-device.sh: all passed'
