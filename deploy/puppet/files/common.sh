# shellcheck shell=sh
# What the helpers for containers and for images share.

# Writes standard input into a file: completely or not at all, also if the power fails or the disk is full.
write_file() { # MODE FILE
    if (umask 077 && cat >"$2.$$.tmp") && chmod "$1" "$2.$$.tmp" && sync "$2.$$.tmp" && mv "$2.$$.tmp" "$2"; then sync "${2%/*}"
    else
        rm -f "$2.$$.tmp"
        return 1
    fi
}

# Makes output of other programs safe for Puppet's log and for JSON. If Ruby's locale is C, Puppet fails a resource whose output
# has bytes outside of ASCII.
to_ascii() { LC_ALL=C tr '\t\r' '  ' | LC_ALL=C tr -c '\n\40-\176' '?'; }
