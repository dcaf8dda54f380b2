#!/bin/bash
# Fuzzing: tests/proofs/fuzz.sh [SECONDS] [TARGET...]
# Tries random inputs for everything that the programs read from outside, SECONDS for each target [30], two targets at a time:
#   http       an engine's answer             event    one line of it
#   recording  a recording                    pipeline an answer or a recording, to the lines of the log
#   reference  an image reference             config   docker's config.json, a token file
#   sizes      an answer of alm-agent; and what alm-agent reads from registries:
#   challenge  a request for a login          manifest an index, or an image's layers
#   platform   which entry of an index is chosen, compared with the program's own choice
#   broker     what a broker sends to the service, over several connections
# Ten minutes each before a release: tests/proofs/fuzz.sh 600. A whole night on one: tests/proofs/fuzz.sh 28800 pipeline.
# Prints a row for each; WRITE=1 puts a table of all targets into the README.md here. Fails on any finding, and names the input that causes it.
# Interesting inputs are kept in target/fuzz/corpus, with which the next run continues; delete it to begin again.
# There is no memory sanitizer, because the program has no unsafe code. SANITIZER=address uses one, for the libraries.
# Overflows and debug assertions are checked in both cases.
set -euo pipefail

cd "$(dirname "$0")/../.."
sanitizer=${SANITIZER:-none}
all=(http event recording reference config pipeline sizes challenge manifest platform broker)
seconds=${1:-30}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
shift $(($# > 0))
targets=("${@:-${all[@]}}")
for target in "${targets[@]}"; do
    [ -f "fuzz/fuzz_targets/$target.rs" ] || { echo "fuzz.sh: no target $target; there are: ${all[*]}" >&2; exit 2; }
done

# Not `cargo +nightly`, which might download one.
rustup toolchain list 2>/dev/null | grep -q ^nightly || {
    echo 'fuzz.sh: needs a nightly Rust: rustup toolchain install nightly --profile minimal' >&2
    exit 1
}
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked

# In memory if possible, because the targets write small files all the time.
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
trap 'exit 130' INT; trap 'exit 143' TERM
out=${CARGO_TARGET_DIR:-target}/fuzz
mkdir -p "$out"
out=$(realpath "$out")

start=$SECONDS
build=(cargo +nightly fuzz build --sanitizer "$sanitizer" --target-dir "$out")
if [ ${#targets[@]} = 1 ]; then build+=("${targets[0]}"); fi
"${build[@]}"
echo "fuzz.sh: built in $((SECONDS - start)) s"
bin=$out/$(rustc -vV | sed -n 's/^host: //p')/release

# For sed: the engine's line in a row of a recording.
engine_line='s/^\[[0-9.]*,"e",\(.*\)\]$/\1/p'

# The ways in which a stream is delivered: at once, in pieces, and with every flag.
seed_streams() { # DIRECTORY FILE...
    local directory=$1 file name delivery
    shift
    for file in "$@"; do
        name=${file//\//-}
        for delivery in '\x00' '\x03\x01\x07\x40' '\x1a\x20\x60' '\xf9\x30'; do
            { printf '%b' "$delivery"; cat "$file"; } >"$directory/$name-$(printf %s "${delivery//\\x/}")"
        done
    done
}

seed() { # TARGET
    local directory=$work/$1.seeds line=0 row
    mkdir -p "$directory" "$out/corpus/$1"
    case $1 in
        http) seed_streams "$directory" fixtures/http/*.raw fuzz/seeds/http/* ;;
        pipeline)
            seed_streams "$directory" fixtures/http/*.raw fixtures/*/*.jsonl
            # Without the times, like the output of curl.
            for row in fixtures/*/*.jsonl; do
                sed -n "$engine_line" "$row" >"$work/capture"
                { printf '\x13\x20\x60\x10'; cat "$work/capture"; } >"$directory/capture-${row//\//-}"
            done
            ;;
        recording) cp --parents fixtures/*/*.jsonl "$directory" ;;
        event)
            # The lines of engines, each kind once.
            sed -n "$engine_line" fixtures/*/*.jsonl |
                awk '{ kind = $0; gsub(/[0-9a-f]+/, "", kind) } !seen[kind]++' >"$work/lines"
            cat fuzz/seeds/event/lines >>"$work/lines"
            while IFS= read -r row; do
                line=$((line + 1))
                printf '\0%s' "$row" >"$directory/$line"
            done <"$work/lines"
            ;;
        *) cp "fuzz/seeds/$1"/* "$directory" ;;
    esac
    [ -n "$(find "$directory" -type f)" ] || { echo "fuzz.sh: no seeds for $1" >&2; exit 1; }
}

run() { # TARGET
    export TMPDIR=$work/$1.tmp
    mkdir -p "$TMPDIR" "$out/artifacts/$1"
    # The program's standard error is discarded; libFuzzer uses its own descriptor. Earlier findings are tried again.
    exec "$bin/$1" -max_total_time="$seconds" -dict=fuzz/dictionary -max_len=8192 -timeout=10 -rss_limit_mb=2048 \
        -close_fd_mask=2 -print_final_stats=1 -artifact_prefix="$out/artifacts/$1/" \
        "$out/corpus/$1" "$work/$1.seeds" "$out/artifacts/$1" >"$work/$1.log" 2>&1
}

report() { # TARGET EXIT
    local log=$work/$1.log found
    total() { sed -n "s/^stat::$1: *//p" "$log"; }
    found=$(sed -n 's/^.*Test unit written to //p' "$log")
    printf '%-10s %12s executions %8s/s   coverage %6s edges, %6s features   corpus %6s   %s\n' "$1" \
        "$(total number_of_executed_units)" "$(total average_exec_per_sec)" \
        "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)" \
        "$(sed -n 's/.* ft: \([0-9]*\) .*/\1/p' "$log" | tail -1)" \
        "$(find "$out/corpus/$1" -type f | wc -l)" \
        "$([ "$2" = 0 ] && echo 'no finding' || echo "FINDING: ${found:-exit $2}")"
    # For the README: an input's name says nothing there.
    row_of[$1]="| $1 | $(total number_of_executed_units | sed ':a; s/\B[0-9]\{3\}\>/,&/; ta') | $(
        sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log"
    ) | $([ "$2" = 0 ] && echo none || echo FOUND) |"
    [ "$2" = 0 ] && return
    failed=1
    if [ -n "$found" ]; then
        # Once more, for the message.
        TMPDIR=$work/$1.tmp timeout 60 "$bin/$1" "$found" >"$work/why" 2>&1 || true
        { grep -a -m 1 -A 3 'panicked at\|ERROR: libFuzzer' "$work/why" || tail -3 "$work/why"; } | cut -c 1-2000
    else
        tail -30 "$log"
    fi
}

failed=0
for target in "${targets[@]}"; do seed "$target"; done
declare -A target_of=() row_of=()
next=0
while [ $next -lt ${#targets[@]} ] || [ ${#target_of[@]} -gt 0 ]; do
    while [ $next -lt ${#targets[@]} ] && [ ${#target_of[@]} -lt 2 ]; do
        run "${targets[next]}" &
        target_of[$!]=${targets[next]}
        next=$((next + 1))
    done
    code=0
    wait -n -p pid || code=$?
    report "${target_of[$pid]}" $code
    unset "target_of[$pid]"
done
# A run of some targets does not replace the results of a run of all targets.
if [ -n "${WRITE-}" ] && [ ${#targets[@]} = ${#all[@]} ]; then
    {
        printf '| target | executions | seconds | findings |\n|---|---|---|---|\n'
        for target in "${targets[@]}"; do echo "${row_of[$target]}"; done
        printf '\n%s, two targets at a time\n' "$(date +%F)"
    } | tests/proofs/section.py tests/proofs/README.md fuzz markdown
fi
exit $failed
