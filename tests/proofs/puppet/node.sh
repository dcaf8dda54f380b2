# shellcheck shell=bash
# The node of tests/proofs/puppet.sh: its data in Hiera, runs of Puppet, and what a case expects of a run.
# shellcheck disable=SC2154 # variables of tests/proofs/puppet.sh

hiera() {
    cat >"$dir/conf/hiera.yaml" <<'YAML'
---
version: 5
hierarchy:
  - name: "node"
    paths: [override.yaml, node.yaml, images.yaml]
YAML
    cat >"$dir/conf/data/images.yaml" <<YAML
---
alm_pull::profile::raspberry_pi::images:
  init: {image: $HUB/init:latest}
  app: {image: $HUB/app:latest, container: app}
  telemetry: {image: $HUB/telemetry:latest, container: telemetry, run_args: [-d, --network, none, --stop-signal, SIGKILL]}
YAML
}

# Writes the node's level of Hiera: the lines of a case, then the usual ones.
node() { # [KEY: VALUE]...
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

# Sets the run_args of app, in the level of Hiera above the node's.
arguments() { # WORD...
    printf -- '---\nalm_pull::profile::raspberry_pi::images: {app: {image: %s, container: app, run_args: [%s]}}\n' \
        "$HUB/app:latest" "$(printf "'%s', " --stop-signal SIGKILL "$@")" >"$dir/conf/data/override.yaml"
}

# Sets images of the profile, in the level of Hiera above the node's.
profile_images() { # LINE...
    printf -- '---\nalm_pull::profile::raspberry_pi::images:\n' >"$dir/conf/data/override.yaml"
    printf '  %s\n' "$@" >>"$dir/conf/data/override.yaml"
}

# Sets the entry of app, beside its image and container.
app_with() { # KEY: VALUE...
    profile_images "app: {image: $HUB/app:latest, container: app, $(printf '%s, ' "$@")}"
}

sigkill='--stop-signal, SIGKILL'
default_app() { app_with "run_args: [$sigkill, --network, none]"; }

# A run of Puppet; its output is in $dir/out.
run_puppet() { # ARGUMENT...
    env -i "${environment[@]}" "${PUPPET:-puppet}" apply --confdir "$dir/conf" --vardir "$dir/var" --logdir "$dir/puppetlog" \
        --rundir "$dir/run" --publicdir "$dir/public" --modulepath "$dir/modules" --color false \
        --detailed-exitcodes "$@" "$dir/conf/site.pp" >"$dir/out" 2>&1
}

apply() { # EXIT-CODE ARGUMENT...
    local code=0
    run_puppet "${@:2}" || code=$?
    sed -Ei '/^(Error|Warning): Facter: /d' "$dir/out" # Facter may not read some facts in a sandbox
    cat "$dir/out"
    [ $code = "$1" ] || { echo "exit $code instead of $1"; return 1; }
}

executed() { sed -nE 's/.*Exec\[(.*)\]\/returns: executed successfully.*/\1/p' "$dir/out" | tr '\n' ' '; }

# Checks that these commands and no others were executed.
executed_only() { # TITLE...
    local all=
    [ $# = 0 ] || all=$(printf '%s ' "$@")
    [ "$(executed)" = "$all" ] || { echo "executed: $(executed); expected: $all"; return 1; }
}

output_has() { grep -qE -- "$1" "$dir/out" || { echo "not in the output: $1"; return 1; }; }

# shellcheck disable=SC2251 # a function returns the code of its last command
fails() { ! "$@"; }

output_lacks() { fails grep -E -- "$1" "$dir/out"; }

# A run that changes nothing and warns of nothing.
changes_nothing() { apply 0; output_lacks '^Notice: /Stage'; output_lacks '^(Error|Warning):'; }

is_unchanged() { # ENGINE-STATE
    [ "$(engine_state)" = "$1" ] || { echo "was: $1"; echo "is: $(engine_state)"; return 1; }
}

image_helper() { DOCKER_HOST=unix://$ENGINE_SOCKET "$dir/libexec/image" "$@"; }

helper() { DOCKER_HOST=unix://$ENGINE_SOCKET DOCKER_CONFIG=$dir/docker PATH=$dir/interrupt:$PATH "$dir/libexec/$1" "${@:2}"; }

container_status() { sed -E 's/.*"status":"([^"]*)".*/\1/' "$dir/state/container/${1-app}.json"; }

has_status() { [ "$(container_status app)" = "$1" ] || { echo "status: $(cat "$dir/state/container/app.json")"; return 1; }; }

running_ids() { docker ps --no-trunc -q --filter "name=^/$1"; }

runs_unrestarted() { [ "$(docker container inspect -f '{{.State.Status}} {{.RestartCount}} {{.Id}}' app)" = "running 0 $1" ]; }

namespace() { readlink "/proc/$(docker container inspect -f '{{.State.Pid}}' "$1")/ns/net"; }

# A pull without Puppet, of which the module has no record.
pull_by_hand() { # NAME
    "$PULL" --no-log --progress quiet --host "unix://$ENGINE_SOCKET" --token-file "$dir/token" --token-user fleet "$HUB/$1:latest"
}

local_id() { docker image inspect -f '{{.Id}}' "$1"; }

record_of() { echo "$dir/state/image/$(sed 's/:/%3A/g; s,/,%2F,g' <<<"$HUB/$1:latest")"; }
