# shellcheck shell=bash
# The lab of tests/proofs/puppet.sh: the link between engine and registry, the images in the registry, what the engine has.
# shellcheck disable=SC2154,SC2034 # variables of tests/proofs/puppet.sh

# Starts the link between engine and registry, and sets $HUB to its address.
start_link() {
    coproc LINK { exec "$lab_link" "127.0.0.1:${PRIVATE_REGISTRY##*:}"; }
    # Bash closes the descriptors of a coprocess in subshells, and each case runs in one.
    exec 7>&"${LINK[1]}" 8<&"${LINK[0]}"
    read -r HUB <&8 || die 'tests/lab/link.py does not start'
}

link() { # COMMAND...: see tests/lab/link.py
    local answer
    echo "$*" >&7
    read -r answer <&8 && [ "$answer" = ok ]
}

rate() { link rate "$1"; } # BYTES-PER-SECOND; 0: no limit

# The shims of the containers of this lab's engine. They outlive an engine that is killed, and the next engine does not know them.
list_shims() {
    local process
    for process in /proc/[0-9]*; do
        # The kernel cuts the name of a process after 15 bytes.
        [ "$(cat "$process/comm" 2>/dev/null)" = containerd-shim ] || continue
        ! tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -qF " $dir/lab/exec/" || echo "${process#/proc/}"
    done
}

kill_shims() { # PIDS
    local pid now
    now=" $(list_shims | tr '\n' ' ')"
    for pid in $1; do [[ $now != *" $pid "* ]] || kill -KILL "$pid"; done
}

docker() { env -i PATH="$PATH" DOCKER_CONFIG="$dir/lab/config" docker -H "unix://$ENGINE_SOCKET" "$@"; }

# Pushes a new image NAME:latest to the registry, and removes it from the engine.
publish() { # NAME [BYTES [COMMAND]]
    mkdir -p "$dir/image/bin"
    cp /bin/busybox "$dir/image/bin/"
    ln -f "$dir/image/bin/busybox" "$dir/image/bin/sh" # for health checks
    head -c "${2:-1000}" /dev/urandom >"$dir/image/content"
    chmod 755 "$dir/image/content"
    tar -C "$dir/image" -c . | docker import --change "CMD ${3:-$sleep_command}" - "$REGISTRY/$1:latest" >/dev/null
    [ -z "${other_architecture-}" ] || set_architecture "$REGISTRY/$1:latest" "$other_architecture"
    docker push -q "$REGISTRY/$1:latest" >/dev/null
    docker image inspect -f '{{.Id}}' "$REGISTRY/$1:latest" >"$dir/published-$1"
    docker rmi "$REGISTRY/$1:latest" >/dev/null
}

# Sets the architecture that an image claims: not all engines do so for `docker import --platform`.
set_architecture() { # IMAGE ARCHITECTURE
    local saved=$dir/saved
    mkdir "$saved"
    docker save "$1" | tar -x -C "$saved"
    docker rmi "$1" >/dev/null
    find "$saved" -maxdepth 1 -name '*.json' -exec sed -i "s/\"architecture\":\"[a-z0-9]*\"/\"architecture\":\"$2\"/" {} +
    tar -c -C "$saved" . | docker load >/dev/null
    rm -r "$saved"
}

sleep_command='["/bin/busybox","sleep","100000"]'
broken_command='["/bin/busybox","sh","-c","echo I am broken >&2; exit 3"]'
ending_command='["/bin/busybox","sh","-c","echo done"]'

# The id, or nothing if there is none.
image() { docker images --no-trunc -q "$HUB/$1:latest"; }

container() { docker ps -a --no-trunc -q --filter "name=^/$1\$"; }

runs() { [ "$(docker container inspect -f '{{.State.Running}} {{.Image}}' "$1")" = "true $(cat "$dir/published-$1")" ]; }

engine_state() { docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort; docker images -a --no-trunc -q | sort; }

no_leftovers() { [ -z "$(docker ps -a -q --filter name='\.(new|old)$')" ]; }
