#!/bin/bash
# The Puppet module deploy/puppet: its static checks, then real `puppet apply` runs against a private Engine and registry,
# behind a link of its own that can be slow or down. Prints a table of the cases at the end.
#   tests/proofs/puppet.sh              all but the two slow ones, in two halves at once, each with an engine of its own
#   tests/proofs/puppet.sh REGEX...     only the cases whose names one of them matches, one after the other; most need 'first run'
#   SLOW=1 tests/proofs/puppet.sh       also a pull that outlasts Puppet's own limit of 300 seconds
#   PUPPET8=1 tests/proofs/puppet.sh    also Puppet 8, in a chroot of Debian trixie that debootstrap makes once, in the
#                                       build's directory
# PULL=/path/of/docker-pull-with-progress uses that program instead of building it; PUPPET=/path/of/puppet another Puppet
# for the runs.
# Nothing of the machine's own Puppet, Docker or logs is touched.
set -euo pipefail

usage() { sed -n '2,/^[^#]/s/^# //p' "$0"; }
[ "$*" != --help ] || { usage; exit; }
[[ ${1-} != -* ]] || { usage >&2; exit 2; }
only=$(IFS='|'; echo "$*")
half=${HALF-} # 1 or 2, where this is one of both

die() { echo "puppet.sh: $*" >&2; exit 1; }

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
    exec 9>>/run/docker-pull-lab.lock # policy-rc.d is tests/lab/lab.sh's, too
    flock 9
    # Or the package would start an agent.
    if [ ! -e $policy ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\n%s\nexit 101\n' '# temporary, of tests/lab/lab.sh' >$policy
        chmod 755 $policy
    fi
    set -- install --no-install-recommends "${missing[@]}"
    echo "puppet.sh: apt-get $*"
    apt_get "$@" 2>/dev/null 9>&- || { apt_get update && apt_get "$@"; } 9>&- || die "cannot install ${missing[*]}"
)

# == The link between engine and registry ==

start_link() { # leaves its address in $HUB
    coproc LINK { exec "$lab_link" "127.0.0.1:${PRIVATE_REGISTRY##*:}"; }
    # The descriptors of a coprocess are closed in subshells, and each case is one.
    exec 7>&"${LINK[1]}" 8<&"${LINK[0]}"
    read -r HUB <&8 || die 'the link does not come up'
}

link() { # ORDER...: as tests/lab/link.py has them
    local answer
    echo "$*" >&7
    read -r answer <&8 && [ "$answer" = ok ]
}

rate() { link rate "$1"; } # bytes a second; 0 is without limit

cat_slow_engine() {
    cat <<'RUBY'
# An engine's socket, the first argument, before the real one, the second: while there is the file that the third names,
# nothing is heard of container app for longer than the program's check waits; each such question is a line in the file.
require 'socket'
server = UNIXServer.new(ARGV[0])
loop do
  client = server.accept
  Thread.new do
    engine = UNIXSocket.new(ARGV[1])
    Thread.new do
      loop { client.write(engine.readpartial(16_384)) }
    rescue SystemCallError, IOError
      client.close rescue nil
    end
    loop do
      data = client.readpartial(16_384)
      if data.include?('/containers/app/json') && File.exist?(ARGV[2])
        File.write(ARGV[2], "slow\n", mode: 'a')
        sleep 12
      end
      engine.write(data)
    end
  rescue SystemCallError, IOError
    engine&.close
  end
end
RUBY
}

# == Engine, images, containers ==

# Of containers of this lab's engine: an engine that is killed leaves them, and the next one does not know them.
shims() {
    local process
    for process in /proc/[0-9]*; do
        # The name of a process has 15 letters.
        [ "$(cat "$process/comm" 2>/dev/null)" = containerd-shim ] || continue
        ! tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -qF " $dir/lab/exec/" || echo "${process#/proc/}"
    done
}
end_shims() { # PIDS
    local pid now
    now=" $(shims | tr '\n' ' ')"
    for pid in $1; do [[ $now != *" $pid "* ]] || kill -KILL "$pid"; done
}

docker() { env -i PATH="$PATH" DOCKER_CONFIG="$dir/lab/config" docker -H "unix://$ENGINE_SOCKET" "$@"; }

publish() { # NAME [BYTES [COMMAND]]: a new image NAME:latest in the registry, and none of it in the engine
    mkdir -p "$dir/image/bin"
    cp /bin/busybox "$dir/image/bin/"
    ln -f "$dir/image/bin/busybox" "$dir/image/bin/sh" # for health checks
    head -c "${2:-1000}" /dev/urandom >"$dir/image/news"
    chmod 755 "$dir/image/news"
    tar -C "$dir/image" -c . | docker import --change "CMD ${3:-$sleeps}" - "$REGISTRY/$1:latest" >/dev/null
    [ -z "${other_architecture-}" ] || say_architecture "$REGISTRY/$1:latest" "$other_architecture"
    docker push -q "$REGISTRY/$1:latest" >/dev/null
    docker image inspect -f '{{.Id}}' "$REGISTRY/$1:latest" >"$dir/published-$1"
    docker rmi "$REGISTRY/$1:latest" >/dev/null
}

