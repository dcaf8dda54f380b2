#!/bin/bash
# A Debian package around an executable: package.sh EXECUTABLE ARCHITECTURE HOST-EXECUTABLE DIR
# HOST-EXECUTABLE is the same program, runs here, and is asked for what the man pages say; its name is the package's. The same input
# gives the same package.
set -euo pipefail

[ $# = 4 ] || { echo 'usage: package.sh EXECUTABLE ARCHITECTURE HOST-EXECUTABLE DIR' >&2; exit 2; }
here=$(dirname "$0")
executable=$1 architecture=$2 host=$(realpath "$3") out=$4
name=${host##*/}
case $name in
    docker-pull-with-progress) pages=("$name" alm-pull alm-status) control=control overrides=lintian-overrides ;;
    alm-agent) pages=("$name") control=control.agent overrides=lintian-overrides.agent ;;
    *) echo "package.sh: there is no package $name" >&2; exit 2 ;;
esac
changelog=$here/changelog
# shellcheck source=deploy/debian/build.sh
. "$here/build.sh"
[ "${version%-*}" = "$("$host" --version | sed 's/.* //')" ] || {
    echo "package.sh: $changelog has no entry for $("$host" --version)" >&2
    exit 1
}
doc=$tree/usr/share/doc/$name
put_puller() {
    ln -s "$name" "$tree/usr/bin/alm-pull"
    ln -s "$name" "$tree/usr/bin/alm-status"
    put 644 "$here/alm-monitor.service" lib/systemd/system/alm-monitor.service
    put 644 "$here/tmpfiles.conf" "usr/lib/tmpfiles.d/$name.conf"
    put 644 "$here/logrotate" "etc/logrotate.d/$name"
    put 644 "$here/completion" "usr/share/bash-completion/completions/$name"
    ln -s "$name" "$tree/usr/share/bash-completion/completions/alm-pull"
    ln -s "$name" "$tree/usr/share/bash-completion/completions/alm-status"
    mkdir -p "$tree/var/log/alm" "$tree/usr/share/man/man5"
    put 755 "$here/postinst" DEBIAN/postinst
    put 755 "$here/prerm" DEBIAN/prerm
    put 755 "$here/postrm" DEBIAN/postrm
    echo "/etc/logrotate.d/$name" >"$tree/DEBIAN/conffiles"
    sed "s/@DATE@/$date/; s/@VERSION@/${version%-*}/" "$here/$name.5" | gzip -9n >"$tree/usr/share/man/man5/$name.5.gz"
}
put_agent() {
    put 644 "$here/alm-agent.service" lib/systemd/system/alm-agent.service
    for example in notices mailer; do put 644 "$here/$name.$example.conf" "usr/share/doc/$name/examples/$example.conf"; done
    for script in postinst prerm postrm; do put 755 "$here/$script.agent" "DEBIAN/$script"; done
}
put 755 "$executable" "usr/bin/$name"
put 644 "$here/copyright" "usr/share/doc/$name/copyright"
put 644 "$here/$overrides" "usr/share/lintian/overrides/$name"
# One changelog for both, in which each finds its own name.
sed "s/^docker-pull-with-progress /$name /" "$changelog" | gzip -9n >"$doc/changelog.Debian.gz"
gzip -9n <"$here/../../CHANGELOG.md" >"$doc/changelog.gz"
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)
mkdir -p "$tree/usr/share/man/man1"
for page in "${pages[@]}"; do
    ln -s "$host" "$root/$page"
    "$here/man.sh" "$root/$page" "$date" | gzip -9n >"$tree/usr/share/man/man1/$page.1.gz"
done
mkdir -p "$tree/DEBIAN"
if [ "$name" = alm-agent ]; then put_agent; else put_puller; fi
build "$here/$control" "$architecture" "$out/${name}_${version}_$architecture.deb"
