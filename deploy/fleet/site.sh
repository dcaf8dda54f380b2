#!/bin/bash
# The fleet's page, ready to be served: site.sh DIR
# Takes mqtt.js and uPlot from npm, in the versions and with the checksums of package-lock.json, and puts them with their
# licences beside the page. Nothing is bundled or translated.
set -euo pipefail

[ $# = 1 ] || { echo 'usage: site.sh DIR' >&2; exit 2; }
here=$(dirname "$(realpath "$0")")
put() { install -D -m 644 "$1" "$out/$2"; }
out=$1
# What the tests need came with the rest, where they have asked for it before.
[ "$here/node_modules/.package-lock.json" -nt "$here/package-lock.json" ] ||
    (cd "$here" && npm ci --omit=dev --no-audit --no-fund --ignore-scripts >&2)
for file in index.html page.css page.js fleet.js worker.js settings.json; do put "$here/page/$file" "$file"; done
put "$here/node_modules/mqtt/dist/mqtt.min.js" mqtt.min.js
put "$here/node_modules/mqtt/LICENSE.md" mqtt.LICENSE.md
put "$here/node_modules/uplot/dist/uPlot.iife.min.js" uPlot.iife.min.js
put "$here/node_modules/uplot/dist/uPlot.min.css" uPlot.min.css
put "$here/node_modules/uplot/LICENSE" uPlot.LICENSE
