#!/bin/bash
# The metrics with the real programs that read them: promtool checks the file, the alert rules and their tests; node_exporter
# collects the file while pulls write it. PULL names the executable [target/release/docker-pull-with-progress].
set -euo pipefail
cd "$(dirname "$0")/../.."
pull=$(realpath -m "${PULL:-target/release/docker-pull-with-progress}")

die() { echo "metrics.sh: $*" >&2; exit 1; }
[ -x "$pull" ] || die "there is no $pull: cargo build --release --locked -p docker-pull-with-progress"
tests/lab/lab.sh install curl prometheus prometheus-node-exporter
dir=$(mktemp -d) exporter=
stop() {
    [ -z "$exporter" ] || kill "$exporter" || true
    rm -rf "$dir"
}
trap stop EXIT
mkdir "$dir/textfiles"
metrics=$dir/textfiles/alm.prom

promtool check rules deploy/fleet/rules.yml
promtool test rules deploy/fleet/test.yml

# Pulls of three images: one succeeds, one fails, one is up to date and was pulled by the fallback.
replay() { "$pull" -q --state "$dir/state" --metrics "$metrics" --replay "fixtures/$1.jsonl" >/dev/null 2>&1 || [ $? = 1 ]; }
recordings=(dockerd-20.10.24/fresh-three dockerd-20.10.24/disk-full-110m dockerd-28.5.2-containerd/fresh-eight-fast)
for recording in "${recordings[@]}"; do replay "$recording"; done
promtool check metrics <"$metrics"

# Several tries, because a port that was free may have been taken meanwhile.
for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 10000))
    prometheus-node-exporter --collector.disable-defaults --collector.textfile "--collector.textfile.directory=$dir/textfiles" \
        --web.listen-address=127.0.0.1:$port 2>"$dir/exporter.log" &
    exporter=$!
    for _ in $(seq 50); do
        ! curl -sf -o "$dir/collected" "127.0.0.1:$port/metrics" || break 2
        kill -0 $exporter 2>/dev/null || break
        sleep 0.1
    done
    kill $exporter 2>/dev/null || true
    exporter=
done
[ -n "$exporter" ] || die "node_exporter has not begun: $(cat "$dir/exporter.log")"
collect() { curl -sf -o "$dir/collected" "127.0.0.1:$port/metrics" || die 'node_exporter has ended'; }
expect() { grep -q "$1" "$dir/collected" || { grep -E '^(alm|node_textfile)' "$dir/collected" >&2; die "not collected: $1"; }; }

names=(alm_build_info alm_image_info alm_pull_failing alm_pull_failures_total alm_pull_in_progress alm_pull_last_attempt_timestamp_seconds
    alm_pull_last_duration_seconds alm_pull_last_exit_code alm_pull_last_success_timestamp_seconds alm_pull_received_bytes_total)
collect
for name in "${names[@]}"; do expect "^$name{"; done
expect '^alm_pull_failing{.*kind="disk-full".*} 1$'
expect '^node_textfile_scrape_error 0$'
[ "$(grep -c '^alm_pull_last_exit_code{' "$dir/collected")" = ${#recordings[@]} ] || die 'not one row an image'

writers=()
# Collected repeatedly while three pulls write at the same time: always complete, never with an error.
for _ in $(seq 20); do
    for recording in "${recordings[@]}"; do replay "$recording" & writers[${#writers[@]}]=$!; done
    for _ in 1 2 3; do
        collect
        expect '^node_textfile_scrape_error 0$'
        [ "$(grep -c '^alm_pull_in_progress{' "$dir/collected")" = ${#recordings[@]} ] || die 'half a file was collected'
    done
    wait "${writers[@]}"
    writers=()
done
promtool check metrics <"$metrics"
[ "$(find "$dir/textfiles" -name 'alm.prom*' | wc -l)" = 1 ] || die 'something was left beside the file'
# A broken file must be noticed; otherwise the checks above would prove nothing.
echo 'alm_pull_last_exit_code{' >"$dir/textfiles/broken.prom"
collect
expect '^node_textfile_scrape_error 1$'
echo "metrics: ${#names[@]} names, ${#recordings[@]} images, collected whole while they were written"
