#!/bin/bash
# The Debian package alm-fleet (all architectures), with the page and the broker's configuration: package.sh DIR
# Asks npm for what site.sh names. The same input gives the same package.
set -euo pipefail

[ $# = 1 ] || { echo 'usage: package.sh DIR' >&2; exit 2; }
here=$(dirname "$(realpath "$0")")
out=$1
changelog=$here/../debian/changelog
# shellcheck source=deploy/debian/build.sh
. "$here/../debian/build.sh"

"$here/site.sh" "$tree/usr/share/alm-fleet/page"
doc=usr/share/doc/alm-fleet
put 644 "$here/copyright" $doc/copyright
put 644 "$here/README.md" $doc/README.md
put 644 "$here/nginx.conf" $doc/examples/nginx.conf
put 644 "$here/rules.yml" $doc/examples/rules.yml
gzip -9n <"$changelog" >"$tree/$doc/changelog.Debian.gz"
mkdir -p "$tree/usr/share/man/man8"
gzip -9n <"$here/alm-fleet-configure.8" >"$tree/usr/share/man/man8/alm-fleet-configure.8.gz"
put 644 "$here/lintian-overrides" usr/share/lintian/overrides/alm-fleet
# An administrator's own words about the page stay when the package is upgraded. Not in /etc, since mosquitto gives out no
# file that a link leads to.
conffiles=(/usr/share/alm-fleet/page/settings.json /etc/default/alm-fleet)
for file in alm-fleet.conf devices.acl viewers.acl server.acl; do put 644 "$here/mosquitto/$file" "usr/share/alm-fleet/mosquitto/$file"; done
put 644 "$here/mosquitto/default" etc/default/alm-fleet
put 755 "$here/mosquitto/alm-fleet-configure" usr/sbin/alm-fleet-configure
put 644 "$here/mosquitto/limits.conf" lib/systemd/system/mosquitto.service.d/alm-fleet.conf

mkdir "$tree/DEBIAN"
for script in postinst postrm; do put 755 "$here/$script" DEBIAN/$script; done
printf '%s\n' "${conffiles[@]}" >"$tree/DEBIAN/conffiles"
build "$here/control" all "$out/alm-fleet_${version}_all.deb"