say_architecture() { # IMAGE ARCHITECTURE: that it is for; `docker import --platform` does not say so in all engines
    local saved=$dir/saved
    mkdir "$saved"
    docker save "$1" | tar -x -C "$saved"
    docker rmi "$1" >/dev/null
    find "$saved" -maxdepth 1 -name '*.json' -exec sed -i "s/\"architecture\":\"[a-z0-9]*\"/\"architecture\":\"$2\"/" {} +
    tar -c -C "$saved" . | docker load >/dev/null
    rm -r "$saved"
}

sleeps='["/bin/busybox","sleep","100000"]'

# The id, or nothing where there is none.
image() { docker images --no-trunc -q "$HUB/$1:latest"; }
container() { docker ps -a --no-trunc -q --filter "name=^/$1\$"; }
runs() { [ "$(docker container inspect -f '{{.State.Running}} {{.Image}}' "$1")" = "true $(cat "$dir/published-$1")" ]; }
state() { docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort; docker images -a --no-trunc -q | sort; }
no_leftovers() { [ -z "$(docker ps -a -q --filter name='\.(new|old)$')" ]; }

# == Puppet ==

node() { # [KEY: VALUE]...: the node's Hiera data; a line each; what a case adds comes first
    {
        printf '%s\n' ---  "$@"
        cat <<YAML
alm_pull::install: file
alm_pull::source: {$architecture: '$source'}
alm_pull::checksum_value: {$architecture: '$sum'}
alm_pull::libexec: $dir/libexec
alm_pull::bin: $dir/bin
alm_pull::log: $dir/log/docker-pull.log
alm_pull::logrotate: $dir/logrotate
alm_pull::state: $dir/state
alm_pull::run: $dir/states
alm_pull::host: unix://$ENGINE_SOCKET
alm_pull::docker_config: $dir/docker
alm_pull::profile::raspberry_pi::settings: {registry: '$HUB', token_file: '$dir/token', token_user: fleet}
YAML
        [[ $* == *alm_pull::retries:* ]] || echo 'alm_pull::retries: 1'
        [[ $* == *alm_pull::grace:* ]] || echo 'alm_pull::grace: 1'
    } >"$dir/conf/data/node.yaml"
}

arguments() { # WORD...: what app's container is run with, and its image, in a level of Hiera of its own
    printf -- '---\nalm_pull::profile::raspberry_pi::images: {app: {image: %s, container: app, run_args: [%s]}}\n' \
        "$HUB/app:latest" "$(printf "'%s', " --stop-signal SIGKILL "$@")" >"$dir/conf/data/above.yaml"
}

puppet_() { # ARGUMENT...: as the agent would; what it says is in $dir/out
    env -i "${surroundings[@]}" "${PUPPET:-puppet}" apply --confdir "$dir/conf" --vardir "$dir/var" --logdir "$dir/puppetlog" \
        --rundir "$dir/run" --publicdir "$dir/public" --modulepath "$dir/modules" --color false \
        --detailed-exitcodes "$@" "$dir/conf/site.pp" >"$dir/out" 2>&1
}

apply() { # EXIT-CODE ARGUMENT...
    local code=0
    puppet_ "${@:2}" || code=$?
    sed -Ei '/^(Error|Warning): Facter: /d' "$dir/out" # of what it may not see in a sandbox; no concern of the module's
    cat "$dir/out"
    [ $code = "$1" ] || { echo "exit $code instead of $1"; return 1; }
}

