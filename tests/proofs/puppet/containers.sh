# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: what a container is, and what becomes of one that is no good.
# shellcheck disable=SC2154 # of tests/proofs/puppet.sh

broken='["/bin/busybox","sh","-c","echo I am broken >&2; exit 3"]'
ends='["/bin/busybox","sh","-c","echo done"]'

above() { # LINE...: images of the profile in a level of Hiera of its own
    printf -- '---\nalm_pull::profile::raspberry_pi::images:\n' >"$dir/conf/data/above.yaml"
    printf '  %s\n' "$@" >>"$dir/conf/data/above.yaml"
}
app_with() { # KEY: VALUE..., beside image and container
    above "app: {image: $HUB/app:latest, container: app, $(printf '%s, ' "$@")}"
}
kills='--stop-signal, SIGKILL'
plain_app() { app_with "run_args: [$kills, --network, none]"; }

status() { sed -E 's/.*"status":"([^"]*)".*/\1/' "$dir/state/container/${1-app}.json"; }
told_status() { [ "$(status app)" = "$1" ] || { echo "status: $(cat "$dir/state/container/app.json")"; return 1; }; }
running() { docker ps --no-trunc -q --filter "name=^/$1"; }
well() { [ "$(docker container inspect -f '{{.State.Status}} {{.RestartCount}} {{.Id}}' app)" = "running 0 $1" ]; }

# == What a container is ==

friends() { # OPTION...: app with these, beside a container friend
    above "friend: {image: $HUB/telemetry:latest, container: friend, run_args: [$kills, --network, none, --ipc, shareable${friend-}]}" \
        "app: {image: $HUB/app:latest, container: app, run_args: [$kills, $1]}"
}

other_container() {
    local option
    for option in '--network=container:friend' '--network, none, --pid, "container:friend"' \
        '--network, none, --ipc, "container:friend", --volumes-from, "friend:ro"'; do
        friends "$option"
        apply 2
        settled
        # By hand, and made anew by the same run: the words are the same, and the container is another.
        docker rm -f friend
        apply 2
        did 'docker-recreate friend' 'docker-recreate app'
        settled
    done
    # With other arguments, in the same run.
    friends '--network, "container:friend"'
    apply 2
    friend=', --env, a=b' friends '--network, "container:friend"'
    apply 2
    did 'docker-recreate friend' 'docker-recreate app'
    [ "$(namespace app)" = "$(namespace friend)" ]
    settled
}

namespace() { readlink "/proc/$(docker container inspect -f '{{.State.Pid}}' "$1")/ns/net"; }

made_by_hand() { # with options that this module refuses: replaced once, whatever it was made with
    local options
    for options in --rm '--restart on-failure:3' '--pid host'; do
        docker rm -f app
        # shellcheck disable=SC2086 # words without blanks
        docker run -d --name app --network none --stop-signal SIGKILL $options "$HUB/telemetry:latest"
        [[ $options != *pid* ]] || docker pause app
        apply 2
        did 'docker-recreate app'
        runs app
        no_leftovers
        settled
        # And where the new one is no good: what was there before runs again, or nothing can.
        docker rm -f app
        # shellcheck disable=SC2086
        docker run -d --name app --network none --stop-signal SIGKILL $options "$HUB/telemetry:latest"
        app_with "run_args: [$kills, --network, none, --env, 'a=$options', --entrypoint, /missing]"
        apply 4
        said 'failed its trial'
        no_leftovers
        [[ $options == *--rm* ]] || [ "$(docker container inspect -f '{{.State.Running}} {{.Image}}' app)" = "true $(image telemetry)" ]
        plain_app
        apply 2
        runs app
        settled
    done
}

dead_namespace() {
    friends '--network, "container:friend"'
    apply 2
    # The same container, with a network of its own that is another now.
    docker restart friend
    [ "$(namespace app)" != "$(namespace friend)" ]
    apply 2
    [ "$(namespace app)" = "$(namespace friend)" ]
    settled
    # One that does not run is no reason to stop what runs; nothing can be reached in there, and that is told.
    docker stop friend
    local before
    before=$(container app)
    app_with "run_args: [$kills, --network, 'container:friend', --env, a=b]"
    apply 4
    said 'container app: not touched: container friend, whose network it uses, does not run'
    well "$before"
    docker start friend
    apply 2
    settled
}

