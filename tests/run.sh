#!/bin/bash
# Runs all tests, from nothing: installs the Debian packages that they need, if they are missing. No installed service is started;
# the tests start and end their own engines and registries.
set -euo pipefail

cd "$(dirname "$0")/.."
command -v cargo >/dev/null || { echo 'run.sh: needs Rust: https://rustup.rs' >&2; exit 1; }
[ "$(id -u)" = 0 ] || {
    # shellcheck disable=SC2016 # expanded by the shell into which it is copied
    echo 'run.sh: needs root, for an Engine of its own: sudo -E env "PATH=$PATH" tests/run.sh' >&2
    exit 1
}
tests/lab/lab.sh install curl iproute2 openssl podman procps python3 strace tmux
# The developer's own settings for Docker must not influence the tests.
unset "${!DOCKER_@}" "${!CONTAINERS_@}"
# Each crate separately: built together, each would have the features that any of them needs.
for crate in crates/*/; do
    [ $# -gt 0 ] || cargo test -q --locked -p "alm-$(basename "$crate")" </dev/null
done
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --locked --config-file tests/nextest.toml "$@" </dev/null
fi
exec cargo test --locked "$@" </dev/null
