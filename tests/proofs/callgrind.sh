#!/bin/bash
# Counts the instructions that the program needs for a progress event, with callgrind, and compares them with callgrind.txt:
#   tests/proofs/callgrind.sh            fails if they are more than 5 % higher, with the same compiler and C library
#   UPDATE=1 tests/proofs/callgrind.sh   writes the file again, for another compiler or after an improvement, and copies
#                                        it into the README.md here
# Each figure is the difference of two runs, one with twice as many events, so that start and end do not count. The load of the
# machine does not matter. The file is for Cargo.toml's release profile, built as usual. valgrind is installed (by apt-get) if it
# is missing.
set -euo pipefail

usage() { sed -n '2,/^[^#]/s/^# //p' "$0"; }
[ "$*" != --help ] || { usage; exit; }
[ $# = 0 ] || { usage >&2; exit 2; }
cd "$(dirname "$0")/../.."

readonly FILE=tests/proofs/callgrind.txt NAME=docker-pull-with-progress
readonly EVENTS=10000 WORSE=5

die() { echo "callgrind.sh: $*" >&2 && exit 1; }

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    [ -z "$engine" ] || kill "$engine" 2>/dev/null || true
    rm -rf "$dir" /run/alm/lock/*callgrind$$_*
}

# A successful pull of eight layers with COUNT progress events, 80 per second.
write_recording() { # COUNT
    python3 - "$1" <<'END'
import json, sys

count, at, size = int(sys.argv[1]), 0.0, 500_000_000
ids = [f"{n * 0x1d872b41e5:012x}" for n in range(1, 9)]


def say(status, **more):
    row = {"status": status, **more}
    # As Go writes it.
    text = json.dumps(row, separators=(",", ":")).replace(">", "\\u003e")
    print(f'[{at:.3f},"e",{text}]')


print('{"version":1,"image":"a:latest","started":"2026-01-01T00:00:00.000Z"}')
say("Pulling from a", id="latest")
for id in ids:
    say("Pulling fs layer", progressDetail={}, id=id)
for n in range(count):
    at, current = n / 80, size // 2 + size // 2 * n // count
    bar = "=" * (50 * current // size)
    bar = f"[{bar}>{' ' * (49 - len(bar))}]  {current / 1e6:.4g}MB/{size / 1e6:.4g}MB"
    detail = {"current": current, "total": size}
    say("Downloading", progressDetail=detail, progress=bar, id=ids[n % len(ids)])
for id in ids:
    say("Pull complete", progressDetail={}, id=id)
say("Digest: sha256:" + "0" * 64)
say("Status: Downloaded newer image for a:latest")
print(f'[{at:.3f},"x",{{"end":"complete","exit":0}}]')
END
}

# The cases; each sets $count to the number of instructions that it needs. TIMES is 1 or 2.
bare() { run --replay "$dir/$1.bare" --no-log; }
recording() { run --replay "$dir/$1.jsonl" --log "$dir/log"; }
pull() { # TIMES: from an engine that always has more lines ready
    local socket=$dir/$1.sock
    python3 tests/lab/fake-engine.py "$socket" "$dir/$1.jsonl" &
    engine=$!
    for _ in {1..300}; do [ -S "$socket" ] || sleep 0.1; done
    run --host "unix://$socket" --log "$dir/log" "127.0.0.1:5000/callgrind$$:1"
    kill "$engine"
    engine=''
}

run() { # ARGUMENT...; it must succeed
    rm -f "$dir/log"
    env -i HOME="$dir" PATH="$dir" LC_ALL=C.UTF-8 TZ=UTC "$valgrind" --tool=callgrind \
        --callgrind-out-file=/dev/null "$program" "$@" >"$dir/out" 2>"$dir/err" ||
        { cat "$dir/out" "$dir/err" >&2; die "no success: $*"; }
    grep -q 'PULL SUCCESSFUL' "$dir/out" || die "no pull: $*"
    count=$(sed -n 's/^==[0-9]*== I *refs: *//p' "$dir/err" | tr -d ,)
    [ -n "$count" ] || die "valgrind prints no figure: $*"
}

valgrind=$(type -P valgrind) || {
    export DEBIAN_FRONTEND=noninteractive
    set -- apt-get -qq -y -o DPkg::Lock::Timeout=120
    "$@" update </dev/null >&2
    "$@" install --no-install-recommends valgrind </dev/null >&2
    valgrind=$(type -P valgrind)
}
engine=''
dir=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT; trap 'exit 143' TERM

cargo build --release --locked
program=$(realpath "${CARGO_TARGET_DIR:-target}/release/$NAME")
made_with="$(rustc --version), $(getconf GNU_LIBC_VERSION), $(valgrind --version), $(uname -m)"
for times in 1 2; do
    write_recording $((times * EVENTS)) >"$dir/$times.jsonl"
    sed -n 's/^\[[0-9.]*,"e",\(.*\)\]$/\1/p' "$dir/$times.jsonl" >"$dir/$times.bare"
done
{
    echo "# Instructions for one progress event, and for a whole replay of a small pull (start), by tests/proofs/callgrind.sh."
    echo "# $made_with"
    for name in bare recording pull; do
        $name 1
        once=$count
        $name 2
        echo "$name $(((count - once) / EVENTS))"
    done
    run --replay fixtures/dockerd-20.10.24/fresh-tiny.jsonl --log "$dir/log"
    echo "start $count"
} >"$dir/now"

if [ -n "${UPDATE-}" ]; then
    tee $FILE <"$dir/now"
    tests/proofs/section.py tests/proofs/README.md callgrind <$FILE
    exit
fi
worse=0
while read -r name now; do
    [ "$name" != '#' ] || continue
    before=$(sed -n "s/^$name //p" $FILE)
    [ -n "$before" ] || die "$FILE has no figure for $name: UPDATE=1 $0"
    awk -v name="$name" -v now="$now" -v before="$before" \
        'BEGIN { printf "%-10s %8d  was %8d  %+.2f %%\n", name, now, before, 100 * (now - before) / before }'
    [ $((now * 100)) -le $((before * (100 + WORSE))) ] || worse=1
done <"$dir/now"
if ! grep -qxF "# $made_with" $FILE; then
    echo "not compared: this is $made_with, the file was made with $(sed -n 's/^# rustc/rustc/p' $FILE); UPDATE=1 $0"
elif [ $worse = 1 ]; then
    die "more than $WORSE % worse; where it has to be so: UPDATE=1 $0"
fi
