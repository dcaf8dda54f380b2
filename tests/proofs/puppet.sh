#!/bin/bash
# The Puppet module deploy/puppet: its static checks, then real `puppet apply` runs against a private Engine and registry,
# behind a link of its own that can be slow or down. Prints a table of the cases at the end.
#   tests/proofs/puppet.sh              all cases but the two slow ones, in two halves at once, each with an engine of its own
#   tests/proofs/puppet.sh REGEX...     the cases whose names match one of these, in one process; most need 'first run', too
#   tests/proofs/puppet.sh --list       the names of all cases, each with its function, which is in a file of puppet/
#   SLOW=1 tests/proofs/puppet.sh       also a pull that takes longer than Puppet's own limit of 300 seconds
#   PUPPET8=1 tests/proofs/puppet.sh    also Puppet 8, in a chroot of Debian trixie that debootstrap makes once, in the
#                                       build's directory
#   UPDATE=1 tests/proofs/puppet.sh 'static: documentation'   writes deploy/puppet/REFERENCE.md anew
# PULL=/path/of/docker-pull-with-progress uses this executable instead of building one; PUPPET=/path/of/puppet uses another
# Puppet for the runs.
# It changes nothing of the machine's own Puppet, Docker and logs.
set -euo pipefail

usage() { sed -n '2,/^[^#]/s/^# //p' "$0"; }
[ "$*" != --help ] || { usage; exit; }
list=
[ "$*" != --list ] || { list=yes; shift; }
[[ ${1-} != -* ]] || { usage >&2; exit 2; }
only=$(IFS='|'; echo "$*")
half=${HALF-} # 1 or 2, set by both_halves

die() { echo "puppet.sh: $*" >&2; exit 1; }

parts=$(dirname "$0")/puppet
# shellcheck source=tests/proofs/puppet/lab.sh
. "$parts/lab.sh"
# shellcheck source=tests/proofs/puppet/node.sh
. "$parts/node.sh"
# shellcheck source=tests/proofs/puppet/static.sh
. "$parts/static.sh"
# shellcheck source=tests/proofs/puppet/runs.sh
. "$parts/runs.sh"
# shellcheck source=tests/proofs/puppet/containers.sh
. "$parts/containers.sh"
# shellcheck source=tests/proofs/puppet/trial.sh
. "$parts/trial.sh"
# shellcheck source=tests/proofs/puppet/interruptions.sh
. "$parts/interruptions.sh"
# shellcheck source=tests/proofs/puppet/images.sh
. "$parts/images.sh"
# shellcheck source=tests/proofs/puppet/registry.sh
. "$parts/registry.sh"
# shellcheck source=tests/proofs/puppet/login.sh
. "$parts/login.sh"
# shellcheck source=tests/proofs/puppet/install.sh
. "$parts/install.sh"

# == What the machine needs ==

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2; }

has_gem() { ruby -e 'Gem::Specification.find_by_name(ARGV[0])' "$1" 2>/dev/null; }