executed() { sed -nE 's/.*Exec\[(.*)\]\/returns: executed successfully.*/\1/p' "$dir/out" | tr '\n' ' '; }
did() { # TITLE...: these and no other commands were executed
    local all=
    [ $# = 0 ] || all=$(printf '%s ' "$@")
    [ "$(executed)" = "$all" ] || { echo "executed: $(executed); expected: $all"; return 1; }
}
said() { grep -qE -- "$1" "$dir/out" || { echo "not said: $1"; return 1; }; }
# shellcheck disable=SC2251 # the last command of a function is what it returns
gone() { ! "$@"; }
unsaid() { gone grep -E -- "$1" "$dir/out"; }
settled() { apply 0; unsaid '^Notice: /Stage'; unsaid '^(Error|Warning):'; }
untouched() { [ "$(state)" = "$1" ] || { echo "was: $1"; echo "is: $(state)"; return 1; }; }

aside() { # FUNCTION: where nothing lasts that it changes in the system's directories, the node's data and dist/
    mkdir -p "$dir/aside" dist
    # shellcheck disable=SC2016 # expanded in there
    unshare --mount --propagation slave sh -euc '
        upper=$1 commands=$2
        shift 2
        mount -t tmpfs aside "$upper"
        for directory; do
            mkdir -p "$upper/new$directory" "$upper/work$directory"
            mount -t overlay -o "lowerdir=$directory,upperdir=$upper/new$directory,workdir=$upper/work$directory" \
                aside "$directory"
        done
        # Where pulls beside this one write: an overlay does not bear that what is under it changes. The rest of /run has the
        # sockets.
        for directory in /run/alm /var/lib/alm; do
            mkdir -p "$directory"
            mount -t tmpfs aside "$directory"
        done
        exec bash -euo pipefail -c "$commands"' sh "$dir/aside" \
        "$(declare -p dir surroundings architecture PULL HUB ENGINE_SOCKET REGISTRY; declare -f; echo "$1")" \
        /etc /usr /var "$dir/conf" "$PWD/dist"
}

# Puppet 8 from Debian trixie, kept beside the build for the next run, seen through a chroot in which nothing lasts.
make_puppet_8() {
    local base
    mkdir -p "${CARGO_TARGET_DIR:-target}"
    base=$(realpath "${CARGO_TARGET_DIR:-target}")/trixie-puppet
    (
        flock 9
        [ ! -d "$base" ] || exit 0
        trap 'rm -rf --one-file-system "$base.new"' EXIT
        debootstrap --variant=minbase --include=puppet-agent trixie "$base.new" >"$dir/debootstrap.log" ||
            { tail "$dir/debootstrap.log" >&2; exit 1; }
        mv "$base.new" "$base"
    ) 9>"$base.lock"
    mkdir -p "$dir/trixie"
    cat >"$dir/puppet8" <<SH
#!/bin/sh
exec unshare --mount --propagation slave sh -euc '
    root=$dir/trixie
    mount -t tmpfs trixie "\$root"
    mkdir "\$root/upper" "\$root/work" "\$root/root"
    mount -t overlay -o "lowerdir=$base,upperdir=\$root/upper,workdir=\$root/work" trixie "\$root/root"
    root=\$root/root
    for directory in /proc /dev "$module" "$dir"; do
        mkdir -p "\$root\$directory"
        mount --rbind "\$directory" "\$root\$directory"
    done
    for file in "$(type -P docker)" "$PULL"; do
        [ -e "\$root\$file" ] || { mkdir -p "\$root\${file%/*}"; touch "\$root\$file"; }
        mount --bind "\$file" "\$root\$file"
    done
    exec chroot "\$root" /usr/bin/puppet "\$@"' sh "\$@"
SH
    chmod 755 "$dir/puppet8"
}

# == Cases ==

# shellcheck source=tests/proofs/puppet/containers.sh
. "$(dirname "$0")/puppet/containers.sh"
# shellcheck source=tests/proofs/puppet/images.sh
. "$(dirname "$0")/puppet/images.sh"

rows=() passed=0 failed=0

as_before() { # what a case that failed may have left: the ones after it are to tell of themselves alone
    link up || true
    rate 0 || true
    tr -d '\n' <"$dir/lab/password" >"$dir/token"
    surroundings=("PATH=$PATH" "HOME=$dir/home" LANG=C.UTF-8)
    echo 'include alm_pull::profile::raspberry_pi' >"$dir/conf/site.pp"
    node
    arguments --network none
    publish app
    puppet_ || true
}

in_half=1
try() { # NAME COMMAND...
    [[ $1 =~ ${only-} ]] || return 0
    [ -z "$half" ] || [ "$half" = "$in_half" ] || return 0
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
        [ ! -e "$dir/lab/env" ] || as_before
    fi
}

parse() {
    find "$module" -name '*.pp' -exec puppet parser validate --confdir "$dir/conf" --vardir "$dir/var" {} +
    find "$module" -name '*.epp' -exec puppet epp validate --confdir "$dir/conf" --vardir "$dir/var" {} +
    find "$module" -name '*.yaml' -exec ruby -ryaml -e 'ARGV.each { |file| YAML.load_file(file, aliases: true) }' {} +
    ruby -rjson -e 'JSON.parse(File.read(ARGV[0]))' "$module/metadata.json"
}
lint() { (cd "$module" && puppet-lint --fail-on-warnings --relative .); }
scripts() { shellcheck -x -P SCRIPTDIR "$module"/files/*.sh; }
documented() {
    # It leaves a .yardoc where it runs.
    (cd "$dir" && puppet strings generate "$module/**/*.pp" --format json --out "$dir/strings.json") 2>&1 | tee "$dir/strings.log"
    grep -q alm_pull::by_architecture "$dir/strings.json"
    gone grep '\[warn\]' "$dir/strings.log"
}
specs() { (cd "$module" && env -i PATH="$PATH" HOME="$dir/home" LANG=C.UTF-8 rspec --format documentation); }

fresh_noop() {
    apply 0 --noop
    [ -z "$(docker ps -aq)" ]
    [ -z "$(image app)" ]
    [ ! -e "$dir/libexec" ]
    said 'Exec\[docker-pull .*/app:latest\]/returns: .*noop'
    said 'Exec\[docker-recreate app\]/returns: .*noop'
    unsaid '^(Error|Warning):'
}

first_run() {
    # As the old script and somebody's own alm have left it.
    printf '#!/bin/bash\nexit 99\n' | tee "$dir/bin/docker-pull-with-progress" >"$dir/bin/alm"
    chmod 755 "$dir"/bin/*
    apply 2
    did "docker-login $HUB" "docker-pull $HUB/"{init,app,telemetry}:latest docker-recreate\ {app,telemetry}
    runs app; runs telemetry
    [ "$(image init)" = "$(cat "$dir/published-init")" ]
    unsaid '^(Error|Warning):'
    [ "$(grep -c 'PULL SUCCESSFUL' "$dir/log/docker-pull.log")" = 3 ]
    said 'docker-pull .*Overall Progress: \[#+\] 100%'
}

moved_over() {
    [ "$("$dir/bin/docker-pull-with-progress" --version)" = "$("$PULL" --version)" ]
    [ "$(readlink "$dir/bin/alm-pull")" = "$dir/libexec/docker-pull-with-progress" ]
    # Somebody's own alm stays; where there is none, it comes.
    [ ! -L "$dir/bin/alm" ]
    rm "$dir/bin/alm"
    apply 2
    [ "$(readlink "$dir/bin/alm")" = "$dir/libexec/docker-pull-with-progress" ]
    logrotate=$(command -v logrotate || ls /usr/sbin/logrotate 2>/dev/null) || return 0
    "$logrotate" --debug --state "$dir/logrotate.state" "$dir/logrotate"
}

second_run() {
    local before log
    before=$(state) log=$(cksum <"$dir/log/docker-pull.log")
    settled
    untouched "$before"
    [ "$(cksum <"$dir/log/docker-pull.log")" = "$log" ]
}

noop_pulls_nothing() {
    publish app
    local before
    before=$(state)
    apply 0 --noop
    said 'Exec\[docker-pull .*/app:latest\]/returns: .*noop'
    unsaid 'Exec\[docker-pull .*/(init|telemetry):latest\]'
    untouched "$before"
}

