# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: the trial of a new container, and the rollback.
# shellcheck disable=SC2154 # variables of tests/proofs/puppet.sh

# A new image that fails its trial: all that must hold in this run and in the next.
bad_image() { # COMMAND REASON
    local before old
    before=$(container app) old=$(docker container inspect -f '{{.Image}}' app)
    publish app 1000 "$1"
    apply 6
    executed_only "docker-pull $HUB/app:latest"
    cp "$dir/out" "$dir/first"
    output_has "container app: $HUB/app:latest failed its trial: ($2)"
    [[ $1 == */content* ]] || output_has 'its log: (I am broken|done)'
    output_has 'the old container runs again'
    runs_unrestarted "$before"
    [ "$(docker container inspect -f '{{.HostConfig.RestartPolicy.Name}}' app)" = "${with_policy:-no}" ]
    has_status 'Rolled back'
    [ "$(stat -c %a "$dir"/state/container/{app.json,.app.journal} | xargs)" = '644 600' ]
    no_leftovers
    [ -n "$(docker image inspect -f '{{.Id}}' "$old")" ]
    # The next run does not try it again: it prints one line and changes nothing.
    local state
    state=$(engine_state)
    apply 4
    executed_only
    output_has "container app: $HUB/app:latest was rolled back and is tried again after 2"
    [ "$(grep -c 'returns: container app' "$dir/out")" = 1 ]
    is_unchanged "$state"
    runs_unrestarted "$before"
}

exits_by_itself() {
    default_app
    apply 2 || changes_nothing
    bad_image "$ending_command" 'it ended with exit code 0'
    bad_image "$broken_command" 'it ended with exit code 3'
    publish app
    apply 2
    runs app
    has_status Running
    changes_nothing
}

restarts_for_ever() {
    app_with "run_args: [$sigkill, --network, none, --restart, always]"
    apply 2
    with_policy=always bad_image "$broken_command" 'it (was restarted|ended)'
    # Other arguments are tried at once.
    app_with "run_args: [$sigkill, --network, none, --restart, always]" 'command: [/bin/busybox, sleep, "100000"]'
    apply 2
    executed_only 'docker-recreate app'
    changes_nothing
    # The first arguments are tried at once, too, because others were tried in between.
    app_with "run_args: [$sigkill, --network, none, --restart, always]"
    apply 4
    output_has 'failed its trial'
    publish app
    apply 2
    changes_nothing
    default_app
    apply 2
}

# Moves the time of the rollback into the past.
age_mark() { # SECONDS
    local marked
    marked=$(sed -n 's/^marked //p' "$dir/state/container/.app.journal")
    sed -i "s/^marked .*/marked $((marked - $1))/" "$dir/state/container/.app.journal"
}

is_on_hold() { apply 4; output_has 'was rolled back and is tried again'; output_lacks 'failed its trial'; }

is_tried_again() { apply 4; output_has 'failed its trial'; }

tried_again() {
    bad_image "$broken_command" 'it ended with exit code 3'
    local hours
    for hours in 1 4 24 24; do
        age_mark $((hours * 3600 - 300))
        is_on_hold
        age_mark 300
        is_tried_again
    done
    is_on_hold
    "$dir/libexec/container" retry --state "$dir/state" app
    is_tried_again
    is_on_hold
    # A mark in the future: the clock was wrong, so the mark does not count.
    age_mark -200000
    is_tried_again
    publish app
    apply 2
    changes_nothing
}

health_checks() {
    node 'alm_pull::grace_limit: 4'
    # Healthy later than after the grace.
    local health="--health-interval, 1s, --health-retries, '1000', --health-cmd"
    app_with "run_args: [$sigkill, --network, none, $health, '/bin/busybox test -e /ready']" \
        'command: [/bin/busybox, sh, -c, "sleep 2; echo >/ready; sleep 100000"]'
    apply 2
    [ "$(docker container inspect -f '{{.State.Health.Status}}' app)" = healthy ]
    changes_nothing
    # Unhealthy first, and healthy later.
    node 'alm_pull::grace_limit: 20'
    app_with "run_args: [$sigkill, --network, none, --health-interval, 1s, --health-retries, '1', --health-cmd, '/bin/busybox test -e /ready']" \
        'command: [/bin/busybox, sh, -c, "sleep 4; echo >/ready; sleep 100000"]'
    apply 2
    [ "$(docker container inspect -f '{{.State.Health.Status}}' app)" = healthy ]
    changes_nothing
    # Not within the limit.
    node 'alm_pull::grace_limit: 4'
    app_with "run_args: [$sigkill, --network, none, $health, '/bin/busybox false']"
    apply 4
    output_has 'it is not healthy after 4 seconds'
    # Without a trial. A rolled back image would still be on hold; retry ends that.
    "$dir/libexec/container" retry --state "$dir/state" app
    app_with "run_args: [$sigkill, --network, none, $health, '/bin/busybox false']" 'grace: 0'
    apply 2
    executed_only 'docker-recreate app'
    changes_nothing
    node
    default_app
    apply 2
}

# Without an old container the new one stays: its restart policy may start it successfully later.
first_fails() {
    docker rm -f app
    publish app 1000 "$broken_command"
    app_with "run_args: [$sigkill, --network, none, --restart, always]"
    apply 6
    output_has 'failed its trial'
    has_status Failed
    [ -n "$(container app)" ]
    apply 4
    output_has 'was rolled back and is tried again'
    publish app
    default_app
    apply 2
    changes_nothing
}

name_taken() {
    docker create --name app.old --network none "$HUB/telemetry:latest"
    local before
    before=$(container app)
    app_with "run_args: [$sigkill, --network, none, --env, a=b]"
    apply 4
    output_has 'not touched: the name app.old is needed'
    runs_unrestarted "$before"
    docker rm app.old
    default_app
    changes_nothing
}

another_platform() {
    local other=arm64
    [ "$architecture" != arm64 ] || other=arm
    other_architecture=$other publish app
    apply 2
    executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
    output_has "warning: $HUB/app:latest is for linux/$other, and this device is linux/"
    runs app
    changes_nothing
    output_lacks 'warning:'
    # An image that cannot run here fails the trial.
    bad_image '["/content"]' '.*[Ee]xec format error|it ended with exit code'
    grep -qi 'exec format error' "$dir/first"
    publish app
    apply 2
    output_lacks 'warning:'
    changes_nothing
}
