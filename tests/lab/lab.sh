#!/bin/bash
# A private Docker Engine with two registries on loopback, for the tests and the demo:
#   tests/lab/lab.sh install [PACKAGE...]   install docker.io, docker-registry, apache2-utils and these, if they are missing
#   tests/lab/lab.sh start DIR [FROM]       start them in DIR (new or empty), push the images, write DIR/env; with FROM only the
#                                           registries, with a copy of the content of the lab FROM
#   tests/lab/lab.sh image DIR NAME SIZE..  push an image to the open registry, with a layer of random bytes for each SIZE
#                                           (5K, 20M)
#   tests/lab/lab.sh kill DIR NAME          send SIGKILL to NAME: engine, registry or private
#   tests/lab/lab.sh revive DIR NAME        start it again at the same address
#   tests/lab/lab.sh stop DIR               stop them, empty DIR, and remove it if start created it
# Other engines and registries of the machine are not affected, and several labs may run at the same time.
set -euo pipefail

die() { echo "lab.sh: $*" >&2 && exit 1; }

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2 9>&-
}

install() {
    exec 9>>/run/docker-pull-lab.lock
    flock 9
    local missing=() policy=/usr/sbin/policy-rc.d mark='# temporary, of tests/lab/lab.sh'
    command -v dockerd >/dev/null || missing+=(docker.io)
    command -v docker-registry >/dev/null || missing+=(docker-registry)
    command -v htpasswd >/dev/null || missing+=(apache2-utils)
    for package in "$@"; do
        [ "$(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    # This file keeps packages from starting services. One with our mark was left by a run that was killed.
    if [ ! -e $policy ] || grep -qsxF "$mark" $policy; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >$policy
        chmod 755 $policy
    fi
    set -- install --no-install-recommends "${missing[@]}"
    echo "lab.sh: apt-get $*"
    apt_get "$@" 2>/dev/null || { apt_get update && apt_get "$@"; } || die "cannot install ${missing[*]}"
    command -v docker >/dev/null || apt_get install --no-install-recommends docker-cli # Debian 13
}

# Prints when a process started, which identifies it together with its pid; nothing if it has ended.
born() { awk '$3 != "Z" { print $22 }' "/proc/$1/stat" 2>/dev/null || true; }

launch() { # NAME COMMAND...
    # In its own session, so that Ctrl-C reaches only the caller, who then stops the lab in order.
    setsid env -i PATH="$PATH" "${@:2}" </dev/null >"$dir/$1.log" 2>&1 &
    echo "$! $(born $!)" >"$dir/$1.pid"
}

running() { # NAME; sets $pid
    local start
    read -r pid start 2>/dev/null <"$dir/$1.pid" && [ -n "$start" ] && [ "$(born "$pid")" = "$start" ]
}

await() { # NAME COMMAND...: waits until COMMAND succeeds, at most 30 seconds
    local end=$((SECONDS + 30))
    until "${@:2}"; do running "$1" && [ $SECONDS -lt $end ] && sleep 0.1 || return 1; done
}

halt() { # NAME
    for signal in TERM KILL; do
        ! running "$1" || kill -s $signal "$pid" || true
        for _ in {1..150}; do running "$1" || return 0; sleep 0.1; done
    done
    die "$1 (pid $pid) does not end"
}

lab_docker() {
    env -i PATH="$PATH" HOME="$dir" DOCKER_CONFIG="$dir/config" DOCKER_BUILDKIT=0 \
        docker -H "unix://$dir/docker.sock" "$@"
}

answers() { lab_docker version </dev/null >/dev/null 2>&1; } # its first request is GET /_ping

engine() { # STORAGE-DRIVER
    echo "$1" >"$dir/driver"
    # The engine's mounts disappear with its mount namespace. In there /run, /opt and /etc/docker are empty, so that it does not
    # use the system's containerd, daemon.json and key.json. On a machine without init the cgroups may not be mounted.
    # shellcheck disable=SC2016
    launch engine unshare --mount --propagation slave sh -ec '
        for d in /run /opt /etc/docker; do mkdir -p $d; mount -t tmpfs lab $d; done
        mountpoint -q /sys/fs/cgroup || mount -t cgroup2 lab /sys/fs/cgroup
        exec dockerd "$@"' sh -H "unix://$dir/docker.sock" --data-root "$dir/data" --exec-root "$dir/exec" \
        --pidfile "$dir/docker.pid" -s "$1" --bridge=none --iptables=false --ip-forward=false
    await engine answers
}

registry() { # NAME [CONFIG-LINE]; the kernel chooses a free port
    printf '%s\n' 'version: 0.1' "storage: {filesystem: {rootdirectory: $dir/store}}" \
        'http: {addr: "127.0.0.1:0", secret: lab}' "${@:2}" >"$dir/$1.yml"
    serve "$1"
}

serve() { # NAME; sets $address
    launch "$1" docker-registry serve "$dir/$1.yml"
    await "$1" grep -qs 'listening on' "$dir/$1.log"
    address=$(grep -om1 '127\.0\.0\.1:[1-9][0-9]*' "$dir/$1.log")
}

random() { head -c "$1" /dev/urandom; }

push() { # IMAGE:TAG FILE...: one layer for each file, from the current directory
    printf 'FROM scratch\n' >Dockerfile
    printf 'COPY %s /\n' "${@:2}" >>Dockerfile
    tar -c Dockerfile "${@:2}" | lab_docker build -q -t "$address/$1" -
    lab_docker push -q "$address/$1"
}

images() {
    mkdir "$dir/build"
    cd "$dir/build"
    random 5K >tiny; tar -c tiny | lab_docker import - "$address/tiny:latest"
    lab_docker push -q "$address/tiny:latest"
    random 1M >a; random 3M >b; random 6M >c; random 2M >d
    push three:latest a b c
    push three:v2 a b d
    for n in {1..8}; do random $((n * 370))K >"$n"; done
    push eight:latest {1..8}
    truncate -s 64M y; truncate -s 65M z # small to download, slow to extract
    push zeros:latest y z
    rm -r "$dir/build"
    lab_docker image prune -af # so that every pull downloads everything
}

image() { # NAME:TAG SIZE...
    local sizes=("${@:2}")
    mkdir "$dir/build"
    cd "$dir/build"
    for n in "${!sizes[@]}"; do random "${sizes[n]}" >"layer$n"; done
    address=$(sed -n 's/^REGISTRY=//p' "$dir/env")
    push "$1" layer*
    rm -r "$dir/build"
    lab_docker image prune -af
}

start() {
    # dockerd's own sockets are below DIR, and the path of a socket can have only 107 bytes.
    [[ $dir =~ ^/[A-Za-z0-9._/-]{1,60}$ ]] || die "DIR has to be short and plain: $dir"
    [[ $dir/ != @(/run|/opt|/etc/docker)/* ]] || die "DIR cannot be below /run, /opt or /etc/docker: $dir"
    [ -z "$(ls -A "$dir" 2>/dev/null)" ] || die "$dir is not empty"
    made=given log='' # not local: the trap needs them
    [ -d "$dir" ] || made=made
    trap 'echo "lab.sh: start failed" >&2; [ -z "$log" ] || tail -n 20 "$log" >&2; stop' EXIT
    mkdir -p "$dir/config"
    echo $made >"$dir/.lab"
    if [ -n "$from" ]; then
        cp -a "$from/password" "$from/htpasswd" "$from/store" "$dir"
    else
        (umask 077 && random 12 | od -An -tx1 | tr -d ' \n' >"$dir/password")
        htpasswd -niB fleet <"$dir/password" >"$dir/htpasswd"
    fi
    log=$dir/private.log; registry private "auth: {htpasswd: {realm: lab, path: $dir/htpasswd}}"; private=$address
    log=$dir/registry.log; registry registry
    printf '%s\n' "REGISTRY=$address" "PRIVATE_REGISTRY=$private" >"$dir/env"
    if [ -z "$from" ]; then
        log=$dir/engine.log; engine overlay2 || { ! running engine && grep -q overlay2 "$log" && engine vfs; } || exit 1
        log=$dir/images.log; (images) >"$log" 2>&1
        running engine
        printf '%s\n' "ENGINE_SOCKET=$dir/docker.sock" "ENGINE_PID=$pid" >>"$dir/env"
    fi
    trap - EXIT
}

name() { [[ -s $dir/.lab && $1 == @(engine|registry|private) ]] || die "no lab in $dir, or no $1 in it"; }

end() { # NAME
    name "$1" kill
    running "$1" || die "$1 is not running"
    kill -s KILL "$pid"
    halt "$1"
}

revive() { # NAME
    name "$1" revive
    ! running "$1" || die "$1 is running"
    case $1 in
        engine)
            # If pid 1 does not reap, the pids in these files look alive; its containerd died with the engine.
            rm -f "$dir/docker.pid" "$dir/exec/containerd/containerd.pid"
            engine "$(cat "$dir/driver")" || { tail -n 20 "$dir/engine.log" >&2 && die 'the engine does not start'; }
            running engine
            sed -i "s/^ENGINE_PID=.*/ENGINE_PID=$pid/" "$dir/env" ;;
        *)
            # On the same port as before.
            address=$(grep -om1 '127\.0\.0\.1:[1-9][0-9]*' "$dir/$1.log")
            sed -i "s/127\.0\.0\.1:0/$address/" "$dir/$1.yml"
            serve "$1" || { tail -n 20 "$dir/$1.log" >&2 && die "$1 does not start"; } ;;
    esac
}

stop() {
    read -r made 2>/dev/null <"$dir/.lab" || return 0
    for name in engine registry private; do halt $name; done
    find "$dir" -xdev -mindepth 1 ! -path "$dir/.lab" -delete
    rm "$dir/.lab"
    [ "$made" = given ] || rmdir "$dir"
}

PATH=$PATH:/usr/sbin:/sbin
trap 'exit 130' INT; trap 'exit 143' TERM
given=$*
case "${1-} $#" in
    install\ *) set -- install "${@:2}" ;;
    'start 2' | 'start 3' | 'stop 2')
        dir=$(realpath -m -- "$2")
        from=${3:+$(realpath -- "$3")}
        [ -z "$from" ] || [ -s "$from/.lab" ] || die "no lab: $from"
        set -- "$1" ;;
    image\ [3-9] | image\ [1-9][0-9])
        dir=$(realpath -m -- "$2")
        [ -s "$dir/env" ] || die "no lab runs in $dir"
        set -- image "${@:3}" ;;
    'kill 3') dir=$(realpath -m -- "$2"); set -- end "$3" ;;
    'revive 3') dir=$(realpath -m -- "$2"); set -- revive "$3" ;;
    *) sed -n 's/^#   //p' "$0" >&2 && exit 2 ;;
esac
[ "$(id -u)" = 0 ] || die "needs root: sudo tests/lab/lab.sh $given"
"$@"