new_app() { # ENVIRONMENT...
    local old telemetry
    old=$(image app) telemetry=$(container telemetry)
    apply 2
    did "docker-pull $HUB/app:latest" 'docker-recreate app'
    runs app
    [ "$(container telemetry)" = "$telemetry" ]
    gone docker image inspect "$old"
    no_leftovers
    unsaid '^(Error|Warning):'
    gone env LC_ALL=C grep '[^ -~]' "$dir/out"
}

newer_app() { publish app; new_app; }

new_arguments() {
    arguments --network none --env greeting=hello
    apply 2
    did 'docker-recreate app'
    docker container inspect -f '{{.Config.Env}}' app | grep -q greeting=hello
    settled
    arguments --network none
    apply 2
    did 'docker-recreate app'
}

removed() { docker rm -f app; apply 2; did 'docker-recreate app'; runs app; settled; }
stopped() { docker stop app; apply 2; did 'docker-recreate app'; runs app; }

slow_engine() {
    local before
    before=$(state)
    cat_slow_engine >"$dir/slow.rb"
    touch "$dir/slow"
    ruby "$dir/slow.rb" "$dir/slow.sock" "$ENGINE_SOCKET" "$dir/slow" &
    relay=$!
    trap 'kill $relay; node' EXIT
    for _ in {1..100}; do [ ! -S "$dir/slow.sock" ] || break; sleep 0.1; done
    ENGINE_SOCKET=$dir/slow.sock node
    apply 4
    # Asked by the checks, and by the recreate once more.
    [ "$(wc -l <"$dir/slow")" -ge 2 ]
    said 'cannot tell'
    said 'container app: not touched'
    did
    untouched "$before"
    rm "$dir/slow"
    settled
}

recreate_asks() {
    # By hand, where all is well.
    local before
    before=$(state)
    DOCKER_HOST=unix://$ENGINE_SOCKET "$dir/libexec/container" recreate --state "$dir/state" \
        "$PULL" app "$HUB/app:latest" --stop-signal SIGKILL --network none "$HUB/app:latest"
    untouched "$before"
}

registry_down() {
    publish app
    node 'alm_pull::when_unknown: pull'
    local before
    before=$(state)
    link down
    apply 4
    said 'PULL FAILED'
    said 'Error: .*docker-pull .*/app:latest'
    said 'docker-recreate app\]: Skipping because of failed dependencies'
    did
    untouched "$before"
}
start_without_registry() { # what has stopped runs again, and so does what was removed: the image is here
    docker stop app
    apply 6
    did 'docker-start app'
    said 'PULL FAILED'
    [ "$(docker container inspect -f '{{.State.Running}}' app)" = true ]
    local before
    before=$(state)
    apply 4
    untouched "$before"
    docker rm -f app
    apply 6
    did 'docker-start app'
    [ "$(docker container inspect -f '{{.State.Running}} {{.Image}}' app)" = "true $(image app)" ]
    before=$(state)
    apply 4
    untouched "$before"
}
registry_back() { link up; node; apply 2; did "docker-pull $HUB/app:latest" 'docker-recreate app'; runs app; settled; }

image_gone() { # one image that cannot be had does not hold up another's container
    publish telemetry
    node "alm_pull::profile::raspberry_pi::references: {app: $HUB/missing:latest}"
    local app
    app=$(container app)
    apply 6
    did "docker-pull $HUB/telemetry:latest" 'docker-recreate telemetry'
    [ "$(container app)" = "$app" ]
    runs telemetry
    node
    settled
}

create_fails_once() {
    publish app
    local before
    before=$(container app)
    arguments --network none --mount "type=bind,source=$dir/data,target=/data"
    apply 6
    did "docker-pull $HUB/app:latest"
    said 'bind source path does not exist'
    [ "$(docker container inspect -f '{{.State.Running}} {{.Id}}' app)" = "true $before" ] # not stopped for a moment
    mkdir "$dir/data"
    apply 2
    did 'docker-recreate app'
    runs app
    no_leftovers
    settled
    arguments --network none
    apply 2
}

