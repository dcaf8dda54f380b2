#!/bin/bash
# Tests the fleet's page in Debian's Chromium with Debian's mosquitto, as root:
#   tests/proofs/page.sh        every part, and 1,000 devices with 500 messages per second for a minute; takes 4 to 5 minutes
#   tests/proofs/page.sh large  1,000 and 10,000 devices with 500 messages per second for a minute each, with figures; WRITE=1
#                               puts them into README.md here
# Installs what it needs from Debian and npm. Pictures are written to $PICTURES [target/page].
set -euo pipefail
cd "$(dirname "$0")/../.."

case "$*" in '' | large) ;; *) sed -n '2,/^[^#]/s/^# //p' "$0" >&2; exit 2 ;; esac
missing=(chromium mosquitto nginx)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
tests/lab/lab.sh install "${missing[@]}"
(cd deploy/fleet && npm ci --no-audit --no-fund --ignore-scripts)
if [ "$*" = large ]; then
    figures=$(mktemp)
    trap 'rm -f "$figures"' EXIT
    for load in '1000 60 60' '10000 5 60'; do
        # shellcheck disable=SC2086 # three numbers
        timeout 300 node tests/page/load.mjs $load
    done | tee "$figures"
    [ -z "${WRITE-}" ] || tests/proofs/section.py tests/proofs/README.md page <"$figures"
    exit
fi
timeout 900 node --test tests/page/
timeout 120 node tests/page/load.mjs 1000 60 60
