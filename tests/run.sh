#!/bin/bash
# All tests, from nothing: installs the Debian packages that they need and are missing, then runs them. Nothing that is
# installed is started; the tests start engines and registries of their own and end them.
set -euo pipefail

cd "$(dirname "$0")/.."
command -v cargo >/dev/null || { echo 'run.sh: needs Rust: https://rustup.rs' >&2; exit 1; }
[ "$(id -u)" = 0 ] || {
    # shellcheck disable=SC2016 # to be expanded by who copies it
    echo 'run.sh: needs root, for an Engine of its own: sudo -E env "PATH=$PATH" tests/run.sh' >&2
    exit 1
}
tests/lab/lab.sh install curl podman procps python3 strace tmux
# What a developer's shell says of Docker is not for the tests.
unset "${!DOCKER_@}" "${!CONTAINERS_@}"
# Each by its name: built together they would all have the features that one of them needs.
for crate in crates/*/; do
    [ $# -gt 0 ] || cargo test -q --locked -p "alm-$(basename "$crate")" </dev/null
done
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --locked --config-file tests/nextest.toml "$@" </dev/null
fi
exec cargo test --locked "$@" </dev/null