start_fails_once() {
    publish app
    local before
    before=$(container app)
    arguments --network none --entrypoint /missing
    apply 6
    did "docker-pull $HUB/app:latest"
    said 'failed its trial: .*no such file or directory'
    said 'the old container runs again'
    [ "$(docker container inspect -f '{{.State.Running}} {{.Id}}' app)" = "true $before" ]
    no_leftovers
    arguments --network none
    apply 2
    did 'docker-recreate app'
    runs app
    no_leftovers
    settled
}

locale() { surroundings=("PATH=$PATH" "HOME=$dir/home" "$@"); publish app; new_app; }
cron() { surroundings=(PATH=/usr/bin:/bin HOME=/root LOGNAME=root SHELL=/bin/sh); publish app; new_app; settled; }
no_home() { surroundings=(PATH=/usr/bin:/bin); publish app; new_app; settled; }

long_pull() { # BYTES RATE: without the module's own timeout of 0 it would end after 3 seconds
    publish app "$1"
    rate "$2"
    cp "$dir/conf/site.pp" "$dir/site.pp.was"
    [ "${3-}" = 300 ] || sed -i '1i Exec { timeout => 3 }' "$dir/conf/site.pp"
    local began=$SECONDS took code=0
    apply 2 || code=$?
    took=$((SECONDS - began))
    mv "$dir/site.pp.was" "$dir/conf/site.pp"
    rate 0
    [ $code = 0 ]
    [ $took -gt "${3:-5}" ]
    did "docker-pull $HUB/app:latest" 'docker-recreate app'
    runs app
}

timeout_set() {
    publish app 6000000
    rate 400000
    local before
    before=$(container app)
    node 'alm_pull::timeout: 3'
    apply 4
    said 'Command exceeded timeout'
    said 'docker-recreate app\]: Skipping because of failed dependencies'
    [ "$(container app)" = "$before" ]
    tail -n 3 "$dir/log/docker-pull.log"
    grep -q 'PULL INTERRUPTED (SIGTERM)' "$dir/log/docker-pull.log"
    rate 0
    node
    new_app
}

agent_ended() { # SIGNAL
    publish app 6000000
    rate 400000
    local before agent
    before=$(container app)
    : >"$dir/log/docker-pull.log"
    puppet_ &
    # The subshell that waits, and below it Puppet.
    for _ in {1..300}; do ! grep -q 'queued' "$dir/log/docker-pull.log" || break; sleep 0.1; done
    agent=$(pgrep -P $! -f 'puppet apply' || echo $!)
    kill -s "$1" "$agent"
    wait $! || true
    sleep 1
    [ "$(container app)" = "$before" ]
    [ "$(image app)" != "$(cat "$dir/published-app")" ]
    cat "$dir/out"
    rate 0
    apply 2
    runs app
    no_leftovers
    settled
}

wrong_password() {
    publish app
    local before
    before=$(state)
    echo nonsense-4711 >"$dir/token"
    apply 4 --debug
    said 'docker-login .*401 Unauthorized|docker-login .*unauthorized'
    said "docker-pull .*/app:latest\]: Skipping because of failed dependencies"
    did
    untouched "$before"
    unsaid nonsense-4711
    tr -d '\n' <"$dir/lab/password" >"$dir/token"
    # What docker holds is still right: the file alone was wrong.
    apply 2
    did "docker-pull $HUB/app:latest" 'docker-recreate app'
}

log_out() { env -i PATH="$PATH" DOCKER_CONFIG="$dir/docker" docker -H "unix://$ENGINE_SOCKET" logout "$HUB"; }

logged_out() {
    log_out
    apply 2
    did "docker-login $HUB"
    settled
}

token_alone() {
    log_out
    # Hiera's levels are merged.
    echo 'alm_pull::profile::raspberry_pi::settings: {docker_login: false}' >>"$dir/conf/data/above.yaml"
    publish app
    new_app
    settled
    gone grep '"auth"' "$dir/docker/config.json"
    arguments --network none
    apply 2
    did "docker-login $HUB"
}

token_with_blanks() {
    local end
    for end in '\r\n' ' \t\n\n' '\n\r \n'; do
        { cat "$dir/lab/password"; printf '%b' "$end"; } >"$dir/token"
        # Docker's own login.
        log_out
        arguments --network none
        publish app
        apply 2
        did "docker-login $HUB" "docker-pull $HUB/app:latest" 'docker-recreate app'
        # The pulls and the check alone.
        log_out
        echo 'alm_pull::profile::raspberry_pi::settings: {docker_login: false}' >>"$dir/conf/data/above.yaml"
        publish app
        apply 2
        did "docker-pull $HUB/app:latest" 'docker-recreate app'
        settled
    done
    arguments --network none
    apply 2
    did "docker-login $HUB"
    tr -d '\n' <"$dir/lab/password" >"$dir/token"
    settled
}

