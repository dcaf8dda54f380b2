# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: a change that is interrupted or prevented, and its journal.
# shellcheck disable=SC2154 # variables of tests/proofs/puppet.sh

# A wrapper of docker or mv. It runs the command, counts the calls that change something, and kills the helper that called it after
# the call whose number is in the file `at`.
interrupting_command() { # NAME PATH
    cat <<CUT
#!/bin/sh
$2 "\$@"
code=\$?
case "$1 \$1 \$2" in
docker\ create\ * | docker\ update\ * | docker\ stop\ * | docker\ rename\ * | docker\ start\ * | docker\ rm\ * | docker\ image\ rm | mv\ *)
    count=\$((\$(cat $dir/interrupt/count) + 1))
    echo \$count >$dir/interrupt/count
    if [ \$count = "\$(cat $dir/interrupt/at)" ]; then
        echo "$1 \$*" | sed 's/--label.*//' >$dir/interrupt/step
        pids='' pid=\$PPID
        while tr '\\0' ' ' </proc/\$pid/cmdline | grep -q "libexec/container"; do
            pids="\$pid \$pids"
            pid=\$(sed 's/.*) . //' /proc/\$pid/stat | cut -d ' ' -f 1)
        done
        # The outermost shell first: otherwise it would see that a subshell has ended, and clean up.
        kill -9 \$pids
    fi
    ;;
esac
exit \$code
CUT
}

# Writes the maximum of containers app* that run at the same time, until it is killed.
record_max_running() {
    local max=0 now
    while :; do
        now=$(running_ids app 2>/dev/null | wc -l) || now=0
        [ "$now" -le "$max" ] || { max=$now; echo "$max" >"$dir/interrupt/max"; }
        sleep 0.05
    done
}

# The helper, with the arguments that the catalog has for app.
helper_on_app() { # MODE OPTION...
    helper container "$1" --state "$dir/state" --image-at 7 "${@:2}" \
        "$dir/libexec/docker-pull-with-progress" app "$HUB/app:latest" \
        --stop-signal SIGKILL --network none --restart always "$HUB/app:latest"
}

# Interrupts a change after step 1, 2, …, each time with a restart of the engine, until the change has no more steps.
interrupted_change() { # COMMAND-OF-THE-NEW-IMAGE
    local at old code left
    mkdir -p "$dir/interrupt"
    interrupting_command docker "$(type -P docker)" >"$dir/interrupt/docker"
    interrupting_command mv "$(type -P mv)" >"$dir/interrupt/mv"
    chmod 755 "$dir/interrupt"/{docker,mv}
    app_with "run_args: [$sigkill, --network, none, --restart, always]"
    apply 2
    for at in {1..40}; do
        publish app 1000 ${1:+"$1"}
        echo "$at" >"$dir/interrupt/at"
        echo 0 >"$dir/interrupt/count"
        echo 0 >"$dir/interrupt/max"
        rm -f "$dir/interrupt/step"
        old=$(docker container inspect -f '{{.Image}}' app)
        pull_by_hand app
        record_max_running &
        watcher=$!
        helper_on_app recreate --grace 1 --grace-limit 4 --remove-replaced || true
        echo 0 >"$dir/interrupt/at"
        "$lab" kill "$dir/lab" engine
        left=$(list_shims)
        "$lab" revive "$dir/lab" engine
        kill_shims "$left"
        # The next run, without Puppet, whose start takes seconds.
        code=0
        helper_on_app recreate --grace 1 --grace-limit 4 --remove-replaced || code=$?
        kill $watcher
        wait $watcher || true
        echo "interrupted after step $at: $(cat "$dir/interrupt/step" 2>/dev/null); at most $(cat "$dir/interrupt/max") at once" | tee -a "$dir/interrupt/steps"
        [ "$(cat "$dir/interrupt/max")" = 1 ]
        [ "$(running_ids app)" = "$(container app)" ]
        if [ -z "$1" ]; then
            [ $code = 0 ]
            runs app
            helper_on_app current
        else
            [ $code != 0 ]
            [ "$(docker container inspect -f '{{.Image}}' app)" = "$old" ]
            fails helper_on_app recreate --grace 1 --grace-limit 4 >"$dir/out" 2>&1
            output_has 'was rolled back and is tried again'
        fi
        no_leftovers
        [ -e "$dir/interrupt/step" ] || break
    done
    [ "$at" -gt 10 ]
    rm -r "$dir/interrupt"
    # Puppet comes to the same result; telemetry ended with the engine and is started.
    if [ -z "$1" ]; then apply 2; changes_nothing; else apply 6; is_on_hold; fi
    publish app
    default_app
    apply 2
}

