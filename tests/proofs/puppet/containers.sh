# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: when a container is recreated.
# shellcheck disable=SC2154 # variables of tests/proofs/puppet.sh

# Sets app with run_args that refer to another container of the profile, `friend`.
app_beside_friend() { # RUN-ARGS
    profile_images "friend: {image: $HUB/telemetry:latest, container: friend, run_args: [$sigkill, --network, none, --ipc, shareable${friend-}]}" \
        "app: {image: $HUB/app:latest, container: app, run_args: [$sigkill, $1]}"
}

other_container() {
    local option
    for option in '--network=container:friend' '--network, none, --pid, "container:friend"' \
        '--network, none, --ipc, "container:friend", --volumes-from, "friend:ro"'; do
        app_beside_friend "$option"
        apply 2
        changes_nothing
        # The arguments stay the same, but `friend` is another container afterwards.
        docker rm -f friend
        apply 2
        executed_only 'docker-recreate friend' 'docker-recreate app'
        changes_nothing
    done
    # Other arguments of `friend`: the same run recreates both.
    app_beside_friend '--network, "container:friend"'
    apply 2
    friend=', --env, a=b' app_beside_friend '--network, "container:friend"'
    apply 2
    executed_only 'docker-recreate friend' 'docker-recreate app'
    [ "$(namespace app)" = "$(namespace friend)" ]
    changes_nothing
}

# Also containers with options that this module refuses are replaced.
made_by_hand() {
    local options
    for options in --rm '--restart on-failure:3' '--pid host'; do
        docker rm -f app
        # shellcheck disable=SC2086 # words without blanks
        docker run -d --name app --network none --stop-signal SIGKILL $options "$HUB/telemetry:latest"
        [[ $options != *pid* ]] || docker pause app
        apply 2
        executed_only 'docker-recreate app'
        runs app
        no_leftovers
        changes_nothing
        # If the new one fails its trial, the old one runs again, except with --rm: then docker has removed it.
        docker rm -f app
        # shellcheck disable=SC2086
        docker run -d --name app --network none --stop-signal SIGKILL $options "$HUB/telemetry:latest"
        app_with "run_args: [$sigkill, --network, none, --env, 'a=$options', --entrypoint, /missing]"
        apply 4
        output_has 'failed its trial'
        no_leftovers
        [[ $options == *--rm* ]] || [ "$(docker container inspect -f '{{.State.Running}} {{.Image}}' app)" = "true $(image telemetry)" ]
        default_app
        apply 2
        runs app
        changes_nothing
    done
}

dead_namespace() {
    app_beside_friend '--network, "container:friend"'
    apply 2
    # `friend` is still the same container, but has a new network namespace.
    docker restart friend
    [ "$(namespace app)" != "$(namespace friend)" ]
    apply 2
    [ "$(namespace app)" = "$(namespace friend)" ]
    changes_nothing
    # If `friend` does not run, a new app could not start, so the old one is not stopped. The run reports it.
    docker stop friend
    local before
    before=$(container app)
    app_with "run_args: [$sigkill, --network, 'container:friend', --env, a=b]"
    apply 4
    output_has 'container app: not touched: container friend, whose network it uses, does not run'
    runs_unrestarted "$before"
    docker start friend
    apply 2
    changes_nothing
}

both_start() {
    profile_images "app: {image: $HUB/app:latest, container: app, run_args: [$sigkill, --network, 'container:friend']}" \
        "friend: {image: $HUB/telemetry:latest, container: friend, run_args: [$sigkill, --network, none]}"
    apply 2 || changes_nothing
    changes_nothing
    publish app
    node 'alm_pull::when_unknown: pull'
    docker stop app friend
    link down
    apply 6
    output_has 'PULL FAILED'
    executed_only 'docker-start friend' 'docker-start app'
    [ "$(namespace app)" = "$(namespace friend)" ]
    link up
    node
    apply 2
    runs app
    docker rm -f friend
    default_app
    apply 2
    changes_nothing
}

owner_rolled_back() {
    app_beside_friend '--network, "container:friend"'
    apply 2
    local app
    app=$(container app)
    publish telemetry 1000 "$broken_command"
    apply 6
    output_has 'docker-recreate app\]: Skipping because of failed dependencies'
    [ "$(container app)" = "$app" ]
    [ "$(namespace app)" = "$(namespace friend)" ]
    # Both images are new, and that of app fails: app's old container cannot start in a namespace that is gone, so its old image
    # gets a new container.
    publish telemetry
    publish app 1000 "$broken_command"
    app=$(docker container inspect -f '{{.Image}}' app)
    apply 6
    output_has "container app: $HUB/app:latest failed its trial"
    [ "$(docker container inspect -f '{{.Image}} {{.State.Status}}' app)" = "$app running" ]
    [ "$(namespace app)" = "$(namespace friend)" ]
    no_leftovers
    apply 4
    publish app
    default_app
    apply 2
    docker rm -f friend
    changes_nothing
}