install_missing() (
    missing=() policy=/usr/sbin/policy-rc.d
    command -v puppet >/dev/null || missing+=(puppet-agent)
    command -v puppet-lint >/dev/null || missing+=(puppet-lint)
    has_gem rspec-puppet || missing+=(ruby-rspec-puppet)
    has_gem puppet-strings || missing+=(puppet-strings)
    command -v logrotate >/dev/null || [ -x /usr/sbin/logrotate ] || missing+=(logrotate)
    [ -z "${PUPPET8-}" ] || command -v debootstrap >/dev/null || missing+=(debootstrap)
    command -v dpkg-scanpackages >/dev/null || missing+=(dpkg-dev)
    command -v shellcheck >/dev/null || missing+=(shellcheck)
    command -v python3 >/dev/null || missing+=(python3)
    [ -e /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 || missing+=(busybox-static)
    [ ${#missing[@]} -gt 0 ] || exit 0
    exec 9>>/run/docker-pull-lab.lock # tests/lab/lab.sh writes policy-rc.d under the same lock
    flock 9
    # Without this file the package would start an agent on this machine.
    if [ ! -e $policy ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\n%s\nexit 101\n' '# temporary, of tests/lab/lab.sh' >$policy
        chmod 755 $policy
    fi
    set -- install --no-install-recommends "${missing[@]}"
    echo "puppet.sh: apt-get $*"
    apt_get "$@" 2>/dev/null 9>&- || { apt_get update && apt_get "$@"; } 9>&- || die "cannot install ${missing[*]}"
)

# == Running cases ==

rows=() passed=0 failed=0

# Undoes what a failed case may have left behind, so that it does not fail the cases after it.
restore() {
    link up || true
    rate 0 || true
    tr -d '\n' <"$dir/lab/password" >"$dir/token"
    environment=("PATH=$PATH" "HOME=$dir/home" LANG=C.UTF-8)
    echo 'include alm_pull::profile::raspberry_pi' >"$dir/conf/site.pp"
    node
    arguments --network none
    publish app
    run_puppet || true
}

case_half=1
run_case() { # NAME COMMAND...
    if [ -n "$list" ]; then printf '%-26s %s\n' "$2" "$1"; return; fi
    [[ $1 =~ ${only-} ]] || return 0
    [ -z "$half" ] || [ "$half" = "$case_half" ] || return 0
    local code=0 began=$EPOCHREALTIME took
    echo "== $1 =="
    set +e
    (set -e; "${@:2}") >"$dir/case.log" 2>&1 </dev/null
    code=$?
    set -e
    took=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $began }")
    if [ $code = 0 ]; then
        passed=$((passed + 1)) rows+=("$(printf '%-6s %6ss  %s' passed "$took" "$1")")
        echo "    passed, $took s"
    else
        failed=$((failed + 1)) rows+=("$(printf '%-6s %6ss  %s' FAILED "$took" "$1")")
        grep -v 'returns: \[20' "$dir/case.log" | tail -n 40 | cut -c -400 | sed 's/^/    /' || true
        [ ! -e "$dir/lab/env" ] || restore
    fi
}

# Puppet's own start takes most of the time, and it uses one core: on two cores two halves take half as long.
both_halves() {
    local code=0 first second
    exec 3>&1
    # If a signal ends both, the first half still writes while it stops its lab: tee must outlive the signal.
    HALF=1 PULL=$PULL "$self" > >(trap '' INT TERM; exec tee "$dir/half1" >&3) 2>&1 3>&- &
    first=$!
    HALF=2 PULL=$PULL "$self" 3>&- >"$dir/half2" 2>&1 &
    second=$!
    trap 'kill $first $second 2>/dev/null || true; wait' EXIT
    wait $first || code=1
    wait $second || code=1
    trap 'rm -rf "$dir"' EXIT
    echo
    echo '== the other half =='
    grep -vE '^(passed|FAILED) ' "$dir/half2"
    echo
    cat "$dir/half1" "$dir/half2" | grep -E '^(passed|FAILED) '
    echo
    echo "$(cat "$dir"/half[12] | grep -c '^passed ') passed, $(cat "$dir"/half[12] | grep -c '^FAILED ') failed, in $((SECONDS / 60)) minutes"
    exit $code
}

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    code=$?
    trap '' INT TERM
    [ ! -e "$dir/lab/env" ] || docker ps -aq | while read -r id; do docker rm -f "$id" >/dev/null; done
    "$lab" stop "$dir/lab" || code=1
    ! mountpoint -q "$dir/full" || umount "$dir/full"
    kill_shims "$(list_shims)"
    rm -rf "$dir" || code=1
    exit $code
}

# == The cases, in their order: each begins with what the one before it left ==

static_cases() {
    run_case 'static: parser, templates, data' parse
    run_case 'static: puppet-lint' lint
    run_case 'static: documentation (puppet strings)' documented
    run_case 'static: shellcheck' scripts
    run_case 'static: rspec-puppet' specs
}

node_cases() {
    run_case 'a new node with --noop: nothing changes' fresh_noop
    case_half=${half:-1} # both halves need it
    run_case 'first run: logs in, pulls and creates everything' first_run
    case_half=1
    run_case "the old script is replaced by a link, somebody's own alm is kept" old_script_replaced
    run_case 'second run: changes nothing' second_run
    run_case '--noop with a new image: pulls nothing' noop_pulls_nothing
    run_case 'new app image: pulls it and recreates only app' new_image
    run_case 'the run after it: changes nothing' second_run
    run_case 'other arguments: recreates only app' new_arguments
    run_case 'container removed by hand: created again' removed_by_hand
    run_case 'container stopped by hand: recreated' stopped_by_hand
    run_case 'the engine answers too late: the run fails, nothing is recreated' engine_too_slow
    run_case 'recreate of a current container: changes nothing' recreate_when_current

    run_case 'a replaced image without a container: removed' image_without_container
    run_case "a replaced image with an operator's tag: kept with its tag" operators_tag
    run_case "a replaced image that a container of somebody else uses: removed after that container" used_by_another
    run_case 'a replaced image on which another is built: kept, and not tried in every run' base_of_another
    run_case 'an image that this module did not pull: kept' foreign_image
    run_case 'a pull was interrupted: the image that it replaced is removed' interrupted_pull
    run_case 'images that failed their trial and were replaced: removed' failed_and_replaced
    run_case 'versions with their own tags: the previous one is removed' versions
    run_case 'remove_replaced false: images are kept; true later: removed' images_kept

    run_case 'the registry cannot be reached, as the check reports: the pull is skipped' registry_unreachable
    run_case 'a refused login: the pull is tried and fails' login_refused
    run_case "ensure => absent: the states of the image and its container are removed, the container goes on" absent
    run_case "a container's entry gets another name: the state of the old one goes with it" renamed
    run_case 'no digest is known: reported with the correction, not pulled in every run' without_digest
    run_case 'registry down, when_unknown pull: the run fails, nothing is recreated' registry_down
    run_case 'registry down: a stopped or removed container starts from the local image' start_without_registry
    run_case 'registry back: pulled and recreated' registry_back
    run_case 'one image does not exist: the other images and containers go on' image_missing
    run_case 'create fails once: the old container never stops, the next run recreates it' create_fails_once
    run_case 'start fails once: the old container runs again, the next run recreates it' start_fails_once

    case_half=2
    run_case 'another container in its network, pid, ipc, volumes: recreated after it in the same run' other_container
    run_case 'a container that was created by hand: replaced, or it runs again' made_by_hand
    run_case 'a dead namespace: detected and corrected' dead_namespace
    run_case 'registry down, two stopped containers, one in the network of the other: both start in one run' both_start
    run_case 'a container whose network another uses is rolled back: the other goes on' owner_rolled_back
    run_case 'a network was removed and created again: recreated' other_network
    run_case 'a file that the arguments name has changed: recreated' files_changed
    run_case 'a variable of the environment has changed: recreated' variable_changed
    run_case 'a paused and an unhealthy container: recreated' paused_or_unhealthy

    run_case 'trial: a new image that ends, with exit code 0 too: rolled back and marked' exits_by_itself
    run_case 'trial: a new image that restarts for ever: rolled back, with the restart policy' restarts_for_ever
    run_case 'trial: an image for another platform: a warning; one that cannot run: rolled back' another_platform
    run_case 'trial: a rolled back image is tried again after 1, 4, 24 hours, then daily, and by retry' tried_again
    run_case 'trial: health checks: healthy, never healthy, no grace' health_checks
    run_case 'trial: the first container fails: it stays with status Failed until a new image comes' first_fails
    run_case 'trial: the name that the change needs is taken: nothing changes' name_taken
    run_case 'interrupted after each step, engine restarted: one container runs, the new one' interrupted_change ''
    run_case 'interrupted after each step, image that fails: one container runs, the old one' interrupted_change "$broken_command"
    run_case 'interrupted, the journal lost: corrected' journal_lost
    run_case 'interrupted, the journal damaged, empty or of another node: corrected, nothing else changes' journal_damaged
    run_case 'trial: rolled back, and wanted again after another image: tried at once' wanted_again
    run_case 'a full disk: nothing changes, or the old container runs again' full_disk
    run_case 'a dead container: reported, and corrected when the engine can remove it' dead_container
    run_case "a name with which another container's id begins: the other one is not touched" id_prefix

    case_half=1
    run_case 'LANG unset' locale
    run_case 'LANG=C' locale LANG=C
    run_case 'LANG=C.UTF-8' locale LANG=C.UTF-8
    run_case 'LANG set to a locale that is not generated' locale LANG=de_EE.UTF-8
    run_case "cron's environment" cron
    run_case 'no environment but PATH' no_home
    run_case "a pull that takes longer than the site's timeout for all execs" long_pull 4000000 500000
    run_case 'a timeout: the pull is ended, the next run pulls again' timeout_set
    run_case 'Puppet ended during a pull (SIGTERM): the next run pulls again' puppet_ended TERM
    run_case 'Puppet killed during a pull (SIGKILL): the next run pulls again' puppet_ended KILL

    run_case 'login: a wrong password: the run fails, nothing is recreated' wrong_password
    run_case 'login: logged out by hand: logged in again' logged_out
    run_case 'login: a token file without docker login' token_without_login
    run_case 'login: blanks and line ends after the token: docker login, check and pull ignore them' token_with_blanks
    run_case "log rotation with the site's dateext, olddir, compress; blanks in the log's path" rotation
    run_case 'no secret in output, reports, logs, arguments, environment' no_secrets

    [ -z "${PUPPET8-}$list" ] || run_case 'Puppet 8, of Debian trixie' puppet_8
    run_case 'the executable from a URL; a wrong checksum is refused' from_url
    run_case 'the executable from a package source, upgraded; from a .deb' package_installed
    run_case "the README's lines, from build-rpi.sh to a converged node" readme
    [ -z "${SLOW-}$list" ] || run_case "a pull that takes longer than Puppet's own 300 seconds" long_pull 31000000 100000 300
}

[ -z "$list" ] || { static_cases; node_cases; exit; }
[ "$(id -u)" = 0 ] || die 'needs root, for an Engine of its own: sudo tests/proofs/puppet.sh'
[ -z "${PULL-}" ] || PULL=$(realpath -- "$PULL")
cd "$(dirname "$0")/../.."
self=$PWD/tests/proofs/puppet.sh
lab=$PWD/tests/lab/lab.sh lab_link=$PWD/tests/lab/link.py module=$PWD/deploy/puppet
dir=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT; trap 'exit 143' TERM

"$lab" install
install_missing
if [ -z "${PULL-}" ]; then
    cargo build --release --locked
    PULL=$(realpath "${CARGO_TARGET_DIR:-target}/release/docker-pull-with-progress")
fi
[ -n "$half$only" ] || both_halves
source=$PULL architecture=$(dpkg --print-architecture) sum=$(sha256sum <"$PULL" | cut -d ' ' -f 1)
environment=("PATH=$PATH" "HOME=$dir/home" LANG=C.UTF-8)
mkdir -p "$dir"/{conf/data,bin,modules,home,docker}
ln -s "$module" "$dir/modules/alm_pull"
# Puppet 7 with the defaults of Puppet 8. Debian's Puppet would not keep its ssldir below the vardir.
printf '%s\n' '[main]' strict=error strict_variables=true include_legacy_facts=false "ssldir=$dir/ssl" >"$dir/conf/puppet.conf"

static_cases

"$lab" start "$dir/lab"
# shellcheck source=/dev/null
. "$dir/lab/env"
start_link
(umask 077; cat "$dir/lab/password" >"$dir/token")
for name in init app telemetry; do publish $name; done
hiera
echo 'include alm_pull::profile::raspberry_pi' >"$dir/conf/site.pp"
node
arguments --network none

node_cases

echo
printf '%s\n' "${rows[@]}"
echo
echo "$passed passed, $failed failed"
[ $failed = 0 ]