# As on a node whose /var is empty after each boot.
journal_lost() {
    app_with "run_args: [$sigkill, --network, none, --env, n=1]"
    apply 2
    local left
    for left in both old; do
        docker update --restart=no app
        docker stop app
        docker rename app app.old
        [ $left = old ] || docker create --name app --network none --stop-signal SIGKILL --label alm_pull.arguments=x "$HUB/app:latest"
        apply 2
        executed_only 'docker-recreate app'
        runs app
        no_leftovers
        changes_nothing
    done
    default_app
    apply 2
}

# Runs a command that must fail; its output is in $dir/out.
fails_with_output() { # COMMAND...
    fails "$@" >"$dir/out" 2>&1
    cat "$dir/out"
}

only_runs() { [ "$(running_ids app)" = "$1" ] && [ "$(container app)" = "$1" ] && no_leftovers; }

# If no container has the name `db`, docker takes it for the beginning of an id.
id_prefix() {
    local other name before
    other=$(docker run -d --name other --network none --stop-signal SIGKILL "$HUB/app:latest")
    for name in "${other:0:2}" "${other:0:4}"; do
        before=$(docker ps -aq --no-trunc | wc -l)
        for _ in 1 2; do
            helper container recreate --state "$dir/state" --image-at 3 --grace 1 --remove-replaced "$PULL" "$name" "$HUB/app:latest" \
                --network none "$HUB/app:latest"
            [ "$(running_ids other)" = "$other" ]
            [ "$(docker ps -aq --no-trunc | wc -l)" = $((before + 1)) ]
        done
        helper container current --state "$dir/state" --image-at 3 "$PULL" "$name" "$HUB/app:latest" --network none "$HUB/app:latest"
        docker rm -f "$(container "$name")"
        # The check must not report the other container as this one.
        fails_with_output "$PULL" --ascii --host "unix://$ENGINE_SOCKET" --running "$name" "$HUB/app:latest"
        output_has '^no'
        fails helper container current --state "$dir/state" --image-at 3 "$PULL" "$name" "$HUB/app:latest" --network none "$HUB/app:latest"
    done
    docker rm -f other
}

journal_damaged() {
    local app telemetry text
    app_with "run_args: [$sigkill, --network, none, --restart, always]"
    apply 2
    app=$(container app) telemetry=$(container telemetry)
    for text in '' '\n\n' 'step' 'step dancing\nold a\nnew b\n' 'step proving\nold' 'mark x\ntries 08\nmarked 9x\n' '\0\1\377step\n' \
        "step proving\nold $telemetry\nnew $telemetry\npolicy no:0\n" "step good\nold $telemetry\nnew $app\n" \
        "step back\nold $telemetry\nnew $telemetry\npolicy rubbish\n" \
        "step proving\nold $(printf '%064d' 1)\nnew $(printf '%064d' 2)\npolicy always:0\n"; do
        # shellcheck disable=SC2059 # a text with escapes
        printf "$text" >"$dir/state/container/.app.journal"
        helper_on_app current || helper_on_app recreate --grace 1
        helper_on_app current
        only_runs "$app"
        [ "$(running_ids telemetry)" = "$telemetry" ]
        fails grep -q '^step' "$dir/state/container/.app.journal" || [[ $text == *dancing* || $text == step* ]]
    done
    changes_nothing
    default_app
    apply 2
    changes_nothing
}