both_start() {
    above "app: {image: $HUB/app:latest, container: app, run_args: [$kills, --network, 'container:friend']}" \
        "friend: {image: $HUB/telemetry:latest, container: friend, run_args: [$kills, --network, none]}"
    apply 2 || settled
    settled
    publish app
    node 'alm_pull::when_unknown: pull'
    docker stop app friend
    link down
    apply 6
    said 'PULL FAILED'
    did 'docker-start friend' 'docker-start app'
    [ "$(namespace app)" = "$(namespace friend)" ]
    link up
    node
    apply 2
    runs app
    docker rm -f friend
    plain_app
    apply 2
    settled
}

friend_rolled_back() { # who lives in its network goes on living there
    friends '--network, "container:friend"'
    apply 2
    local app
    app=$(container app)
    publish telemetry 1000 "$broken"
    apply 6
    said 'docker-recreate app\]: Skipping because of failed dependencies'
    [ "$(container app)" = "$app" ]
    [ "$(namespace app)" = "$(namespace friend)" ]
    # Both new, the other one good and this one not: the old image runs, where it can run now.
    publish telemetry
    publish app 1000 "$broken"
    app=$(docker container inspect -f '{{.Image}}' app)
    apply 6
    said "container app: $HUB/app:latest failed its trial"
    [ "$(docker container inspect -f '{{.Image}} {{.State.Status}}' app)" = "$app running" ]
    [ "$(namespace app)" = "$(namespace friend)" ]
    no_leftovers
    apply 4
    publish app
    plain_app
    apply 2
    docker rm -f friend
    settled
}

other_network() {
    docker network create site
    app_with "run_args: [$kills, --network, site]"
    apply 2
    settled
    docker network disconnect -f site app
    docker network rm site
    docker network create site
    apply 2
    did 'docker-recreate app'
    settled
    plain_app
    apply 2
    docker network rm site
}

files_changed() {
    local file
    mkdir -p "$dir/conf.d"
    for file in env label on/one; do mkdir -p "$dir/files/on"; echo 'a=1' >"$dir/files/$file"; done
    app_with "run_args: [$kills, --network, none, --env-file, $dir/files/env, --label-file=$dir/files/label]" \
        "restart_on: [$dir/files/on, $dir/files/missing]"
    apply 2
    settled
    for file in env label on/one on/two missing; do
        echo 'a=2' >"$dir/files/$file"
        apply 2
        did 'docker-recreate app'
        settled
    done
    docker container inspect -f '{{.Config.Env}} {{.Config.Labels}}' app | grep 'a=2.*a:2'
    rm "$dir/files/on/two"
    apply 2
    did 'docker-recreate app'
    # Written by the same run: seen by it.
    echo "file { '$dir/files/env': content => 'a=3' }" >>"$dir/conf/site.pp"
    apply 2
    did 'docker-recreate app'
    docker container inspect -f '{{.Config.Env}}' app | grep 'a=3'
    settled
    sed -i '$d' "$dir/conf/site.pp"
    # No secret is in a label.
    gone grep -r 'a=3' "$dir/state"
    docker container inspect -f '{{json .Config.Labels}}' app >"$dir/labels"
    gone grep 'a=3' "$dir/labels"
    plain_app
    apply 2
}

variable_changed() { # `--env NAME` and a line without value in a file have theirs from the environment of the run
    mkdir -p "$dir/files"
    # As editors of other systems write it; docker reads it all the same.
    printf '\357\273\277# secrets\r\nother=1\r\n  SECOND\r\n' >"$dir/files/env"
    app_with "run_args: [$kills, --network, none, --env, FIRST, --env-file, $dir/files/env]"
    local first second
    for pair in 'a a' 'b a' 'b b'; do
        read -r first second <<<"$pair"
        node "alm_pull::environment: [FIRST=$first, SECOND=$second]"
        apply 2
        did 'docker-recreate app'
        docker container inspect -f '{{.Config.Env}}' app | grep "FIRST=$first" | grep "SECOND=$second"
        settled
    done
    # One that is gone is another value, too.
    node 'alm_pull::environment: [FIRST=b]'
    apply 2
    did 'docker-recreate app'
    docker container inspect -f '{{.Config.Env}}' app | gone grep SECOND
    settled
    node
    plain_app
    apply 2
}

# == The proof ==

