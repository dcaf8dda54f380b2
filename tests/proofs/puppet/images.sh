# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: what becomes of images that were replaced, and what is done when a registry is away.
# shellcheck disable=SC2154 # of tests/proofs/puppet.sh

here() { docker image inspect -f '{{.Id}}' "$1"; }

pulled_only() { # an image without a container leaves nothing behind
    local old
    for _ in 1 2; do
        old=$(image init)
        publish init
        apply 2
        did "docker-pull $HUB/init:latest"
        said "image $HUB/init:latest: removed the replaced image $old"
        gone here "$old"
        settled
    done
    [ -z "$(docker image ls -q --filter dangling=true)" ]
}

operators_tag() { # stays, with its image
    local old app
    old=$(image init) app=$(image app)
    docker tag "$old" backup:keep
    docker tag "$app" backup:app
    publish init
    publish app
    apply 2
    did "docker-pull $HUB/"{init,app}:latest 'docker-recreate app'
    [ "$(here backup:keep) $(here backup:app)" = "$old $app" ]
    settled
    # Without their tags they go, by name and by the record, in the next run.
    docker tag "$old" backup:other
    docker image rm backup:keep
    settled
    here backup:other
    docker image rm backup:other backup:app
    apply 2
    did "docker-clean $HUB/"{init,app}:latest
    gone here "$old"
    gone here "$app"
    settled
}

used_by_another() { # until it is not any more, in the next run
    local old
    old=$(image init)
    docker create --name others --network none "$old"
    publish init
    apply 2
    unsaid 'removed the replaced image'
    here "$old"
    settled
    docker rm others
    apply 2
    did "docker-clean $HUB/init:latest"
    said "removed the replaced image $old"
    gone here "$old"
    settled
}

built_upon() { # docker refuses, and is not asked in every run
    local old
    old=$(image init)
    printf 'FROM %s\nENV a=b\n' "$HUB/init:latest" | DOCKER_BUILDKIT=0 docker build -q -t child:1 -
    publish init
    apply 2
    said "kept the replaced image $old: "
    settled
    docker image rm child:1
    publish init
    apply 2
    gone here "$old"
    settled
}

pull_by_hand() { # NAME: what the module knows nothing of
    "$PULL" --no-log --progress quiet --host "unix://$ENGINE_SOCKET" --token-file "$dir/token" --token-user fleet "$HUB/$1:latest"
}

not_ours() { # what somebody else pulled, built or replaced under the name
    local own
    pull_by_hand init
    publish init
    pull_by_hand init
    own=$(image init)
    publish init
    apply 2
    did "docker-pull $HUB/init:latest"
    here "$own"
    settled
    docker image rm "$own"
    # Nor an image that nobody uses and this module never saw.
    [ -n "$(here "$HUB/telemetry:latest")" ]
}

cut_pull() { # what a pull that was cut off has brought, was brought by it
    local old middle
    old=$(image init)
    publish init
    printf 'pulled %s\npulling %s\n' "$old" "$old" >"$(record_of init)"
    pull_by_hand init
    middle=$(image init)
    apply 2
    did "docker-clean $HUB/init:latest"
    gone here "$old"
    settled
    publish init
    apply 2
    gone here "$middle"
    settled
}
record_of() { echo "$dir/state/image/$(sed 's/:/%3A/g; s,/,%2F,g' <<<"$HUB/$1:latest")"; }

failed_and_replaced() { # images that were no good, too
    local one two
    publish app 1000 "$broken"
    apply 6
    one=$(image app)
    publish app 1000 "$broken"
    apply 6
    gone here "$one"
    two=$(image app)
    publish app
    apply 2
    gone here "$two"
    [ -z "$(docker image ls -q --filter dangling=true)" ]
    settled
}

versions() { # where each version has a tag of its own
    local version id
    for version in 1 2 3; do
        publish "app-$version"
        app_with "run_args: [$kills, --network, none]"
        sed -i "s,app:latest,app-$version:latest," "$dir/conf/data/above.yaml"
        id=$(image "app-$((version - 1))" 2>/dev/null) || id=
        apply 2
        did "docker-pull $HUB/app-$version:latest" 'docker-recreate app'
        [ -z "$id" ] || gone here "$id"
        settled
    done
    plain_app
    apply 2
    gone here "$HUB/app-3:latest"
    settled
}

kept() { # where the images are not to be removed
    local old
    echo 'alm_pull::profile::raspberry_pi::settings: {remove_replaced: false}' >>"$dir/conf/data/above.yaml"
    old=$(image init)
    publish init
    apply 2
    here "$old"
    settled
    # And later they are: all that was pulled here.
    plain_app
    apply 2
    did "docker-clean $HUB/init:latest"
    gone here "$old"
    settled
}

# == When the registry is away ==

known() { # the state that the check and the pull have written, by the program itself
    "$PULL" --status --state "$dir/states/pull" --json "$HUB/${1-app}:latest" || true # it tells in its exit code how it is
}

state_is() { # KIND: in what the last check has written
    sed -i "s/\"kind\":\"[a-z-]*\"/\"kind\":\"$1\"/" "$dir/states/pull/"*app*.json
}

