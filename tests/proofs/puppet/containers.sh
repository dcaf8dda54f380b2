# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: when a container is recreated.
# shellcheck disable=SC2154 # variables of tests/proofs/puppet.sh

app_beside_friend() { # OPTION...: app with these, beside a container friend
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
        # By hand, and made anew by the same run: the words are the same, and the container is another.
        docker rm -f friend
        apply 2
        executed_only 'docker-recreate friend' 'docker-recreate app'
        changes_nothing
    done
    # With other arguments, in the same run.
    app_beside_friend '--network, "container:friend"'
    apply 2
    friend=', --env, a=b' app_beside_friend '--network, "container:friend"'
    apply 2
    executed_only 'docker-recreate friend' 'docker-recreate app'
    [ "$(namespace app)" = "$(namespace friend)" ]
    changes_nothing
}

made_by_hand() { # with options that this module refuses: replaced once, whatever it was made with
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
        # And where the new one failed its trial: what was there before runs again, or nothing can.
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
    # The same container, with a network of its own that is another now.
    docker restart friend
    [ "$(namespace app)" != "$(namespace friend)" ]
    apply 2
    [ "$(namespace app)" = "$(namespace friend)" ]
    changes_nothing
    # One that does not run is no reason to stop what runs; nothing can be reached in there, and that is told.
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

owner_rolled_back() { # who lives in its network goes on living there
    app_beside_friend '--network, "container:friend"'
    apply 2
    local app
    app=$(container app)
    publish telemetry 1000 "$broken_command"
    apply 6
    output_has 'docker-recreate app\]: Skipping because of failed dependencies'
    [ "$(container app)" = "$app" ]
    [ "$(namespace app)" = "$(namespace friend)" ]
    # Both new, the other one good and this one not: the old image runs, where it can run now.
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
    # Written by the same run: seen by it.
    echo "file { '$dir/files/env': content => 'a=3' }" >>"$dir/conf/site.pp"
    apply 2
    executed_only 'docker-recreate app'
    docker container inspect -f '{{.Config.Env}}' app | grep 'a=3'
    changes_nothing
    sed -i '$d' "$dir/conf/site.pp"
    # No secret is in a label.
    fails grep -r 'a=3' "$dir/state"
    docker container inspect -f '{{json .Config.Labels}}' app >"$dir/labels"
    fails grep 'a=3' "$dir/labels"
    default_app
    apply 2
}

variable_changed() { # `--env NAME` and a line without value in a file have theirs from the environment of the run
    mkdir -p "$dir/files"
    # As editors of other systems write it; docker reads it all the same.
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
    # One that is gone is another value, too.
    node 'alm_pull::environment: [FIRST=b]'
    apply 2
    executed_only 'docker-recreate app'
    docker container inspect -f '{{.Config.Env}}' app | fails grep SECOND
    changes_nothing
    node
    default_app
    apply 2
}

paused_or_unhealthy() { # what the engine calls running
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
