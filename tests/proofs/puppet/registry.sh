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

start_without_registry() { # what has stopped runs again, and so does what was removed: the image is here
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

image_state() { # the state that the check and the pull have written, by the program itself
    "$PULL" --status --state "$dir/states/pull" --json "$HUB/${1-app}:latest" || true # it tells in its exit code how it is
}

set_failure_kind() { # KIND: in what the last check has written
    sed -i "s/\"kind\":\"[a-z-]*\"/\"kind\":\"$1\"/" "$dir/states/pull/"*app*.json
}

check_exits() { # EXIT-CODE: the helper's own answer, after a check that leaves the state as it is
    local code=0
    image_helper current --state "$dir/state" --run "$dir/states" "$HUB/app:latest" sh -c 'exit 3' || code=$?
    [ $code = "$1" ] || { echo "exit $code instead of $1"; image_state; return 1; }
}

registry_unreachable() {
    publish app
    link down
    local before kind
    before=$(engine_state)
    # By the state that the check itself has written.
    changes_nothing
    image_state | grep '"text":"Cannot tell".*"kind":"unreachable"'
    is_unchanged "$before"
    # What has stopped is healed in the ordinary way.
    docker stop app
    apply 2
    executed_only 'docker-recreate app'
    changes_nothing
    # Where it is to be pulled all the same.
    node 'alm_pull::when_unknown: pull'
    apply 4
    output_has 'PULL FAILED'
    node
    changes_nothing
    # The other kinds, in the file of that check: what would pass, and what a pull has to tell of.
    for kind in rate-limit unreachable server-error; do set_failure_kind $kind; check_exits 0; done
    for kind in login certificate not-found other; do set_failure_kind $kind; check_exits 3; done
    set_failure_kind unreachable
    sed -i 's/"text":"Cannot tell"/"text":"Failed"/' "$dir/states/pull/"*app*.json
    check_exits 3
    # Another image's state says nothing of this one; nor do links.
    changes_nothing
    sed -i 's/app:latest/application:latest/' "$dir/states/pull/"*app*.json
    check_exits 3
    changes_nothing
    mkdir "$dir/elsewhere"
    mv "$dir/states/pull/"*app*.json "$dir/elsewhere"
    ln -s "$dir/elsewhere/"* "$dir/states/pull"
    check_exits 3
    # The state that outlives a start, where there is no newer one.
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

login_refused() { # and not passed over, as a registry that is away is
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

absent() { # what is known of an image is forgotten, and what runs goes on
    local before
    profile_images "app: {image: $HUB/app:latest, container: app, run_args: [$sigkill, --network, none]}" \
        "telemetry: {image: $HUB/telemetry:latest, container: telemetry, ensure: absent}"
    image_state telemetry | grep '"id":"'
    before=$(engine_state)
    apply 2
    executed_only "docker-forget $HUB/telemetry:latest"
    [ "$(image_state telemetry)" = '[]' ]
    is_unchanged "$before"
    changes_nothing
    default_app
    apply 2 || true
    changes_nothing
}

digests() { docker image inspect -f '{{len .RepoDigests}}' "$HUB/app:latest"; }

lose_digest() { # as an image that was loaded or built has none
    docker rm -f app
    docker image rm "$HUB/app:latest"
    docker load -i "$dir/app.tar"
    [ "$(digests)" = 0 ]
}

without_digest() { # built, loaded, or pulled for two platforms under one name
    docker save "$HUB/app:latest" -o "$dir/app.tar"
    lose_digest
    # A pull finds it in the registry, and it is as it should be.
    apply 2
    executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
    [ "$(digests)" = 1 ]
    output_lacks 'no digest of a registry'
    changes_nothing
    # As old engines leave it, where a pull does not help: the program says so of app alone, and pulls nothing.
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
    # Told once, with its cure, and the container runs on what is here; not pulled again, whatever the check says and whether or not
    # a pull is wanted in doubt.
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
    # A day later, once.
    # shellcheck disable=SC2016 # expanded by the shell that sed starts
    sed -i -E 's/^(reported [^ ]+) .*/echo "\1 $(($(date +%s) - 90000))"/e' "$(record_of app)"
    apply 2
    executed_only "docker-pull $HUB/app:latest"
    output_has 'no digest of a registry is known'
    pulls 2
    changes_nothing
    # The cure helps.
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