bad_image() { # COMMAND REASON: everything of it
    local before old
    before=$(container app) old=$(docker container inspect -f '{{.Image}}' app)
    publish app 1000 "$1"
    apply 6
    did "docker-pull $HUB/app:latest"
    cp "$dir/out" "$dir/first"
    said "container app: $HUB/app:latest failed its trial: ($2)"
    [[ $1 == *news* ]] || said 'its log: (I am broken|done)'
    said 'the old container runs again'
    well "$before"
    [ "$(docker container inspect -f '{{.HostConfig.RestartPolicy.Name}}' app)" = "${with_policy:-no}" ]
    told_status 'Rolled back'
    [ "$(stat -c %a "$dir"/state/container/{app.json,.app.journal} | xargs)" = '644 600' ]
    no_leftovers
    [ -n "$(docker image inspect -f '{{.Id}}' "$old")" ]
    # Once, and not in every run: one line, and all as it was.
    local state
    state=$(state)
    apply 4
    did
    said "container app: $HUB/app:latest was rolled back and is tried again after 2"
    [ "$(grep -c 'returns: container app' "$dir/out")" = 1 ]
    untouched "$state"
    well "$before"
}

exits_by_itself() {
    plain_app
    apply 2 || settled
    bad_image "$ends" 'it ended with exit code 0'
    bad_image "$broken" 'it ended with exit code 3'
    publish app
    apply 2
    runs app
    told_status Running
    settled
}

restarts_for_ever() {
    app_with "run_args: [$kills, --network, none, --restart, always]"
    apply 2
    with_policy=always bad_image "$broken" 'it (was restarted|ended)'
    # What was good before, under other arguments: at once.
    app_with "run_args: [$kills, --network, none, --restart, always]" 'command: [/bin/busybox, sleep, "100000"]'
    apply 2
    did 'docker-recreate app'
    settled
    # And as it was: at once again, as another was tried since.
    app_with "run_args: [$kills, --network, none, --restart, always]"
    apply 4
    said 'failed its trial'
    publish app
    apply 2
    settled
    plain_app
    apply 2
}

age_mark() { # SECONDS: as if what was rolled back had been so long ago
    local marked
    marked=$(sed -n 's/^marked //p' "$dir/state/container/.app.journal")
    sed -i "s/^marked .*/marked $((marked - $1))/" "$dir/state/container/.app.journal"
}
holds() { apply 4; said 'was rolled back and is tried again'; unsaid 'failed its trial'; }
tries() { apply 4; said 'failed its trial'; }

tried_again() {
    bad_image "$broken" 'it ended with exit code 3'
    local hours
    for hours in 1 4 24 24; do
        age_mark $((hours * 3600 - 300))
        holds
        age_mark 300
        tries
    done
    holds
    "$dir/libexec/container" retry --state "$dir/state" app
    tries
    holds
    # A clock that was wrong tells nothing.
    age_mark -200000
    tries
    publish app
    apply 2
    settled
}

not_well() { # what the engine calls running
    docker pause app
    apply 2
    did 'docker-recreate app'
    settled
    app_with "run_args: [$kills, --network, none, --health-cmd, '/bin/busybox test ! -e /ill', --health-interval, 1s, --health-retries, '1']"
    apply 2
    settled
    docker exec app /bin/busybox touch /ill
    for _ in {1..50}; do [ "$(docker container inspect -f '{{.State.Health.Status}}' app)" != unhealthy ] || break; sleep 0.2; done
    apply 2
    did 'docker-recreate app'
    settled
    plain_app
    apply 2
}

health() {
    node 'alm_pull::grace_limit: 4'
    # Longer than the grace, and healthy in the end.
    local health="--health-interval, 1s, --health-retries, '1000', --health-cmd"
    app_with "run_args: [$kills, --network, none, $health, '/bin/busybox test -e /ready']" \
        'command: [/bin/busybox, sh, -c, "sleep 2; echo >/ready; sleep 100000"]'
    apply 2
    [ "$(docker container inspect -f '{{.State.Health.Status}}' app)" = healthy ]
    settled
    # Called unhealthy, and healthy in the end.
    node 'alm_pull::grace_limit: 20'
    app_with "run_args: [$kills, --network, none, --health-interval, 1s, --health-retries, '1', --health-cmd, '/bin/busybox test -e /ready']" \
        'command: [/bin/busybox, sh, -c, "sleep 4; echo >/ready; sleep 100000"]'
    apply 2
    [ "$(docker container inspect -f '{{.State.Health.Status}}' app)" = healthy ]
    settled
    # Never within the limit.
    node 'alm_pull::grace_limit: 4'
    app_with "run_args: [$kills, --network, none, $health, '/bin/busybox false']"
    apply 4
    said 'it is not healthy after 4 seconds'
    # No proof is asked for; what was rolled back waits all the same, unless it is told not to.
    "$dir/libexec/container" retry --state "$dir/state" app
    app_with "run_args: [$kills, --network, none, $health, '/bin/busybox false']" 'grace: 0'
    apply 2
    did 'docker-recreate app'
    settled
    node
    plain_app
    apply 2
}