asked() { # EXIT-CODE: the helper's own answer, after a check that leaves the state as it is
    local code=0
    helper_image current --state "$dir/state" --run "$dir/states" "$HUB/app:latest" sh -c 'exit 3' || code=$?
    [ $code = "$1" ] || { echo "exit $code instead of $1"; known; return 1; }
}
helper_image() { DOCKER_HOST=unix://$ENGINE_SOCKET "$dir/libexec/image" "$@"; }

skipped() {
    publish app
    link down
    local before kind
    before=$(state)
    # By the state that the check itself has written.
    settled
    known | grep '"text":"Cannot tell".*"kind":"unreachable"'
    untouched "$before"
    # What has stopped is healed in the ordinary way.
    docker stop app
    apply 2
    did 'docker-recreate app'
    settled
    # Where it is to be pulled all the same.
    node 'alm_pull::when_unknown: pull'
    apply 4
    said 'PULL FAILED'
    node
    settled
    # The other kinds, in the file of that check: what would pass, and what a pull has to tell of.
    for kind in rate-limit unreachable server-error; do state_is $kind; asked 0; done
    for kind in login certificate not-found other; do state_is $kind; asked 3; done
    state_is unreachable
    sed -i 's/"text":"Cannot tell"/"text":"Failed"/' "$dir/states/pull/"*app*.json
    asked 3
    # Another image's state says nothing of this one; nor do links.
    settled
    sed -i 's/app:latest/application:latest/' "$dir/states/pull/"*app*.json
    asked 3
    settled
    mkdir "$dir/elsewhere"
    mv "$dir/states/pull/"*app*.json "$dir/elsewhere"
    ln -s "$dir/elsewhere/"* "$dir/states/pull"
    asked 3
    # The state that outlives a start, where there is no newer one.
    rm "$dir/states/pull/"*app*.json
    mkdir -p "$dir/state/pull"
    mv "$dir/elsewhere/"* "$dir/state/pull"
    asked 0
    rm -r "$dir/state/pull" "$dir/elsewhere"
    link up
    apply 2
    runs app
    settled
    known | grep '"status":"Done"'
}

login_is_told() { # and not passed over, as a registry that is away is
    publish app
    log_out
    echo 'alm_pull::profile::raspberry_pi::settings: {docker_login: false}' >>"$dir/conf/data/above.yaml"
    echo nonsense >"$dir/token"
    apply 4
    said 'PULL FAILED'
    known | grep '"kind":"login"'
    tr -d '\n' <"$dir/lab/password" >"$dir/token"
    plain_app
    apply 2
    settled
}

absent() { # what is known of an image is forgotten, and what runs goes on
    local before
    above "app: {image: $HUB/app:latest, container: app, run_args: [$kills, --network, none]}" \
        "telemetry: {image: $HUB/telemetry:latest, container: telemetry, ensure: absent}"
    known telemetry | grep '"id":"'
    before=$(state)
    apply 2
    did "docker-forget $HUB/telemetry:latest"
    [ "$(known telemetry)" = '[]' ]
    untouched "$before"
    settled
    plain_app
    apply 2 || true
    settled
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
    did "docker-pull $HUB/app:latest" 'docker-recreate app'
    [ "$(digests)" = 1 ]
    unsaid 'no digest of a registry'
    settled
    # As old engines leave it, where a pull does not help: the program says so of app alone, and pulls nothing.
    cat >"$dir/bin/never" <<'SH'
#!/bin/sh
case " $* " in
*' --check '*/app:latest*) echo 'cannot tell: no digest is known'; exit "$(cat "$SAYS")" ;;
*' --retries '*/app:latest*) echo pulled >>"$PULLS"; exit ;;
esac
exec "$REAL" "$@"
SH
    chmod 755 "$dir/bin/never"
    lose_digest
    echo 3 >"$dir/says"
    : >"$dir/pulls"
    arguments --network none
    node "alm_pull::install: none" "alm_pull::executable: $dir/bin/never" \
        "alm_pull::environment: ['REAL=$PULL', 'PULLS=$dir/pulls', 'SAYS=$dir/says']"
    sed -i '/^alm_pull::install: file/d' "$dir/conf/data/node.yaml"
    pulls() { [ "$(wc -l <"$dir/pulls")" = "$1" ] || { echo "pulled $(wc -l <"$dir/pulls") times, not $1"; return 1; }; }
    # Told once, with its cure, and the container runs on what is here; not pulled again, whatever the check says and whether or not
    # a pull is wanted in doubt.
    apply 2
    did "docker-pull $HUB/app:latest" 'docker-recreate app'
    said "no digest of a registry is known for it here.*docker image rm $HUB/app:latest"
    pulls 1
    runs app
    settled
    echo 1 >"$dir/says"
    settled
    sed -i '1a alm_pull::when_unknown: pull' "$dir/conf/data/node.yaml"
    settled
    pulls 1
    # A day later, once.
    # shellcheck disable=SC2016 # expanded by the shell that sed starts
    sed -i -E 's/^(told [^ ]+) .*/echo "\1 $(($(date +%s) - 90000))"/e' "$(record_of app)"
    apply 2
    did "docker-pull $HUB/app:latest"
    said 'no digest of a registry is known'
    pulls 2
    settled
    # The cure helps.
    rm "$dir/bin/never" "$dir/app.tar"
    node
    arguments --network none
    docker rm -f app
    docker image rm "$HUB/app:latest"
    apply 2
    did "docker-pull $HUB/app:latest" 'docker-recreate app'
    [ "$(digests)" = 1 ]
    runs app
    settled
}
