# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: the registry cannot be reached or does not answer the check.
# shellcheck disable=SC2154 # variables of tests/proofs/puppet.sh

registry_down() {
    publish app
    node 'alm_pull::when_unknown: pull'
    local before
    before=$(engine_state)
    link down
    apply 4
    output_has 'PULL FAILED'
    output_has 'Error: .*docker-pull .*/app:latest'
    output_has 'docker-recreate app\]: Skipping because of failed dependencies'
    executed_only
    is_unchanged "$before"
}

start_without_registry() {
    docker stop app
    apply 6
    executed_only 'docker-start app'
    output_has 'PULL FAILED'
    [ "$(docker container inspect -f '{{.State.Running}}' app)" = true ]
    local before
    before=$(engine_state)
    apply 4
    is_unchanged "$before"
    docker rm -f app
    apply 6
    executed_only 'docker-start app'
    [ "$(docker container inspect -f '{{.State.Running}} {{.Image}}' app)" = "true $(image app)" ]
    before=$(engine_state)
    apply 4
    is_unchanged "$before"
}

registry_back() { link up; node; apply 2; executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'; runs app; changes_nothing; }

# The image's state, which check and pull have written, as the program reads it.
image_state() { # [NAME]
    "$PULL" --status --state "$dir/states/pull" --json "$HUB/${1-app}:latest" || true # the exit code depends on the state
}

# Changes the kind of failure in the state that the last check wrote.
set_failure_kind() { # KIND
    sed -i "s/\"kind\":\"[a-z-]*\"/\"kind\":\"$1\"/" "$dir/states/pull/"*app*.json
}

# The exit code of the helper after a check without an answer that leaves the state as it is.
check_exits() { # EXIT-CODE
    local code=0
    image_helper current --state "$dir/state" --run "$dir/states" "$HUB/app:latest" sh -c 'exit 3' || code=$?
    [ $code = "$1" ] || { echo "exit $code instead of $1"; image_state; return 1; }
}

registry_unreachable() {
    publish app
    link down
    local before kind
    before=$(engine_state)
    # With the state of the real check.
    changes_nothing
    image_state | grep '"text":"Cannot tell".*"kind":"unreachable"'
    is_unchanged "$before"
    # A stopped container is recreated as usual.
    docker stop app
    apply 2
    executed_only 'docker-recreate app'
    changes_nothing
    # With when_unknown pull the pull is tried.
    node 'alm_pull::when_unknown: pull'
    apply 4
    output_has 'PULL FAILED'
    node
    changes_nothing
    # Other kinds of failure: those that may pass are skipped, the others must be reported by a pull.
    for kind in rate-limit unreachable server-error; do set_failure_kind $kind; check_exits 0; done
    for kind in login certificate not-found other; do set_failure_kind $kind; check_exits 3; done
    set_failure_kind unreachable
    sed -i 's/"text":"Cannot tell"/"text":"Failed"/' "$dir/states/pull/"*app*.json
    check_exits 3
    # The state of another image does not count, and neither does a link.
    changes_nothing
    sed -i 's/app:latest/application:latest/' "$dir/states/pull/"*app*.json
    check_exits 3
    changes_nothing
    mkdir "$dir/elsewhere"
    mv "$dir/states/pull/"*app*.json "$dir/elsewhere"
    ln -s "$dir/elsewhere/"* "$dir/states/pull"
    check_exits 3
    # The state from before the last boot counts if there is no newer one.
    rm "$dir/states/pull/"*app*.json
    mkdir -p "$dir/state/pull"
    mv "$dir/elsewhere/"* "$dir/state/pull"
    check_exits 0
    rm -r "$dir/state/pull" "$dir/elsewhere"
    link up
    apply 2
    runs app
    changes_nothing
    image_state | grep '"status":"Done"'
}

# A refused login is reported, not skipped like a registry that cannot be reached.
login_refused() {
    publish app
    log_out
    echo 'alm_pull::profile::raspberry_pi::settings: {docker_login: false}' >>"$dir/conf/data/override.yaml"
    echo nonsense >"$dir/token"
    apply 4
    output_has 'PULL FAILED'
    image_state | grep '"kind":"login"'
    tr -d '\n' <"$dir/lab/password" >"$dir/token"
    default_app
    apply 2
    changes_nothing
}

absent() {
    local before
    profile_images "app: {image: $HUB/app:latest, container: app, run_args: [$sigkill, --network, none]}" \
        "telemetry: {image: $HUB/telemetry:latest, container: telemetry, ensure: absent}"
    image_state telemetry | grep '"id":"'
    before=$(engine_state)
    apply 2
    executed_only "docker-forget $HUB/telemetry:latest"
    [ "$(image_state telemetry)" = '[]' ]
    [ ! -e "$dir/state/container/telemetry.json" ]
    has_status Running
    is_unchanged "$before"
    changes_nothing
    default_app
    apply 2 || true
    changes_nothing
}

digests() { docker image inspect -f '{{len .RepoDigests}}' "$HUB/app:latest"; }

# An image that was loaded or built has no digest of a registry.
lose_digest() {
    docker rm -f app
    docker image rm "$HUB/app:latest"
    docker load -i "$dir/app.tar"
    [ "$(digests)" = 0 ]
}

without_digest() {
    docker save "$HUB/app:latest" -o "$dir/app.tar"
    lose_digest
    # A pull gives it its digest.
    apply 2
    executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
    [ "$(digests)" = 1 ]
    output_lacks 'no digest of a registry'
    changes_nothing
    # With old engines a pull may not help. A wrapper of the program imitates that for app.
    cat >"$dir/bin/never" <<'SH'
#!/bin/sh
case " $* " in
*' --check '*/app:latest*) echo 'cannot tell: no digest is known'; exit "$(cat "$CHECK_CODE")" ;;
*' --retries '*/app:latest*) echo pulled >>"$PULLS"; exit ;;
esac
exec "$REAL" "$@"
SH
    chmod 755 "$dir/bin/never"
    lose_digest
    echo 3 >"$dir/check-code"
    : >"$dir/pulls"
    arguments --network none
    node "alm_pull::install: none" "alm_pull::executable: $dir/bin/never" \
        "alm_pull::environment: ['REAL=$PULL', 'PULLS=$dir/pulls', 'CHECK_CODE=$dir/check-code']"
    sed -i '/^alm_pull::install: file/d' "$dir/conf/data/node.yaml"
    pulls() { [ "$(wc -l <"$dir/pulls")" = "$1" ] || { echo "pulled $(wc -l <"$dir/pulls") times, not $1"; return 1; }; }
    # It is reported once, with the correction, and the container runs the local image. It is not pulled again, whatever the check
    # returns and whatever when_unknown is.
    apply 2
    executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
    output_has "no digest of a registry is known for it here.*docker image rm $HUB/app:latest"
    pulls 1
    runs app
    changes_nothing
    echo 1 >"$dir/check-code"
    changes_nothing
    sed -i '1a alm_pull::when_unknown: pull' "$dir/conf/data/node.yaml"
    changes_nothing
    pulls 1
    # A day later it is pulled once more.
    # shellcheck disable=SC2016 # expanded by the shell that sed starts
    sed -i -E 's/^(reported [^ ]+) .*/echo "\1 $(($(date +%s) - 90000))"/e' "$(record_of app)"
    apply 2
    executed_only "docker-pull $HUB/app:latest"
    output_has 'no digest of a registry is known'
    pulls 2
    changes_nothing
    # The correction from the message works.
    rm "$dir/bin/never" "$dir/app.tar"
    node
    arguments --network none
    docker rm -f app
    docker image rm "$HUB/app:latest"
    apply 2
    executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
    [ "$(digests)" = 1 ]
    runs app
    changes_nothing
}