first_is_bad() { # nothing to go back to: it stays, and may still come to itself
    docker rm -f app
    publish app 1000 "$broken"
    app_with "run_args: [$kills, --network, none, --restart, always]"
    apply 6
    said 'failed its trial'
    told_status Failed
    [ -n "$(container app)" ]
    apply 4
    said 'was rolled back and is tried again'
    publish app
    plain_app
    apply 2
    settled
}

foreign() { # another's container under a name that a change needs is left alone
    docker create --name app.old --network none "$HUB/telemetry:latest"
    local before
    before=$(container app)
    app_with "run_args: [$kills, --network, none, --env, a=b]"
    apply 4
    said 'not touched: container app.old is in the way'
    well "$before"
    docker rm app.old
    plain_app
    settled
}

another_platform() { # warned of, and never refused: it runs here
    local other=arm64
    [ "$architecture" != arm64 ] || other=arm
    other_architecture=$other publish app
    apply 2
    did "docker-pull $HUB/app:latest" 'docker-recreate app'
    said "warning: $HUB/app:latest is for linux/$other, and this device is linux/"
    runs app
    settled
    unsaid 'warning:'
    # What cannot run here is found by the proof.
    bad_image '["/news"]' '.*[Ee]xec format error|it ended with exit code'
    grep -qi 'exec format error' "$dir/first"
    publish app
    apply 2
    unsaid 'warning:'
    settled
}

# == Cuts ==

cat_cutter() { # a command that does its work, and then ends the helper that has called it, where that was step number `at`
    cat <<CUT
#!/bin/sh
$2 "\$@"
code=\$?
case "$1 \$1 \$2" in
docker\ create\ * | docker\ update\ * | docker\ stop\ * | docker\ rename\ * | docker\ start\ * | docker\ rm\ * | docker\ image\ rm | mv\ *)
    count=\$((\$(cat $dir/cut/count) + 1))
    echo \$count >$dir/cut/count
    if [ \$count = "\$(cat $dir/cut/at)" ]; then
        echo "$1 \$*" | sed 's/--label.*//' >$dir/cut/step
        pids='' pid=\$PPID
        while tr '\\0' ' ' </proc/\$pid/cmdline | grep -q "libexec/container"; do
            pids="\$pid \$pids"
            pid=\$(sed 's/.*) . //' /proc/\$pid/stat | cut -d ' ' -f 1)
        done
        # The outermost first: it must not see that a part of it has ended, and tidy up.
        kill -9 \$pids
    fi
    ;;
esac
exit \$code
CUT
}