wanted_again() {
    local good bad
    app_with "run_args: [$sigkill, --network, none, --restart, always]"
    apply 2
    good=$(image app)
    printf 'FROM %s\nCMD %s\n' "$HUB/app:latest" "$broken_command" | DOCKER_BUILDKIT=0 docker build -q -t "$HUB/app:latest" -
    bad=$(image app)
    fails_with_output helper_on_app recreate --grace 1
    output_has 'failed its trial'
    fails_with_output helper_on_app recreate --grace 1
    output_has 'was rolled back and is tried again'
    docker tag "$good" "$HUB/app:latest"
    helper_on_app current
    docker tag "$bad" "$HUB/app:latest"
    fails_with_output helper_on_app recreate --grace 1
    output_has 'failed its trial'
    docker tag "$good" "$HUB/app:latest"
    helper_on_app recreate
    docker tag "$bad" "$HUB/app:latest"
    fails_with_output helper_on_app recreate --grace 1
    output_has 'failed its trial'
    docker tag "$good" "$HUB/app:latest"
    docker image rm "$bad"
    helper_on_app current
    default_app
    apply 2
    changes_nothing
}

full_disk() {
    local app
    app_with "run_args: [$sigkill, --network, none, --restart, always]"
    apply 2
    app=$(container app)
    mkdir -p "$dir/full" "$dir/interrupt"
    mount -t tmpfs -o size=64k full "$dir/full"
    mkdir "$dir/full/container"
    fill="cat /dev/zero >'$dir/full/filled' 2>/dev/null"
    sh -c "$fill" || true
    fails_with_output helper container recreate --state "$dir/full" --image-at 5 --grace 1 "$PULL" app "$HUB/app:latest" \
        --env a=b --network none "$HUB/app:latest"
    output_has 'not touched: its journal .*container/.app.journal cannot be written'
    only_runs "$app"
    # A container that is current needs no journal.
    helper_on_app current --state "$dir/full"
    [ "$(find "$dir/full" -name '*.tmp' | wc -l)" = 0 ]
    # The disk becomes full when the new container is started.
    # shellcheck disable=SC2016 # for the shell that runs the file
    printf '#!/bin/sh\ncase $1 in start) %s ;; esac\nexec %s "$@"\n' "$fill" "$(type -P docker)" >"$dir/interrupt/docker"
    chmod 755 "$dir/interrupt/docker"
    rm "$dir/full/filled"
    for _ in 1 2; do
        fails_with_output helper container recreate --state "$dir/full" --image-at 5 --grace 1 "$PULL" app "$HUB/app:latest" \
            --entrypoint /missing --network none "$HUB/app:latest"
        only_runs "$app"
    done
    output_has 'not touched: its journal|cannot be written'
    rm -r "$dir/interrupt" "$dir/full/filled"
    # With free space the change succeeds.
    helper container recreate --state "$dir/full" --image-at 5 --grace 1 "$PULL" app "$HUB/app:latest" \
        --env a=b --network none "$HUB/app:latest"
    no_leftovers
    [ "$(stat -c %a "$dir/full/container/app.json")" = 644 ]
    umount "$dir/full"
    default_app
    apply 2
    changes_nothing
}

# A dead container is one whose files the engine could not remove.
dead_container() {
    local app
    app=$(container app)
    held=$dir/lab/data/containers/$app/held # not local, for the trap
    touch "$held"
    chattr +i "$held"
    trap 'chattr -i "$held" 2>/dev/null || true' EXIT
    fails docker rm -f app
    [ "$(docker container inspect -f '{{.State.Status}}' app)" = dead ]
    apply 4
    output_has 'the engine cannot remove it'
    chattr -i "$held"
    apply 2
    executed_only 'docker-recreate app'
    runs app
    no_leftovers
    changes_nothing
}
