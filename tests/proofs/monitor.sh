#!/bin/bash
# alm-monitor.service under a real systemd, on a real console of the kernel:
#   tests/proofs/monitor.sh [NUMBER]    on /dev/ttyNUMBER [62], which is /dev/tty1 for that systemd
# PULL names the executable [target/release/docker-pull-with-progress]. Needs root and a kernel with consoles and cgroup v2.
# systemd runs on a device of tests/lab/device.sh, without a network. The screen is read from the console's cells (/dev/vcsu*).
set -euo pipefail
cd "$(dirname "$0")/../.."
pull=$(realpath -m "${PULL:-target/release/docker-pull-with-progress}")
number=${1:-62}

die() { echo "monitor.sh: $*" >&2; exit 1; }
[ -x "$pull" ] || die "there is no $pull: cargo build --release --locked -p docker-pull-with-progress"
[ "$(id -u)" = 0 ] || die 'needs root'
[ -c "/dev/tty$number" ] || die "there is no /dev/tty$number: needs a kernel with consoles"
tests/lab/lab.sh install systemd procps util-linux
[ -n "$(findmnt -nt cgroup2 -o TARGET)" ] || die 'needs cgroup v2'
devices=$(mktemp -d)
# shellcheck source=tests/lab/device.sh
. tests/lab/device.sh

stop() {
    end_device pi
    rm -rf --one-file-system "$devices"
}
trap stop EXIT

# The device has this machine's files, and those of the package.
make_device pi
dir=$devices/pi root=$devices/pi/system
install -m 755 "$pull" "$root/usr/bin/docker-pull-with-progress"
ln -sf docker-pull-with-progress "$root/usr/bin/alm-status"
install -m 644 deploy/debian/alm-monitor.service "$root/lib/systemd/system/"
echo "ALM_MONITOR_OPTIONS=\"--site 'Berlin, hall 2'\"" >"$root/etc/default/alm-monitor"
systemd-analyze --root="$root" verify alm-monitor.service
systemctl --quiet --root="$root" enable getty@tty1.service alm-monitor.service
mknod -m 600 "$dir/cells" c 7 $((64 + number))

boot_device pi pi-00042 "/dev/tty$number" /dev/tty0 "/dev/tty$number" /dev/tty1

screen() { iconv -f UTF-32LE -t UTF-8 "$dir/cells" | fold -w 240; }
eventually() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            inside pi systemctl --no-pager status alm-monitor getty@tty1 >&2 || true
            cat "$dir/boot.log" >&2
            screen >&2
            die "$what: not within 60 seconds"
        fi
        sleep 0.2
    done
    echo "$what"
}
shows() { screen | grep -qF "$1"; }
is() { [ "$(inside pi systemctl is-active "$1")" = "$2" ]; }
write_state() { # TEXT JSON: writes a state as a pull does
    # shellcheck disable=SC2016
    inside pi sh -euc 'mkdir -p /run/alm/pull; cd /run/alm/pull; printf "{\"v\":1,\"id\":\"r.example/app:1\",\"time\":\"2026-11-25T02:18:33Z\",\"since\":\"2026-11-25T02:18:33Z\",%s}" "$1" >.new; mv .new r.example%2Fapp%3A1.json' sh "$1"
}

eventually 'the unit, once enabled, runs after a boot' is alm-monitor active
eventually 'the console shows the page' shows 'NO PULL YET'
eventually 'the page shows the site from /etc/default' shows 'Berlin, hall 2'
eventually 'no getty runs on this console' is getty@tty1 inactive
write_state '"status":"Error","text":"Failed","kind":"disk-full","details":"no space left on device","hint":"make room","failing_since":"2026-11-25T02:00:00Z","attempts":6'
eventually 'the page shows a failure' shows 'no space left on device'
inside pi systemctl start getty@tty1
eventually 'a getty that is started stops the monitor' is alm-monitor inactive
eventually 'the getty shows its prompt' shows 'login:'
inside pi systemctl start alm-monitor
eventually 'a monitor that is started stops the getty' is getty@tty1 inactive
eventually 'the console shows the page again' shows 'WHAT TO DO'
main() { inside pi systemctl show -P MainPID alm-monitor; }
is_another() { local now; now=$(main) && [ "$now" != 0 ] && [ "$now" != "$1" ]; }
before=$(main)
inside pi systemctl kill -s KILL alm-monitor
eventually 'systemd starts a killed monitor again' is_another "$before"
eventually 'no getty was started meanwhile' is getty@tty1 inactive
write_state '"status":"Done","text":"Pulled"'
eventually 'the page shows the current state' shows 'UP TO DATE'
inside pi ln -sf /bin/false /usr/bin/alm-status
inside pi systemctl restart alm-monitor || true
eventually 'systemd gives up a monitor that cannot run' is alm-monitor failed
eventually 'the getty is started in its place' is getty@tty1 active
sleep 5
is getty@tty1 active || die 'the login has not stayed'
security=$(inside pi systemd-analyze --no-pager --threshold=40 security alm-monitor | tail -n 1 | tr -d '→' | xargs) || die "over 4.0: $security"
echo "security: $security"
