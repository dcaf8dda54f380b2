#!/bin/bash
# Notices of alm-agent.service under a real systemd, with its sandbox: to a webhook, by mail through msmtp, and by mail through
# exim4 and postfix with the drop-in of the package. AGENT names the executable [target/release/alm-agent].
# `notices.sh short` ends after the mail through msmtp, and takes a minute; all of it takes three.
# Needs root and cgroup v2. The device (tests/lab/device.sh) has no network but its loopback; webhook and mail server run there.
set -euo pipefail
cd "$(dirname "$0")/../.."
agent=$(realpath -m "${AGENT:-target/release/alm-agent}")
secret=hunter2OfTheProof

die() { echo "notices.sh: $*" >&2; exit 1; }
[ -x "$agent" ] || die "there is no $agent: cargo build --release --locked -p alm-agent"
case $* in '' | short) ;; *) die 'usage: notices.sh [short]' ;; esac
[ "$(id -u)" = 0 ] || die 'needs root'
tests/lab/lab.sh install systemd procps util-linux iproute2 python3 msmtp
[ -n "$(findmnt -nt cgroup2 -o TARGET)" ] || die 'needs cgroup v2'
dir=$(mktemp -d)
# shellcheck disable=SC2034 # read by device.sh
devices=$dir network=
# shellcheck source=tests/lab/device.sh
. tests/lab/device.sh
trap 'end_device pi-1; rm -rf --one-file-system "$dir"' EXIT

