#!/bin/bash
# Tests the Debian packages that build-rpi.sh has put into dist/:
#   tests/proofs/packages.sh              quickly, as any user: contents, lintian, man pages, completion, curl, ways to build
#   tests/proofs/packages.sh DEB_ARCH...  as root, each in a clean Debian (amd64, armhf, arm64): from installation to purge
#   tests/proofs/packages.sh fleet        as root, alm-fleet in a clean Debian with mosquitto: from installation to purge
# The second and the third install debootstrap and download 60 MB for each architecture, kept below target/ for the next time.
set -euo pipefail
cd "$(dirname "$0")/../.."

PATH=$PATH:/usr/sbin:/sbin
NAME=docker-pull-with-progress
AGENT=alm-agent
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tmp=$(mktemp -d)
registered=() mounted=''
leave() {
    for entry in "${registered[@]}"; do echo -1 >"/proc/sys/fs/binfmt_misc/$entry"; done
    [ -z "$mounted" ] || umount "$mounted"
    rm -rf "$tmp"
}
trap leave EXIT
trap 'exit 130' INT; trap 'exit 143' TERM

usage() { sed -n 's/^#   //p' tests/proofs/packages.sh; }
die() { echo "packages.sh: $*" >&2 && exit 1; }
same() { [ "$1" = "$2" ] || die "${3-}expected"$'\n'"$2"$'\n'"and got"$'\n'"$1"; }
package() { # ARCHITECTURE [NAME]
    local name=${2-$NAME} found
    found=(dist/"${name}"_*_"$1".deb)
    [ -e "${found[0]}" ] || found=()
    [ ${#found[@]} = 1 ] || die "dist/ should hold one package $name for $1: run build-rpi.sh first"
    printf '%s\n' "${found[0]}"
}

# The rules of a logrotate configuration, without comments and the log's path.
RULES='weekly rotate 4 maxsize 1M compress delaycompress missingok notifempty create 0644 root root nocopytruncate noolddir dateformat -%Y%m%d-%s'
rules() { grep -v '^#' "$1" | sed -n '/{$/,/^}/ { /[{}]/!p }' | xargs; }

# Exactly the options of the help text have an entry in the man page and are completed.
options() { grep -oE -- '(^|[ ,])-(-[a-z-]+|[a-zA-Z]\b)' | tr -d ' ,' | sort -u; }
completions() { # NAME WORD...
    # shellcheck source=/dev/null disable=SC2030
    (export PATH="$tmp/bin:$PATH" && . "$tmp/tree/usr/share/bash-completion/completions/$1"
     COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _docker_pull_with_progress "$1" && printf '%s\n' "${COMPREPLY[@]}")
}

# Which way of building build-rpi.sh chooses, with fake tools that only print what is installed and how they were called.
routes() {
    local triple variable bin=$tmp/routes
    mkdir -p "$bin" "$tmp/has"
    # shellcheck disable=SC2016 # expanded in there
    tools() { # NAME BODY...
        while [ $# -gt 0 ]; do
            printf '#!/bin/bash\n%s\n' "$2" >"$bin/$1"
            chmod 755 "$bin/$1"
            shift 2
        done
    }
    # The build for the host succeeds, and the one for a target ends the script.
    tools rustc "[ \"\$*\" = \"--print target-libdir --target \$TRIPLE\" ] && echo $tmp/has/\$TRIPLE" \
        cargo "[[ \$* != *--target\ * ]] || { echo \"cargo \$*\"; env | grep -E '_LINKER=|BOOTSTRAP'; exit 1; }" \
        dpkg-query 'echo 1.96-1 1.96-1 1.95-1'
    route() { # ARCHITECTURE
        ! env PATH="$bin:/usr/bin:/bin" CARGO_TARGET_DIR="$tmp/build" TRIPLE="$triple" ./build-rpi.sh "$1" 2>&1 ||
            die "the build of $1 goes on without a compiler"
    }
    for architecture in aarch64 armv6 amd64; do
        case $architecture in
            aarch64) triple=aarch64-unknown-linux-musl ;;
            armv6) triple=arm-unknown-linux-musleabihf ;;
            amd64) triple=x86_64-unknown-linux-musl ;;
        esac
        # Neither a target of rustup's nor, with a std of another version than its compiler, Debian's.
        same "$(route $architecture | sed -E 's/ +\(Debian: .* from apt, ziglang==[0-9.]+ by pip\)$//')" "\
build-rpi.sh: no way to build for $triple; one of these opens it:
build-rpi.sh:   rustup target add $triple
build-rpi.sh:   build-rpi.sh install" "no route for $architecture: "
        mkdir "$tmp/has/$triple"
        variable=${triple^^}
        same "$(route $architecture)" "\
== the host, for comparison ==
build-rpi.sh: no alm-agent: a part of its TLS is in C, for zig to compile (build-rpi.sh install)
== $architecture ==
route: rustup's target $triple, linked by rust-lld
cargo rustc --release --locked -p $NAME --bin $NAME --target $triple --target-dir $tmp/build/static --
CARGO_TARGET_${variable//-/_}_LINKER=rust-lld" "rustup's route for $architecture: "
    done
    # All tools of this machine, except those for packages.
    mkdir "$tmp/tools"
    find /usr/bin/ -mindepth 1 -maxdepth 1 -exec ln -s -t "$tmp/tools" {} +
    rm "$tmp/tools/dpkg-parsechangelog"
    begin() {
        ! env PATH="$bin:$tmp/tools" CARGO_TARGET_DIR="$tmp/build" TRIPLE="$triple" ./build-rpi.sh amd64 2>&1 | head -n 2
    }
    same "$(begin)" "\
build-rpi.sh: dpkg-parsechangelog is missing, for the Debian packages (Debian: apt-get install dpkg-dev)"
    rm "$tmp/tools/dpkg-deb"
    same "$(begin)" "\
build-rpi.sh: no Debian packages, executables alone: there is no dpkg-deb here
== the host, for comparison =="
    echo "routes: rustup's target where there is one; without any, or without dpkg-dev, what to install"
}

# The README's lines for the files of a release and for the link, run in a shell as if pasted.
installation() {
    local executable
    executable=$NAME-$(dpkg --print-architecture)
    mkdir "$tmp/local"
    printf '#!/bin/sh\nexec "$@"\n' >"$tmp/local/sudo"
    chmod 755 "$tmp/local/sudo"
    sed -n '/^    curl .*RELEASE/,/^    sudo install/p' README.md | sed "s|/usr/local/bin/|$tmp/local/|" >"$tmp/download.sh"
    same "$(wc -l <"$tmp/download.sh")" 3 'lines for curl in the README: '
    # shellcheck disable=SC2016 # nothing to expand
    sed -nE 's/^.*`sudo (ln [^`]*)`.*/\1/p' README.md | sed "s|/usr/local/bin/|$tmp/local/|" >"$tmp/link.sh"
    same "$(wc -l <"$tmp/link.sh")" 1 'lines for the link in the README: '
    paste_lines() { # RELEASE
        rm -rf "$tmp/download" && mkdir "$tmp/download"
        # shellcheck disable=SC2031 # it is changed in a subshell on purpose
        (cd "$tmp/download" &&
            PATH="$tmp/local:$PATH" RELEASE="file://$1" bash <"$tmp/download.sh" 2>"$tmp/download.err")
    }
    cp -r dist "$tmp/tampered"
    printf '\n' >>"$tmp/tampered/$executable"
    same "$(paste_lines "$tmp/tampered" || true)" "$executable: FAILED"
    [ ! -e "$tmp/local/$NAME" ] || die 'a file that is not what SHA256SUMS says is installed'
    rm "$tmp/tampered/SHA256SUMS"
    same "$(paste_lines "$tmp/tampered" || true)" ''
    [ ! -e "$tmp/local/$NAME" ] || die 'a file is installed without SHA256SUMS'
    same "$(paste_lines "$PWD/dist")" "$executable: OK" "$(cat "$tmp/download.err")"
    cmp "$tmp/local/$NAME" "dist/$executable"
    bash "$tmp/link.sh"
    "$tmp/local/alm-pull" --help | grep -q '^Usage: alm pull' || die 'the link is not the viewer'
    echo 'installation by curl: as the README says, and nothing that is not what SHA256SUMS says'
}

clean_page() { # FILE: groff prints no warning about it
    same "$(LC_ALL=C.UTF-8 man --warnings -l "$1" 2>&1 >/dev/null)" '' "${1##*/}: "
    [ -n "$(LC_ALL=C.UTF-8 man -l "$1")" ] || die "${1##*/} shows nothing"
}

agent_packages() {
    local package help tree=$tmp/agent
    for package in dist/"$AGENT"_*.deb; do
        rm -rf "$tree" && dpkg-deb -R "$package" "$tree"
        same "$(cd "$tree" && find . ! -type d ! -path './DEBIAN/*' -printf '%M %P %l\n' | sed 's/ $//' | sort -k2)" "\
-rw-r--r-- lib/systemd/system/$AGENT.service
-rwxr-xr-x usr/bin/$AGENT
-rw-r--r-- usr/share/doc/$AGENT/changelog.Debian.gz
-rw-r--r-- usr/share/doc/$AGENT/changelog.gz
-rw-r--r-- usr/share/doc/$AGENT/copyright
-rw-r--r-- usr/share/doc/$AGENT/examples/mailer.conf
-rw-r--r-- usr/share/doc/$AGENT/examples/notices.conf
-rw-r--r-- usr/share/lintian/overrides/$AGENT
-rw-r--r-- usr/share/man/man1/$AGENT.1.gz"
        same "$(cd "$tree/DEBIAN" && echo *)" 'control md5sums postinst postrm prerm' "$package: "
        (cd "$tree" && md5sum --quiet --strict -c DEBIAN/md5sums)
        cmp "$tree/usr/bin/$AGENT" "dist/$AGENT-$(dpkg-deb -f "$package" Architecture)"
        lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs --allow-root "$package"
        echo "$package: contents and lintian"
    done
    zcat "$tree/usr/share/man/man1/$AGENT.1.gz" >"$tmp/$AGENT.1"
    clean_page "$tmp/$AGENT.1"
    help=$("$target/release/$AGENT" --help)
    # Usages and options are what stands before two blanks.
    help=$(sed -nE "s/^ +-/&/p; s/^ +$AGENT /    /p" <<<"$help" | sed -E 's/^ +//; s/   *.*//' | options)
    same "$(sed -n 's/^\.B //p' "$tmp/$AGENT.1" | tr -d "\\\\" | options)" "$help" "$AGENT.1: "
    echo "$AGENT: its man page is as --help"
}

quick() {
    local tree=$tmp/tree package page help file bytes real
    [ -e dist/SHA256SUMS ] || die 'there is nothing in dist/: run build-rpi.sh first'
    package "$(dpkg --print-architecture)" >/dev/null
    package "$(dpkg --print-architecture)" $AGENT >/dev/null
    (cd dist && sha256sum --quiet --strict -c SHA256SUMS && same "$(cut -d ' ' -f 3 SHA256SUMS)" "$(LC_ALL=C ls -1 --ignore=SHA256SUMS)" SHA256SUMS:\ )
    while read -r file bytes; do
        real=$(stat -c %s "dist/$file")
        # Another compiler may lead to slightly different sizes.
        ((real * 20 < bytes * 21 && real * 20 > bytes * 19)) || die "$file has $real bytes; deploy/README.md says $bytes"
    done < <(sed -nE 's/^\| .((docker|alm)-[a-z0-9-]+). \| ([0-9,]+) \|.*/\1 \3/p' deploy/README.md | tr -d ,)
    same "$(rules deploy/debian/logrotate)" "$RULES" 'logrotate: '
    same "$(rules deploy/puppet/templates/logrotate.epp)" "$RULES" "logrotate, Puppet's: "
    agent_packages
    for package in dist/"$NAME"_*.deb; do
        rm -rf "$tree" && dpkg-deb -R "$package" "$tree"
        dpkg-deb -f "$package" Suggests | grep -qw $AGENT || die "$package does not suggest $AGENT"
        same "$(cd "$tree" && find . ! -type d ! -path './DEBIAN/*' -printf '%M %P %l\n' | sed 's/ $//' | sort -k2)" "\
-rw-r--r-- etc/logrotate.d/$NAME
-rw-r--r-- lib/systemd/system/alm-monitor.service
lrwxrwxrwx usr/bin/alm-pull $NAME
lrwxrwxrwx usr/bin/alm-status $NAME
-rwxr-xr-x usr/bin/$NAME
-rw-r--r-- usr/lib/tmpfiles.d/$NAME.conf
lrwxrwxrwx usr/share/bash-completion/completions/alm-pull $NAME
lrwxrwxrwx usr/share/bash-completion/completions/alm-status $NAME
-rw-r--r-- usr/share/bash-completion/completions/$NAME
-rw-r--r-- usr/share/doc/$NAME/changelog.Debian.gz
-rw-r--r-- usr/share/doc/$NAME/changelog.gz
-rw-r--r-- usr/share/doc/$NAME/copyright
-rw-r--r-- usr/share/lintian/overrides/$NAME
-rw-r--r-- usr/share/man/man1/alm-pull.1.gz
-rw-r--r-- usr/share/man/man1/alm-status.1.gz
-rw-r--r-- usr/share/man/man1/$NAME.1.gz
-rw-r--r-- usr/share/man/man5/$NAME.5.gz"
        cmp "$tree/usr/bin/$NAME" "dist/$NAME-$(dpkg-deb -f "$package" Architecture)"
        lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs --allow-root "$package"
        echo "$package: contents and lintian"
    done
    mkdir -p "$tmp/bin"
    ln -s "$target/release/$NAME" "$tmp/bin/$NAME"
    ln -s "$target/release/$NAME" "$tmp/bin/alm-pull"
    ln -s "$target/release/$NAME" "$tmp/bin/alm-status"
    for page in $NAME alm-pull alm-status; do
        help=$("$tmp/bin/$page" --help)
        zcat "$tree/usr/share/man/man1/$page.1.gz" >"$tmp/page.1"
        clean_page "$tmp/page.1"
        # Usages and options are what stands before two blanks.
        help=$(sed -nE "s/^ +-/&/p; s/^(Usage:)? +($NAME|alm) /    /p" <<<"$help" | sed -E 's/^ +//; s/   *.*//' | options)
        [[ $help = *--help* ]] || die "the help text of $page is not understood"
        same "$(sed -n 's/^\.B //p' "$tmp/page.1" | tr -d "\\\\" | options)" "$help" "$page.1: "
        same "$(completions "$page" -)" "$help" "completion of $page: "
        [ "$page" = alm-status ] || same "$(completions "$page" --color a | xargs)" 'auto always' "completion of $page: "
    done
    zcat "$tree/usr/share/man/man5/$NAME.5.gz" >"$tmp/page.5"
    clean_page "$tmp/page.5"
    ! grep -q @ "$tmp/page.5" || die "$NAME.5 has no date or version"
    same "$(completions $NAME --progress '' | xargs)" 'auto plain tty json quiet' 'completion: '
    echo 'man pages and completion: as --help'
    installation
    routes
}

emulate() { # ARCHITECTURE: programs for it can be started in a chroot
    local entry
    case $1-$(uname -m) in
        amd64-x86_64 | arm64-aarch64) return ;;
        armhf-*) entry=qemu-arm ;;
        arm64-*) entry=qemu-aarch64 ;;
        *) die "no emulation of $1 here" ;;
    esac
    if [ ! -e /proc/sys/fs/binfmt_misc/register ]; then
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
        mounted=/proc/sys/fs/binfmt_misc
    fi
    [ ! -e /proc/sys/fs/binfmt_misc/$entry ] || return 0
    cat /usr/lib/binfmt.d/$entry.conf >/proc/sys/fs/binfmt_misc/register
    registered+=("$entry")
}