helper() { DOCKER_HOST=unix://$ENGINE_SOCKET DOCKER_CONFIG=$dir/docker PATH=$dir/cut:$PATH "$dir/libexec/$1" "${@:2}"; }

watched() { # how many run at most, until it is ended
    local most=0 now
    while :; do
        now=$(running app 2>/dev/null | wc -l) || now=0
        [ "$now" -le "$most" ] || { most=$now; echo "$most" >"$dir/cut/most"; }
        sleep 0.05
    done
}

cut_run() { # MODE OPTION...: of the helper, on app
    helper container "$1" --state "$dir/state" --image-at 7 "${@:2}" \
        "$dir/libexec/docker-pull-with-progress" app "$HUB/app:latest" \
        --stop-signal SIGKILL --network none --restart always "$HUB/app:latest"
}

cut_off() { # COMMAND-OF-THE-NEW-IMAGE: after each step, with the engine started again, until there are no more steps
    local at old code left
    mkdir -p "$dir/cut"
    cat_cutter docker "$(type -P docker)" >"$dir/cut/docker"
    cat_cutter mv "$(type -P mv)" >"$dir/cut/mv"
    chmod 755 "$dir/cut"/{docker,mv}
    app_with "run_args: [$kills, --network, none, --restart, always]"
    apply 2
    for at in {1..40}; do
        publish app 1000 ${1:+"$1"}
        echo "$at" >"$dir/cut/at"
        echo 0 >"$dir/cut/count"
        echo 0 >"$dir/cut/most"
        rm -f "$dir/cut/step"
        old=$(docker container inspect -f '{{.Image}}' app)
        pull_by_hand app
        watched &
        watcher=$!
        cut_run recreate --grace 1 --grace-limit 4 --remove-replaced || true
        echo 0 >"$dir/cut/at"
        "$lab" kill "$dir/lab" engine
        left=$(shims)
        "$lab" revive "$dir/lab" engine
        end_shims "$left"
        # As Puppet's next run would, which takes seconds longer.
        code=0
        cut_run recreate --grace 1 --grace-limit 4 --remove-replaced || code=$?
        kill $watcher
        wait $watcher || true
        echo "cut off after step $at: $(cat "$dir/cut/step" 2>/dev/null); at most $(cat "$dir/cut/most") at once" | tee -a "$dir/cut/steps"
        [ "$(cat "$dir/cut/most")" = 1 ]
        [ "$(running app)" = "$(container app)" ]
        if [ -z "$1" ]; then
            [ $code = 0 ]
            runs app
            cut_run current
        else
            [ $code != 0 ]
            [ "$(docker container inspect -f '{{.Image}}' app)" = "$old" ]
            gone cut_run recreate --grace 1 --grace-limit 4 >"$dir/out" 2>&1
            said 'was rolled back and is tried again'
        fi
        no_leftovers
        [ -e "$dir/cut/step" ] || break
    done
    [ "$at" -gt 10 ]
    rm -r "$dir/cut"
    # And Puppet sees it as the helper does; telemetry has ended with the engine.
    if [ -z "$1" ]; then apply 2; settled; else apply 6; holds; fi
    publish app
    plain_app
    apply 2
}

journal_lost() { # as on a node whose /var does not outlive a start
    app_with "run_args: [$kills, --network, none, --env, n=1]"
    apply 2
    local left
    for left in both old; do
        docker update --restart=no app
        docker stop app
        docker rename app app.old
        [ $left = old ] || docker create --name app --network none --stop-signal SIGKILL --label alm_pull.arguments=x "$HUB/app:latest"
        apply 2
        did 'docker-recreate app'
        runs app
        no_leftovers
        settled
    done
    plain_app
    apply 2
}

# == What is in the way, by the helper itself ==

no_good() { # of what the last helper has said
    gone "$@" >"$dir/out" 2>&1
    cat "$dir/out"
}
as_it_was() { [ "$(running app)" = "$1" ] && [ "$(container app)" = "$1" ] && no_leftovers; }

begin_of_id() { # docker takes `db` for the id of another container where none has this name
    local other name before
    other=$(docker run -d --name other --network none --stop-signal SIGKILL "$HUB/app:latest")
    for name in "${other:0:2}" "${other:0:4}"; do
        before=$(docker ps -aq --no-trunc | wc -l)
        for _ in 1 2; do
            helper container recreate --state "$dir/state" --image-at 3 --grace 1 --remove-replaced "$PULL" "$name" "$HUB/app:latest" \
                --network none "$HUB/app:latest"
            [ "$(running other)" = "$other" ]
            [ "$(docker ps -aq --no-trunc | wc -l)" = $((before + 1)) ]
        done
        helper container current --state "$dir/state" --image-at 3 "$PULL" "$name" "$HUB/app:latest" --network none "$HUB/app:latest"
        docker rm -f "$(container "$name")"
        # Nor is it said to run.
        no_good "$PULL" --ascii --host "unix://$ENGINE_SOCKET" --running "$name" "$HUB/app:latest"
        said '^no'
        gone helper container current --state "$dir/state" --image-at 3 "$PULL" "$name" "$HUB/app:latest" --network none "$HUB/app:latest"
    done
    docker rm -f other
}

journal_damaged() { # empty, cut, nonsense, another node's: what runs goes on, and the next change goes well
    local app telemetry text
    app_with "run_args: [$kills, --network, none, --restart, always]"
    apply 2
    app=$(container app) telemetry=$(container telemetry)
    for text in '' '\n\n' 'step' 'step dancing\nold a\nnew b\n' 'step proving\nold' 'mark x\ntries 08\nmarked 9x\n' '\0\1\377step\n' \
        "step proving\nold $telemetry\nnew $telemetry\npolicy no:0\n" "step good\nold $telemetry\nnew $app\n" \
        "step back\nold $telemetry\nnew $telemetry\npolicy rubbish\n" \
        "step proving\nold $(printf '%064d' 1)\nnew $(printf '%064d' 2)\npolicy always:0\n"; do
        # shellcheck disable=SC2059 # a text with escapes
        printf "$text" >"$dir/state/container/.app.journal"
        cut_run current || cut_run recreate --grace 1
        cut_run current
        as_it_was "$app"
        [ "$(running telemetry)" = "$telemetry" ]
        gone grep -q '^step' "$dir/state/container/.app.journal" || [[ $text == *dancing* || $text == step* ]]
    done
    settled
    plain_app
    apply 2
    settled
}

lifted() { # by the image that runs, when it is what is wanted again
    local good bad
    app_with "run_args: [$kills, --network, none, --restart, always]"
    apply 2
    good=$(image app)
    printf 'FROM %s\nCMD %s\n' "$HUB/app:latest" "$broken" | DOCKER_BUILDKIT=0 docker build -q -t "$HUB/app:latest" -
    bad=$(image app)
    no_good cut_run recreate --grace 1
    said 'failed its trial'
    no_good cut_run recreate --grace 1
    said 'was rolled back and is tried again'
    docker tag "$good" "$HUB/app:latest"
    cut_run current
    docker tag "$bad" "$HUB/app:latest"
    no_good cut_run recreate --grace 1
    said 'failed its trial'
    docker tag "$good" "$HUB/app:latest"
    cut_run recreate
    docker tag "$bad" "$HUB/app:latest"
    no_good cut_run recreate --grace 1
    said 'failed its trial'
    docker tag "$good" "$HUB/app:latest"
    docker image rm "$bad"
    cut_run current
    plain_app
    apply 2
    settled
}

full_disk() { # before a change: nothing is touched; in the middle of it: the old one runs again
    local app
    app_with "run_args: [$kills, --network, none, --restart, always]"
    apply 2
    app=$(container app)
    mkdir -p "$dir/full" "$dir/cut"
    mount -t tmpfs -o size=64k full "$dir/full"
    mkdir "$dir/full/container"
    fill="cat /dev/zero >'$dir/full/filled' 2>/dev/null"
    sh -c "$fill" || true
    no_good helper container recreate --state "$dir/full" --image-at 5 --grace 1 "$PULL" app "$HUB/app:latest" \
        --env a=b --network none "$HUB/app:latest"
    said 'not touched: its journal .*container/.app.journal cannot be written'
    as_it_was "$app"
    # Where all is well nothing has to be written.
    cut_run current --state "$dir/full"
    [ "$(find "$dir/full" -name '*.tmp' | wc -l)" = 0 ]
    # Full from the moment at which the new one starts.
    # shellcheck disable=SC2016 # for the shell that runs the file
    printf '#!/bin/sh\ncase $1 in start) %s ;; esac\nexec %s "$@"\n' "$fill" "$(type -P docker)" >"$dir/cut/docker"
    chmod 755 "$dir/cut/docker"
    rm "$dir/full/filled"
    for _ in 1 2; do
        no_good helper container recreate --state "$dir/full" --image-at 5 --grace 1 "$PULL" app "$HUB/app:latest" \
            --entrypoint /missing --network none "$HUB/app:latest"
        as_it_was "$app"
    done
    said 'not touched: its journal|cannot be written'
    rm -r "$dir/cut" "$dir/full/filled"
    # With room again it goes on as ever.
    helper container recreate --state "$dir/full" --image-at 5 --grace 1 "$PULL" app "$HUB/app:latest" \
        --env a=b --network none "$HUB/app:latest"
    no_leftovers
    [ "$(stat -c %a "$dir/full/container/app.json")" = 644 ]
    umount "$dir/full"
    plain_app
    apply 2
    settled
}

dead() { # what the engine could not remove: it is in the way, but nothing else
    local app
    app=$(container app)
    held=$dir/lab/data/containers/$app/held # not local: the trap needs it
    touch "$held"
    chattr +i "$held"
    trap 'chattr -i "$held" 2>/dev/null || true' EXIT
    gone docker rm -f app
    [ "$(docker container inspect -f '{{.State.Status}}' app)" = dead ]
    apply 4
    said 'the engine cannot remove it'
    chattr -i "$held"
    apply 2
    did 'docker-recreate app'
    runs app
    no_leftovers
    settled
}