make_device pi-1
root=$dir/pi-1/system
mkdir "$dir/debs"
# The device has no network, so a name server of this machine would only cost time.
rm -f "$root/etc/resolv.conf"
install -m 755 "$agent" "$root/usr/bin/alm-agent"
install -m 644 deploy/debian/alm-agent.service "$root/lib/systemd/system/"
drop_ins=$root/etc/systemd/system/alm-agent.service.d
install -D -m 644 deploy/debian/alm-agent.notices.conf "$drop_ins/notices.conf"
echo "ALM_AGENT_OPTIONS=\"--device pi-1 --site 'Berlin, hall 2'\"" >"$root/etc/default/alm-agent"
mkdir -p "$root/etc/alm"
printf '%s\n' 'mailto:ops@example.com' "http://127.0.0.1:8080/notify/$secret" >"$root/etc/alm/notify"
chmod 600 "$root/etc/alm/notify"
printf 'account default\nhost 127.0.0.1\nport 2525\nfrom pi@example.com\n' >"$root/etc/msmtprc"
unpack_mailers() {
# Debian's package of exim4, unpacked: the test is about its setuid bit. It sends all mail to the server below.
(cd "$dir/debs" && apt-get -qq download exim4-daemon-light exim4-base libidn12 libgnutls-dane0 libunbound8 libevent-2.1-7 2>/dev/null) || die 'apt-get download exim4-daemon-light'
for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/exim"; done
cp -a "$dir/exim/usr/." "$root/usr/"
if [ ! -L "$root/lib" ]; then cp -a "$dir/exim/lib/." "$root/lib/" 2>/dev/null || true; fi
chroot "$root" sh -c 'getent passwd Debian-exim >/dev/null || useradd -r -d /var/spool/exim4 -s /usr/sbin/nologin Debian-exim'
chroot "$root" install -d -o Debian-exim -g Debian-exim -m 750 /var/spool/exim4 /var/log/exim4
mkdir -p "$root/etc/exim4"
cat >"$root/etc/exim4/exim4.conf" <<'END'
exim_user = Debian-exim
exim_group = Debian-exim
primary_hostname = pi-1.example.com
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
trusted_users = root
keep_environment =
never_users = root
begin routers
all:
  driver = manualroute
  transport = smtp
  route_list = * 127.0.0.1::2525
  self = send
begin transports
smtp:
  driver = smtp
  hosts_avoid_tls = *
END
# postfix, in the same way: its sendmail hands mail to a setgid helper, and its own daemons send it.
(cd "$dir/debs" && apt-get -qq download postfix 2>/dev/null) || die 'apt-get download postfix'
dpkg -x "$dir"/debs/postfix_*.deb "$dir/postfix"
mv "$dir/postfix/usr/sbin/sendmail" "$dir/postfix/usr/sbin/sendmail.postfix"
# exim4 has this name as a link to itself, through which it would be overwritten.
rm "$dir/postfix/usr/sbin/rmail"
cp -a "$dir/postfix/usr/." "$root/usr/"
cp -a "$dir/postfix/etc/postfix" "$root/etc/"
# No service in a chroot: it would need files of this machine there.
awk '/^[a-z]/ { $5 = "n" } 1' "$root/usr/share/postfix/master.cf.dist" >"$root/etc/postfix/master.cf"
: >"$root/etc/postfix/main.cf"
chroot "$root" sh -euc '
    getent group postdrop >/dev/null || groupadd -r postdrop
    getent passwd postfix >/dev/null || useradd -r -U -d /var/spool/postfix -s /usr/sbin/nologin postfix
    mkdir -p /var/spool/postfix /var/lib/postfix
    chown postfix:postfix /var/lib/postfix
    postconf -e myhostname=pi-1.example.com mydestination= inet_interfaces=loopback-only inet_protocols=ipv4 "relayhost=[127.0.0.1]:2525" \
        alias_maps= alias_database= compatibility_level=3.6
    chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue
    chmod 2755 /usr/sbin/postdrop /usr/sbin/postqueue'
}
[ -n "$*" ] || unpack_mailers
rm -f "$root/usr/sbin/sendmail"
ln -s ../bin/msmtp "$root/usr/sbin/sendmail"
# The mail server and the webhook write what they receive to /srv/got.
mkdir -p "$root/srv/got"
cat >"$root/srv/receivers.py" <<'END'
import http.server, os, socket, socketserver, threading, time
def keep(what, text): open(f"/srv/got/{what}.{time.time_ns()}", "w").write(text)
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        keep("hook", self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
class Mail(socketserver.StreamRequestHandler):
    def say(self, line): self.wfile.write(line.encode() + b"\r\n")
    def handle(self):
        self.say("220 sink"); text = ""
        while line := self.rfile.readline().decode():
            word = line.split(None, 1)[0].upper() if line.strip() else ""
            text += line
            if word == "DATA":
                self.say("354 go on")
                while (line := self.rfile.readline().decode()) not in (".\r\n", ""): text += line
                keep("mail", text); self.say("250 kept")
            elif word == "QUIT": self.say("221 bye"); return
            else: self.say("250 sink")
for kind, port, handler in ((http.server.ThreadingHTTPServer, 8080, Hook), (socketserver.ThreadingTCPServer, 2525, Mail)):
    kind.allow_reuse_address = True
    threading.Thread(target=kind(("127.0.0.1", port), handler).serve_forever).start()
# Both listen now, and not before: the service is active from here on.
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
END
cat >"$root/etc/systemd/system/receivers.service" <<'END'
[Service]
Type=notify
ExecStartPre=/bin/ip link set lo up
ExecStart=/usr/bin/python3 /srv/receivers.py
[Install]
WantedBy=multi-user.target
END
systemd-analyze --man=no --root="$root" verify alm-agent.service
systemctl --quiet --root="$root" enable alm-agent.service receivers.service
systemctl --quiet --root="$root" mask systemd-resolved.service

boot_device pi-1 pi-1
journal() { inside pi-1 journalctl --no-pager -q -u alm-agent; }
got() { inside pi-1 sh -c 'ls /srv/got' 2>/dev/null | grep -c "^$1\." || true; }
eventually() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + 90))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            inside pi-1 systemctl --no-pager status alm-agent >&2 || true
            journal >&2 || true
            inside pi-1 sh -c 'tail -n 20 /var/log/exim4/*log' >&2 2>/dev/null || true
            die "$what: not within 90 seconds"
        fi
        sleep 0.5
    done
    echo "$what"
}
is() { [ "$(inside pi-1 systemctl is-active "$1")" = "$2" ]; }
has() { [ "$(got mail)" = "$1" ] && [ "$(got hook)" = "$1" ]; }
state() { # JSON: writes a state as a pull does
    # shellcheck disable=SC2016
    inside pi-1 sh -euc 'mkdir -p /run/alm/pull; cd /run/alm/pull; printf "{\"v\":1,\"id\":\"r.example/app:1\",\"time\":\"2026-11-25T02:18:33Z\",\"since\":\"2026-11-25T02:18:33Z\",%s}" "$1" >.new; mv .new r.example%2Fapp%3A1.json' sh "$1"
}
failing='"status":"Error","text":"Failed","kind":"disk-full","details":"no space left on device","hint":"make room","failing_since":"2026-11-25T02:00:00Z","attempts":6'

