#!/bin/bash
# The commands of README.md and deploy/fleet/README.md in a Debian 12 made for this, as root, with nothing but Rust, git, and
# node from Debian:
#   tests/proofs/fresh.sh           a pull's demo, a fleet's for 30 seconds, all tests, the lines of "Trying it": an hour on two cores
#   tests/proofs/fresh.sh PART...   some of `demo`, `fleet`, `tests`, `trying`, in that order
# Of "Trying it" (deploy/fleet/README.md) those that only measure are left out (agents.py, page.sh large).
# Cloned is what is committed here. The toolchain is this machine's, read-only; crates, npm's and Debian's packages are fetched
# anew, by this machine's /etc/resolv.conf, /etc/apt, ~/.npmrc and own certificate authorities. Nothing of it stays.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() { echo "fresh.sh: $*" >&2; exit 1; }
for part; do case $part in demo | fleet | tests | trying) ;; *) sed -n '2,/^[^#]/s/^# //p' "$0" >&2; exit 2 ;; esac; done
[ "$(id -u)" = 0 ] || die 'needs root, for a chroot and an Engine in it'
PATH=$PATH:/usr/sbin:/sbin
source=$(git rev-parse --show-toplevel) common=$(realpath "$(git rev-parse --git-common-dir)") commit=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || echo 'fresh.sh: what is not committed is not tried' >&2
toolchain=$(rustc --print sysroot) || die 'needs Rust: https://rustup.rs'

if [ "${FRESH_INSIDE-}" != yes ]; then
    tests/lab/lab.sh install debootstrap git
    root=$(mktemp -d -p /var/tmp)
    # Its mounts end with its mount namespace, what it starts with its process namespace.
    trap 'rm -rf --one-file-system "$root"' EXIT
    FRESH_INSIDE=yes FRESH_ROOT=$root unshare --mount --pid --fork --kill-child "$0" "$@"
    exit
fi
root=$FRESH_ROOT
unset FRESH_INSIDE FRESH_ROOT
debootstrap --variant=minbase bookworm "$root" >"$root.log" || { tail "$root.log" >&2; rm -f "$root.log"; die 'debootstrap'; }
rm -f "$root.log"
cp -a /etc/resolv.conf "$root/etc/resolv.conf"
# Others than root have to reach it, too: apt's downloads are theirs.
chmod 755 "$root"
rm -r "$root/etc/apt"
cp -aT /etc/apt "$root/etc/apt"
mkdir -p "$root/usr/local/share/ca-certificates"
cp -aT /usr/local/share/ca-certificates "$root/usr/local/share/ca-certificates"
[ ! -e ~/.npmrc ] || cp ~/.npmrc "$root/srv/.npmrc"
mkdir -p "$root"/{rust,source,common}
# A root of its own, whose mounts can be set apart: the lab's engine does that.
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmp "$root/run"
for pair in "$toolchain:rust" "$source:source" "$common:common"; do
    mount --bind "${pair%%:*}" "$root/${pair#*:}"
    mount -o remount,bind,ro "$root/${pair#*:}"
done
in_it() { chroot "$root" env -i PATH=/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/srv LC_ALL=C.UTF-8 "$@"; }
in_it sh -ec "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends ca-certificates git nodejs gcc libc6-dev >/dev/null
    git config --global --add safe.directory '*'
    git clone -q /common /srv/project && cd /srv/project && git -c advice.detachedHead=false checkout -q $commit"
[ $# -gt 0 ] || set -- demo fleet tests trying
trying() { # prints the commands of that section
    awk '/^## /{ on = /Trying it/ } on && /^    /' deploy/fleet/README.md | sed -E 's/^ +//; s/ +#.*//' |
        grep -vE '^tests/(demo\.sh|proofs/agents\.py|proofs/page\.sh large)|simulator'
}
run() { # COMMAND
    local began=$SECONDS code=0
    echo "== $1 =="
    in_it bash -ec "cd /srv/project && $1" </dev/null || code=$?
    [ $code = 0 ] || { echo "fresh.sh: $1: exit $code" >&2; wrong=1; return; }
    echo "== $1: ok after $((SECONDS - began)) s =="
}
wrong=0
for part; do
    case $part in
        demo) run 'bash tests/demo.sh' ;;
        fleet) run 'bash tests/demo.sh fleet --seconds 30' ;;
        tests) run 'bash tests/run.sh' ;;
        trying)
            mapfile -t commands < <(trying)
            [ ${#commands[@]} -ge 7 ] || die "deploy/fleet/README.md names only ${#commands[@]} commands"
            for command in "${commands[@]}"; do run "$command"; done ;;
    esac
done
exit $wrong