rotation() {
    local log="$dir/log of/docker pull.log" logrotate site
    logrotate=$(command -v logrotate || echo /usr/sbin/logrotate)
    for site in '' dateext $'dateext\ncompress\nolddir old' $'olddir old\nnodelaycompress\ncopytruncate'; do
        rm -rf "$dir/log of"
        node "alm_pull::log: '$log'"
        # The node's data has a log already.
        sed -i "\|^alm_pull::log: $dir/log/|d" "$dir/conf/data/node.yaml"
        apply 2 || settled
        printf '%s\ninclude %s\n' "$site" "$dir/logrotate" >"$dir/site.logrotate"
        for _ in 1 2 3; do
            "$PULL" --log "$log" --progress quiet --host "unix://$ENGINE_SOCKET" --token-file "$dir/token" --token-user fleet \
                "$HUB/init:latest"
            grep -q 'PULL SUCCESSFUL' "$log"
            cp "$log" "$dir/generation"
            "$logrotate" --force --state "$dir/logrotate.state" "$dir/site.logrotate"
            [ ! -s "$log" ]
            # The viewer shows what was there before.
            "$PULL" --view -n 100000 --raw --log "$log" >"$dir/viewed"
            cmp "$dir/generation" "$dir/viewed"
            # A second later, as a name may have a time.
            sleep 1
        done
        ls -l "$dir/log of"
        [ "$(find "$dir/log of" -type f | wc -l)" = 4 ]
        [ "$(find "$dir/log of" -name '*.gz' | wc -l)" = 2 ]
    done
    settled
    node
    apply 2 || settled
}

no_secrets() {
    # What docker is started with, too.
    mkdir "$dir/spy"
    printf '#!/bin/sh\n{ echo "docker $*"; env; } >>%s\nexec %s "$@"\n' "$dir/spy/seen" "$(type -P docker)" >"$dir/spy/docker"
    chmod 755 "$dir/spy/docker"
    log_out
    publish app
    node "alm_pull::path: [$dir/spy, /usr/bin, /bin]"
    apply 2 --debug
    did "docker-login $HUB" "docker-pull $HUB/app:latest" 'docker-recreate app'
    cp "$dir/out" "$dir/spy/out"
    apply 0 --debug
    grep -q 'docker login --username fleet --password-stdin' "$dir/spy/seen"
    local secret
    for secret in "$(cat "$dir/lab/password")" "$(printf 'fleet:%s' "$(cat "$dir/lab/password")" | base64 -w0)"; do
        gone grep -rlF -- "$secret" "$dir/spy" "$dir/out" "$dir/var" "$dir/puppetlog" "$dir/run" "$dir/log" "$dir/public"
    done
    node
}

from_url() {
    mkdir "$dir/www"
    cp "$PULL" "$dir/www/executable"
    # A free port of the kernel's choice, let go a moment before it is used.
    local port promised=$sum
    port=$(ruby -rsocket -e 'puts TCPServer.new("127.0.0.1", 0).addr[1]')
    busybox httpd -f -p "127.0.0.1:$port" -h "$dir/www" &
    httpd=$!
    trap 'kill $httpd 2>/dev/null || true; source=$PULL; sum=$(sha256sum <"$PULL" | cut -d " " -f 1); node' EXIT
    source=http://127.0.0.1:$port/executable
    node
    rm "$dir/libexec/docker-pull-with-progress"
    apply 2
    "$dir/libexec/docker-pull-with-progress" --version
    settled
    # Another file than was promised is refused, and what was there stays.
    printf '\n' >>"$dir/www/executable"
    sum=$(sha256sum <"$dir/lab/env" | cut -d ' ' -f 1)
    node
    apply 4 || apply 6
    cmp "$dir/libexec/docker-pull-with-progress" "$PULL"
    # With the file in place nobody is asked for it: a server that is gone stops no pull.
    sum=$promised
    kill $httpd
    node
    settled
    source=$PULL
    node
    settled
}

puppet_8() { # from nothing to a node that has converged, and what a node goes through
    make_puppet_8
    PUPPET=$dir/puppet8
    env -i "${surroundings[@]}" "$PUPPET" --version | grep '^8\.'
    settled
    newer_app
    settled
    docker rm -f app telemetry
    log_out
    rm -r "$dir/libexec" "$dir/state"
    apply 2
    did "docker-login $HUB" docker-recreate\ {app,telemetry}
    settled
    new_arguments
    settled
    stopped
    settled
    bad_image "$broken" 'it ended with exit code 3'
    publish app
    new_app
    settled
    files_changed
}