eventually 'the service runs with the options of /etc/default' is alm-agent active
eventually 'the receivers run' is receivers active
echo "answers to --test-notice: $(inside pi-1 alm-agent --notify-file /etc/alm/notify --test-notice | tail -n 2 | xargs -d '\n')"
eventually 'the test notice arrives by mail and at the webhook' has 1
eventually 'the service keeps what it has noticed in a file' inside pi-1 test -s /var/lib/alm/outbox/noticed.json
state "$failing"
eventually 'the notice of a failure arrives, by msmtp within the sandbox' has 2
inside pi-1 sh -c 'grep -q "^To: ops@example.com" /srv/got/mail.*' || die 'the mail has no address'
if [ -z "$*" ]; then
    inside pi-1 systemctl restart alm-agent
    sleep 40
    has 2 || die 'the notice was sent again after a restart'
    echo 'the notice is not sent again after a restart'
    state '"status":"Done","text":"Up to date"'
    inside pi-1 systemctl kill -s KILL alm-agent
    eventually 'the notice of a recovery arrives after the service was killed' has 3
fi
shown=$(journal; inside pi-1 sh -c 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n"; cat /var/lib/alm/outbox/*; systemctl show alm-agent')
case $shown in *"$secret"*) die 'the secret can be seen' ;; esac
case $shown in *'was delivered'*) echo 'the journal reports deliveries; the secret is not in journal, arguments, environments or outbox' ;; *) die 'the journal reports no delivery' ;; esac
[ -z "$*" ] || exit 0

# A setuid sendmail: the sandbox refuses its privileges, so the mail waits; with the drop-in it arrives.
inside pi-1 ln -sf exim4 /usr/sbin/sendmail
state "$failing"
mail_waits() { journal | grep 'notices wait for line 1, mail to example.com'; }
eventually 'exim4 is refused its rights, which the journal says' mail_waits
install -m 644 deploy/debian/alm-agent.mailer.conf "$dir/mailer.conf"
inside pi-1 sh -c 'cat >/etc/systemd/system/alm-agent.service.d/mailer.conf' <"$dir/mailer.conf"
inside pi-1 sh -c 'sed -i "s/,\"after\":\"[^\"]*\"//" /var/lib/alm/outbox/*-failed*'
inside pi-1 systemctl daemon-reload
inside pi-1 systemctl restart alm-agent
eventually 'with the drop-in the mail arrives through exim4' has 4
echo "security: $(inside pi-1 systemd-analyze --no-pager security alm-agent | tail -n 1 | tr -d '→' | xargs) with that drop-in"

# postfix: with the same drop-in.
inside pi-1 /usr/sbin/postfix start >"$dir/postfix.log" 2>&1 || { cat "$dir/postfix.log" >&2; die 'postfix does not start'; }
inside pi-1 ln -sf sendmail.postfix /usr/sbin/sendmail
state '"status":"Done","text":"Up to date"'
eventually 'and through postfix' has 5
inside pi-1 sh -c 'grep -lq "by pi-1.example.com (Postfix" /srv/got/mail.*' || die 'the mail has not come through postfix'
