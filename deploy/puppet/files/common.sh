# shellcheck shell=sh
# What the helpers for containers and for images share.

write() { # MODE FILE: from stdin, whole or not at all, also where the power goes or the disk is full
    if (umask 077 && cat >"$2.$$.tmp") && chmod "$1" "$2.$$.tmp" && sync "$2.$$.tmp" && mv "$2.$$.tmp" "$2"; then sync "${2%/*}"
    else
        rm -f "$2.$$.tmp"
        return 1
    fi
}

# A program's text for Puppet's log and for JSON: Puppet fails a resource for other bytes where Ruby's locale is C.
plain() { LC_ALL=C tr '\t\r' '  ' | LC_ALL=C tr -c '\n\40-\176' '?'; }