# An archive with two versions of the package, and the paths that the module has by itself.
packaged() {
    local version archive=/var/local/archive name=docker-pull-with-progress
    rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /usr/local/lib/alm-pull /usr/local/bin/alm{,-pull}
    dpkg -P $name 2>/dev/null || true
    mkdir -p $archive
    # PULL may have another name, and the package is called as the program is.
    install -D "$PULL" /var/local/$name
    deploy/debian/package.sh "$PULL" "$architecture" /var/local/$name $archive
    dpkg-deb -R $archive/*.deb /var/local/old
    version=$(dpkg-deb -f $archive/*.deb Version)
    sed -i 's/^Version: .*/Version: 0.0.1-1/' /var/local/old/DEBIAN/control
    dpkg-deb -Znone -b /var/local/old "$archive/old.deb"
    (cd $archive && dpkg-scanpackages -m . >Packages)
    echo "deb [trusted=yes] file:$archive ./" >/etc/apt/sources.list
    apt-get -qq update
    # As the old script has left it.
    printf '#!/bin/bash\nexit 99\n' >/usr/local/bin/$name
    chmod 755 /usr/local/bin/$name
    echo '--- {}' >"$dir/conf/data/node.yaml"
    site() { # PARAMETER...
        cat >"$dir/conf/site.pp" <<PP
class { 'alm_pull': host => 'unix://$ENGINE_SOCKET', docker_config => '$dir/lab/config', $* }
alm_pull::image { '$REGISTRY/init:latest': container => 'packaged', run_args => ['--network', 'none'] }
PP
    }
    has() { # VERSION
        # shellcheck disable=SC2016 # dpkg's own variables
        [ "$(dpkg-query -Wf '${Version} ${db:Status-Status}' $name)" = "$1 installed" ]
    }

    site "package_ensure => '0.0.1-1'"
    apply 2
    did "docker-pull $REGISTRY/init:latest" 'docker-recreate packaged'
    has 0.0.1-1
    [ "$(readlink /usr/local/bin/$name)" = /usr/bin/$name ]
    [ "$(readlink /usr/local/bin/alm)" = /usr/bin/$name ]
    cmp /usr/bin/$name "$PULL"
    grep -q 'PULL SUCCESSFUL' /var/log/alm/docker-pull.log
    cmp /etc/logrotate.d/$name deploy/debian/logrotate
    settled
    site "package_ensure => 'latest'"
    apply 2
    did
    has "$version"
    settled
    # Without an archive, from the file.
    dpkg -P $name
    rm /etc/apt/sources.list
    apt-get -qq update
    site "package_source => '$(echo $archive/${name}_*.deb)'"
    apply 2
    did
    has "$version"
    settled
}
package_installed() {
    local code=0
    aside packaged || code=$?
    docker rm -f packaged
    return $code
}

# The block of commands in the README, as it stands but for its REGISTRY.
from_readme() {
    awk '/^```bash$/ { on = 1; next } /^```$/ { on = 0 } on' README.md | sed "s|REGISTRY|$REGISTRY|g" >"$dir/conf/readme"
    cat "$dir/conf/readme"
    head -n 1 "$dir/conf/readme" | grep -q '\./build-rpi\.sh'
    tail -n 1 "$dir/conf/readme" | grep -q 'sudo puppet apply'
    [ "$(wc -l <"$dir/conf/readme")" -le 10 ]
    # On a machine that has an engine of its own that one would be asked.
    export DOCKER_HOST=unix://$ENGINE_SOCKET DOCKER_CONFIG=$dir/lab/config
    # A root shell may have no sudo.
    printf '#!/bin/sh\nexec "$@"\n' >/usr/local/bin/sudo
    chmod 755 /usr/local/bin/sudo
    PATH=/usr/local/bin:$PATH bash -euo pipefail "$dir/conf/readme"
    runs app
    grep -q 'PULL SUCCESSFUL' /var/log/alm/docker-pull.log
    [ "$(docker container inspect -f '{{.Config.Image}}' app)" = "$REGISTRY/app:latest" ]
    # It has converged.
    echo "$(tail -n 1 "$dir/conf/readme") --detailed-exitcodes" >"$dir/conf/readme"
    PATH=/usr/local/bin:$PATH bash -euo pipefail "$dir/conf/readme"
}
readme() {
    local code=0
    docker rm -f app || true
    publish app
    aside from_readme || code=$?
    docker rm -f app
    return $code
}

# Most of the time is Puppet's own start: where there are two cores, half of it.
both_halves() {
    local code=0 first second
    exec 3>&1
    # Where both are ended by a signal, the first one still writes while it stops its lab.
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
    end_shims "$(shims)"
    rm -rf "$dir" || code=1
    exit $code
}

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
surroundings=("PATH=$PATH" "HOME=$dir/home" LANG=C.UTF-8)
mkdir -p "$dir"/{conf/data,bin,modules,home,docker}
ln -s "$module" "$dir/modules/alm_pull"
# As Puppet 8 has them by default; and Debian's Puppet keeps its ssldir wherever the vardir is.
printf '%s\n' '[main]' strict=error strict_variables=true include_legacy_facts=false "ssldir=$dir/ssl" >"$dir/conf/puppet.conf"

try 'static: parser, templates, data' parse
try 'static: puppet-lint' lint
try 'static: documentation (puppet strings)' documented
try 'static: shellcheck' scripts
try 'static: rspec-puppet' specs

"$lab" start "$dir/lab"
# shellcheck source=/dev/null
. "$dir/lab/env"
start_link
(umask 077; cat "$dir/lab/password" >"$dir/token")
for name in init app telemetry; do publish $name; done
cat >"$dir/conf/hiera.yaml" <<'YAML'
---
version: 5
hierarchy:
  - name: "node"
    paths: [above.yaml, node.yaml, images.yaml]
YAML
cat >"$dir/conf/data/images.yaml" <<YAML
---
alm_pull::profile::raspberry_pi::images:
  init: {image: $HUB/init:latest}
  app: {image: $HUB/app:latest, container: app}
  telemetry: {image: $HUB/telemetry:latest, container: telemetry, run_args: [-d, --network, none, --stop-signal, SIGKILL]}