# Files that dpkg and the tests themselves leave behind.
files() { (cd "$root" && find . -xdev ! -path './var/lib/dpkg/*' ! -path './var/log/dpkg.log' ! -path './var/log/alternatives.log' \
    ! -path './tmp/*' ! -path './var/lib/logrotate/*' ! -path './run/*' | sort); }
# With its own /proc, which systemd-tmpfiles needs.
inside() { unshare --mount --pid --fork "--mount-proc=$root/proc" chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root "$@"; }

clean() { # ARCHITECTURE
    local root=$tmp/$1 base=$target/debootstrap-$1.tar package agent version log=var/log/alm/docker-pull.log before
    package=$(package "$1")
    agent=$(package "$1" $AGENT)
    emulate "$1"
    if [ ! -e "$base" ]; then
        debootstrap --arch="$1" --variant=minbase --include=logrotate,systemd-standalone-tmpfiles \
            bookworm "$tmp/base" >"$tmp/debootstrap.log" || { tail "$tmp/debootstrap.log" >&2; die "debootstrap $1"; }
        tar -C "$tmp/base" --one-file-system -cf "$base.new" .
        mv "$base.new" "$base"
        rm -rf --one-file-system "$tmp/base"
    fi
    mkdir "$root"
    tar -C "$root" -xf "$base"
    # The same package with an older version number.
    dpkg-deb -R "$package" "$tmp/old"
    sed -i 's/^Version: .*/Version: 0.0.1-1/' "$tmp/old/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone -b "$tmp/old" "$root/tmp/old.deb" >/dev/null
    rm -r "$tmp/old"
    cp "$package" "$root/tmp/new.deb"
    cp "$agent" "$root/tmp/agent.deb"
    dpkg-deb -R "$agent" "$tmp/old"
    sed -i 's/^Version: .*/Version: 0.0.1-1/' "$tmp/old/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone -b "$tmp/old" "$root/tmp/old-agent.deb" >/dev/null
    rm -r "$tmp/old"
    printf '%s\n' '{"status":"Pulling from tiny","id":"latest"}' '{"status":"Status: Image is up to date for tiny"}' >"$root/tmp/capture"
    version=$(dpkg-deb -f "$package" Version)
    before=$(files)

    inside dpkg -i /tmp/old.deb >/dev/null
    same "$(inside stat -c '%A %U %G' /var/log/alm)" 'drwxr-xr-x root root'
    inside $NAME --replay /tmp/capture --log /$log >/dev/null
    echo '# by the administrator' >>"$root/etc/logrotate.d/$NAME"
    inside dpkg -i /tmp/new.deb >/dev/null </dev/null
    # shellcheck disable=SC2016 # dpkg's own variables
    same "$(inside dpkg-query -Wf '${Version} ${Status}' $NAME)" "$version install ok installed"
    same "$(inside $NAME --version)" "$NAME ${version%-*}"
    grep -q 'by the administrator' "$root/etc/logrotate.d/$NAME" || die "$1: the upgrade took a changed file away"
    grep -q 'PULL SUCCESSFUL' "$root/$log" || die "$1: the upgrade took the log away"
    inside alm-pull --help | grep -q '^Usage: alm pull' || die "$1: alm-pull is not the viewer"
    ! inside dpkg -L $NAME | grep -qx '.*bin/alm' || die "$1: the package has an alm"
    # The agent can be installed alone, and added to and removed from the other package.
    inside dpkg -i /tmp/agent.deb >/dev/null
    same "$(inside $AGENT --version)" "$AGENT ${version%-*}"
    same "$(inside $AGENT digest <<<'{}' || echo "exit code $?")" "\
{\"kind\":\"request\",\"error\":\"standard input is not a request (line 1, column 2)\"}
exit code 1"
    echo 'ALM_AGENT_OPTIONS="--broker mqtts://broker.example"' >"$root/etc/default/$AGENT"
    inside dpkg -i /tmp/old-agent.deb >/dev/null 2>&1
    inside dpkg -i /tmp/agent.deb >/dev/null
    same "$(inside $AGENT --version)" "$AGENT ${version%-*}"
    grep -q broker.example "$root/etc/default/$AGENT" || die "$1: the upgrade took the agent's options away"
    # Notices that wait, as systemd keeps them for a service with a user of its own.
    mkdir -p "$root/var/lib/private/alm/outbox" "$root/var/lib/alm/pull"
    ln -s ../private/alm/outbox "$root/var/lib/alm/outbox"
    echo '{}' >"$root/var/lib/private/alm/outbox/noticed.json"
    inside dpkg -r $AGENT >/dev/null
    [ -e "$root/var/lib/alm/outbox/noticed.json" ] || die "$1: the removal took the agent's outbox away"
    [ -e "$root/etc/default/$AGENT" ] || die "$1: the removal took the agent's options away"
    inside dpkg -P $AGENT >/dev/null
    [ ! -e "$root/etc/default/$AGENT" ] || die "$1: the agent's options are left after the purge"
    same "$(cd "$root/var/lib" && find alm private/alm 2>/dev/null)" $'alm\nalm/pull' 'after the purge: '
    rmdir "$root/var/lib/alm/pull" "$root/var/lib/alm"
    rmdir "$root/var/lib/private" 2>/dev/null || true
    # Two rotations: the previous log is compressed a week later, a new one exists at once.
    inside logrotate -f /etc/logrotate.d/$NAME
    inside $NAME --replay /tmp/capture --log /$log >/dev/null
    inside logrotate -f /etc/logrotate.d/$NAME
    same "$(cd "$root/var/log/alm" && stat -c '%A %n' -- *)" "\
-rw-r--r-- docker-pull.log
-rw-r--r-- docker-pull.log.1
-rw-r--r-- docker-pull.log.2.gz"
    # /var/log on a tmpfs, after a boot.
    mv "$root/var/log/alm" "$root/tmp/alm"
    inside systemd-tmpfiles --create $NAME.conf
    same "$(inside stat -c '%A %U %G' /var/log/alm)" 'drwxr-xr-x root root'
    rmdir "$root/var/log/alm" && mv "$root/tmp/alm" "$root/var/log/alm"

    inside dpkg -r $NAME >/dev/null
    same "$(diff <(echo "$before") <(files) | grep '^[<>]')" "\
> ./etc/logrotate.d/$NAME
> ./var/log/alm
> ./var/log/alm/docker-pull.log
> ./var/log/alm/docker-pull.log.1
> ./var/log/alm/docker-pull.log.2.gz" 'after removal: '
    touch "$root/var/log/alm/docker-pull.log-20261128-1795887000"{,.gz}
    # What the Puppet module has written.
    mkdir -p "$root/var/lib/alm/container" && touch "$root/var/lib/alm/container/app.json"
    inside dpkg -P $NAME >/dev/null
    same "$(diff <(echo "$before") <(files))" '' 'after purge: '

    inside dpkg -i /tmp/new.deb >/dev/null
    touch "$root/var/log/alm/another.log" "$root/$log"
    inside dpkg -P $NAME >/dev/null 2>&1
    same "$(diff <(echo "$before") <(files) | grep '^[<>]')" "\
> ./var/log/alm
> ./var/log/alm/another.log" 'after purge beside the logs of others: '
    rm -rf --one-file-system "$root"
    echo "$1: install, upgrade, rotation, removal, purge"
}

