# To be sourced by the scripts that make Debian packages: what a package is made of besides its files.
# shellcheck shell=bash disable=SC2154 # `changelog` is set by who sources it
# It expects `changelog`, a file: version and time stamps are taken from it, so that the same input gives the same package.

version=$(dpkg-parsechangelog -l "$changelog" -S Version)
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l "$changelog" -S Timestamp)
export SOURCE_DATE_EPOCH
umask 022
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
tree=$root/tree

put() { install -D -m "$1" "$2" "$tree/$3"; } # MODE FILE PLACE

build() { # CONTROL ARCHITECTURE DEB: checksums, control file and archive of what is in $tree
    mkdir -p "$tree/DEBIAN"
    (cd "$tree" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
    local size maintainer
    size=$(du -sk --apparent-size --exclude=DEBIAN "$tree" | cut -f1)
    maintainer=$(dpkg-parsechangelog -l "$changelog" -S Maintainer)
    sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$2/; s/@SIZE@/$size/; s/@MAINTAINER@/$maintainer/" "$1" >"$tree/DEBIAN/control"
    find "$tree" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --build "$tree" "$3" >/dev/null
}