other_network() {
    docker network create site
    app_with "run_args: [$sigkill, --network, site]"
    apply 2
    changes_nothing
    docker network disconnect -f site app
    docker network rm site
    docker network create site
    apply 2
    executed_only 'docker-recreate app'
    changes_nothing
    default_app
    apply 2
    docker network rm site
}

files_changed() {
    local file
    mkdir -p "$dir/conf.d"
    for file in env label on/one; do mkdir -p "$dir/files/on"; echo 'a=1' >"$dir/files/$file"; done
    app_with "run_args: [$sigkill, --network, none, --env-file, $dir/files/env, --label-file=$dir/files/label]" \
        "restart_on: [$dir/files/on, $dir/files/missing]"
    apply 2
    changes_nothing
    for file in env label on/one on/two missing; do
        echo 'a=2' >"$dir/files/$file"
        apply 2
        executed_only 'docker-recreate app'
        changes_nothing
    done
    docker container inspect -f '{{.Config.Env}} {{.Config.Labels}}' app | grep 'a=2.*a:2'
    rm "$dir/files/on/two"
    apply 2
    executed_only 'docker-recreate app'
    # A `file` resource of the same run comes before the container.
    echo "file { '$dir/files/env': content => 'a=3' }" >>"$dir/conf/site.pp"
    apply 2
    executed_only 'docker-recreate app'
    docker container inspect -f '{{.Config.Env}}' app | grep 'a=3'
    changes_nothing
    sed -i '$d' "$dir/conf/site.pp"
    # The contents are in no label.
    fails grep -r 'a=3' "$dir/state"
    docker container inspect -f '{{json .Config.Labels}}' app >"$dir/labels"
    fails grep 'a=3' "$dir/labels"
    default_app
    apply 2
}

# `--env NAME`, and a line without a value in the file of --env-file, take the value from the environment of the run.
variable_changed() {
    mkdir -p "$dir/files"
    # As editors of other systems write it: docker accepts this.
    printf '\357\273\277# secrets\r\nother=1\r\n  SECOND\r\n' >"$dir/files/env"
    app_with "run_args: [$sigkill, --network, none, --env, FIRST, --env-file, $dir/files/env]"
    local first second
    for pair in 'a a' 'b a' 'b b'; do
        read -r first second <<<"$pair"
        node "alm_pull::environment: [FIRST=$first, SECOND=$second]"
        apply 2
        executed_only 'docker-recreate app'
        docker container inspect -f '{{.Config.Env}}' app | grep "FIRST=$first" | grep "SECOND=$second"
        changes_nothing
    done
    # Unset is another value, too.
    node 'alm_pull::environment: [FIRST=b]'
    apply 2
    executed_only 'docker-recreate app'
    docker container inspect -f '{{.Config.Env}}' app | fails grep SECOND
    changes_nothing
    node
    default_app
    apply 2
}

# Its state is there as long as the container is.
renamed() {
    profile_images "app: {image: $HUB/app:latest, container: other, run_args: [$sigkill, --network, none]}"
    apply 2
    executed_only 'docker-recreate other'
    has_status Running
    docker rm -f app
    changes_nothing
    [ "$(cd "$dir/state/container" && echo *)" = 'other.json telemetry.json' ]
    docker rm -f other
    default_app
    apply 2
    executed_only 'docker-recreate app'
    changes_nothing
    [ "$(cd "$dir/state/container" && echo *)" = 'app.json telemetry.json' ]
}

# The engine calls both of them running.
paused_or_unhealthy() {
    docker pause app
    apply 2
    executed_only 'docker-recreate app'
    changes_nothing
    app_with "run_args: [$sigkill, --network, none, --health-cmd, '/bin/busybox test ! -e /ill', --health-interval, 1s, --health-retries, '1']"
    apply 2
    changes_nothing
    docker exec app /bin/busybox touch /ill
    for _ in {1..50}; do [ "$(docker container inspect -f '{{.State.Health.Status}}' app)" != unhealthy ] || break; sleep 0.2; done
    apply 2
    executed_only 'docker-recreate app'
    changes_nothing
    default_app
    apply 2
}