fleet() { # mosquitto starts with what the package configures, before and after an upgrade and a removal, and after a purge
    local base=$target/debootstrap-fleet.tar root=$tmp/fleet old=$tmp/old before etc
    if [ ! -e "$base" ]; then
        debootstrap --variant=minbase --include=mosquitto,openssl bookworm "$tmp/base" >"$tmp/debootstrap.log" ||
            { tail "$tmp/debootstrap.log" >&2; die 'debootstrap of mosquitto'; }
        tar -C "$tmp/base" --one-file-system -cf "$base.new" .
        mv "$base.new" "$base"
        rm -rf --one-file-system "$tmp/base"
    fi
    mkdir "$root"
    tar -C "$root" -xf "$base"
    deploy/fleet/package.sh "$tmp"
    lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs --allow-root "$tmp"/alm-fleet_*_all.deb
    mv "$tmp"/alm-fleet_*_all.deb "$root/tmp/new.deb"
    # An older version with other templates and settings.
    dpkg-deb -R "$root/tmp/new.deb" "$old"
    sed -i 's/^Version: .*/Version: 0.0.1-1/' "$old/DEBIAN/control"
    sed -i 's/^autosave_interval 60/autosave_interval 61/' "$old/usr/share/alm-fleet/mosquitto/alm-fleet.conf"
    echo '# of the older version' >>"$old/etc/default/alm-fleet"
    (cd "$old" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | xargs -0 md5sum >DEBIAN/md5sums)
    dpkg-deb --root-owner-group -Znone -b "$old" "$root/tmp/old.deb" >/dev/null
    inside openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=broker -keyout /tmp/key -out /tmp/cert 2>/dev/null
    inside openssl ca -config /dev/stdin -keyfile /tmp/key -cert /tmp/cert -gencrl -crldays 2 -md sha256 -out /tmp/crl 2>/dev/null <<'CNF'
[ca]
default_ca = one
[one]
database = /dev/null
CNF
    chmod 644 "$root/tmp/key"
    # As the unit of mosquitto does.
    inside install -d -o mosquitto /run/mosquitto
    starts() { # Ended by timeout it ran; else it says why not.
        local code=0
        inside timeout 2 mosquitto -c /etc/mosquitto/mosquitto.conf >"$tmp/mosquitto" 2>&1 || code=$?
        [ $code = 124 ] || die "mosquitto does not start $1 (exit $code): $(cat "$tmp/mosquitto" "$root"/var/log/mosquitto/*)"
    }
    before=$(files)

    inside dpkg -i /tmp/old.deb >/dev/null
    [ ! -e "$root/etc/mosquitto/conf.d/alm-fleet.conf" ] || die 'the package opens listeners that nobody has asked for'
    starts 'with the package, not configured'
    sed -i 's|^CERT=.*|CERT=/tmp/cert|; s|^KEY=.*|KEY=/tmp/key|; s|^CA=.*|CA=/tmp/cert|; s|^CRL=.*|CRL=/tmp/crl|' "$root/etc/default/alm-fleet"
    inside alm-fleet-configure >/dev/null
    inside mosquitto_passwd -b /etc/mosquitto/alm-fleet/viewers.passwd viewer look
    starts 'configured'
    echo '{"root": "fleet"}' >"$root/usr/share/alm-fleet/page/settings.json"
    etc=$(cd "$root/etc" && md5sum default/alm-fleet mosquitto/alm-fleet/* mosquitto/conf.d/alm-fleet.conf)
    inside dpkg -i --force-confold /tmp/new.deb >"$tmp/upgrade" </dev/null
    grep -q 'to be changed: /etc/mosquitto/conf.d/alm-fleet.conf' "$tmp/upgrade" || die "the upgrade does not say what is to be done: $(cat "$tmp/upgrade")"
    same "$(cd "$root/etc" && md5sum default/alm-fleet mosquitto/alm-fleet/* mosquitto/conf.d/alm-fleet.conf)" "$etc" 'the upgrade: '
    grep -q '"root"' "$root/usr/share/alm-fleet/page/settings.json" || die 'the upgrade took the settings of the page away'
    starts 'after the upgrade'
    inside alm-fleet-configure >/dev/null
    inside alm-fleet-configure --check || die 'alm-fleet-configure has not done what it says'
    starts 'configured anew'
    inside dpkg -r alm-fleet >/dev/null 2>&1
    starts 'after the removal'
    inside dpkg -P alm-fleet >/dev/null 2>&1
    starts 'after the purge'
    same "$(diff <(echo "$before") <(files | grep -v '^./var/l[io][bg]/mosquitto/'))" '' 'after purge: '
    rm -rf --one-file-system "$root"
    echo 'alm-fleet: lintian, install, configuration, upgrade, removal, purge; mosquitto starts with each'
}

[ $# -gt 0 ] || { quick; exit; }
for architecture; do
    case $architecture in amd64 | armhf | arm64 | fleet) ;; --help) usage; exit ;; *) usage >&2; exit 2 ;; esac
done
[ "$(id -u)" = 0 ] || die "needs root: sudo tests/proofs/packages.sh $*"
if [ ! -e /usr/sbin/debootstrap ] || [ ! -e /usr/lib/binfmt.d/qemu-arm.conf ]; then
    apt-get -qq update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends debootstrap qemu-user-static >&2
fi
for architecture; do
    if [ "$architecture" = fleet ]; then fleet; else clean "$architecture"; fi
done