YAML
echo 'include alm_pull::profile::raspberry_pi' >"$dir/conf/site.pp"
node
arguments --network none

try 'a fresh node under --noop: nothing happens' fresh_noop
in_half=${half:-1} # both need it
try 'first run: logs in, pulls, creates all' first_run
in_half=1
try 'the old script gives way, an own alm stays' moved_over
try 'second run: changes nothing' second_run
try '--noop with a new image: pulls nothing' noop_pulls_nothing
try 'new app image: pulls and recreates app alone' newer_app
try 'and then changes nothing' second_run
try 'other arguments: recreates app alone' new_arguments
try 'container removed by hand: healed' removed
try 'container stopped by hand: healed' stopped
try 'engine too slow to tell: fails loudly, recreates nothing' slow_engine
try 'recreate where all is well: does nothing' recreate_asks
try 'an image without a container, replaced: removed' pulled_only
try 'an own tag: it stays, with its image' operators_tag
try "used by another's container: removed when that is gone" used_by_another
try 'another image built on it: kept, and not tried in every run' built_upon
try 'an image that this module did not pull: kept' not_ours
try 'a pull cut off: what it replaced is removed' cut_pull
try 'images that were no good, replaced: removed' failed_and_replaced
try 'versions with tags of their own: the one before is removed' versions
try 'nothing to be removed: nothing is, until it is' kept
try 'registry away, by the state of the check: not pulled, where that would fail' skipped
try 'a login that is refused: pulled, and told' login_is_told
try 'ensure => absent: what is known of it is forgotten, what runs goes on' absent
try 'no digest is known: told with its cure, not pulled in every run' without_digest
try 'registry down: fails loudly, recreates nothing' registry_down
try 'registry down: what is here is started' start_without_registry
try 'registry back: healed' registry_back
try 'one image gone: the others go on' image_gone
try 'create failed once: old one never stopped, healed' create_fails_once
try 'start failed once: old one runs again, healed' start_fails_once
in_half=2
try 'another container in its network, pid, ipc, volumes: recreated after it, in the same run' other_container
try 'made by hand, in whatever way: replaced, or it runs again' made_by_hand
try 'a namespace that is dead: seen and healed' dead_namespace
try 'registry down, two that have stopped, one in the network of the other: both start in one run' both_start
try 'a container that others live in is rolled back: they live on' friend_rolled_back
try 'a network made anew: recreated' other_network
try 'a file that is named has changed: recreated' files_changed
try 'a variable of the environment has changed: recreated' variable_changed
try 'paused and unhealthy: recreated' not_well
try 'a new image that ends, with 0 too: the old one runs, marked' exits_by_itself
try 'a new image that restarts for ever: the old one runs, with its policy' restarts_for_ever
try 'an image for another platform: warned of; what cannot run: rolled back' another_platform
try 'rolled back: tried again after 1, 4, 24 hours, daily, by retry' tried_again
try 'health checks: healthy, never healthy, no grace' health
try 'the first one is no good: it stays, red, until another comes' first_is_bad
try 'the name that a change needs is taken: nothing is touched' foreign
try 'cut off after each step, the engine started again: one runs, the new one' cut_off ''
try 'the same with an image that is no good: one runs, the old one' cut_off "$broken"
try 'the journal lost in between: healed' journal_lost
try 'the journal damaged, empty, of another node: nothing else is touched, healed' journal_damaged
try 'rolled back, and wanted again after the one that runs: tried at once' lifted
try 'a full disk: nothing is touched, or the old one runs again' full_disk
try 'a dead container: told, and healed when the engine can remove it' dead
try "a name that another container's id begins with: that one is left alone" begin_of_id
in_half=1
try 'LANG unset' locale
try 'LANG=C' locale LANG=C
try 'LANG=C.UTF-8' locale LANG=C.UTF-8
try 'LANG set, not generated' locale LANG=de_EE.UTF-8
try "cron's environment" cron
try 'no environment but PATH' no_home
try "a pull longer than the manifest's timeout for all execs" long_pull 4000000 500000
try 'a timeout that is set: pull ended, next run repairs' timeout_set
try 'agent ended in mid-pull (SIGTERM): next run repairs' agent_ended TERM
try 'agent killed in mid-pull (SIGKILL): next run repairs' agent_ended KILL
try 'wrong password: fails loudly, recreates nothing' wrong_password
try 'logged out by hand: healed' logged_out
try 'token file without docker login' token_alone
try "blanks and line ends behind the token: docker's login, the check and the pull read the same" token_with_blanks
try "rotation where the site says dateext, olddir, compress; blanks in the log's path" rotation
try 'no secret in output, reports, logs, arguments, environment' no_secrets
[ -z "${PUPPET8-}" ] || try 'Puppet 8, of Debian trixie' puppet_8
try 'executable from a URL; a wrong checksum is refused' from_url
try 'executable from a package of an archive, upgraded; from a .deb' package_installed
try "the README's lines, from build-rpi.sh to a converged node" readme
[ -z "${SLOW-}" ] || try "a pull longer than Puppet's own 300 seconds" long_pull 31000000 100000 300

echo
printf '%s\n' "${rows[@]}"
echo
echo "$passed passed, $failed failed"
[ $failed = 0 ]
