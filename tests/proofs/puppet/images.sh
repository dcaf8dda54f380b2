# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: which replaced images are removed.
# shellcheck disable=SC2154 # variables of tests/proofs/puppet.sh

image_without_container() {
    local old
    for _ in 1 2; do
        old=$(image init)
        publish init
        apply 2
        executed_only "docker-pull $HUB/init:latest"
        output_has "image $HUB/init:latest: removed the replaced image $old"
        fails local_id "$old"
        changes_nothing
    done
    [ -z "$(docker image ls -q --filter dangling=true)" ]
}

operators_tag() {
    local old app
    old=$(image init) app=$(image app)
    docker tag "$old" backup:keep
    docker tag "$app" backup:app
    publish init
    publish app
    apply 2
    executed_only "docker-pull $HUB/"{init,app}:latest 'docker-recreate app'
    [ "$(local_id backup:keep) $(local_id backup:app)" = "$old $app" ]
    changes_nothing
    # When the tags are gone, the next run removes the images.
    docker tag "$old" backup:other
    docker image rm backup:keep
    changes_nothing
    local_id backup:other
    docker image rm backup:other backup:app
    apply 2
    executed_only "docker-clean $HUB/"{init,app}:latest
    fails local_id "$old"
    fails local_id "$app"
    changes_nothing
}

used_by_another() {
    local old
    old=$(image init)
    docker create --name others --network none "$old"
    publish init
    apply 2
    output_lacks 'removed the replaced image'
    local_id "$old"
    changes_nothing
    docker rm others
    apply 2
    executed_only "docker-clean $HUB/init:latest"
    output_has "removed the replaced image $old"
    fails local_id "$old"
    changes_nothing
}

# docker refuses to remove it: that is not tried again in every run.
base_of_another() {
    local old
    old=$(image init)
    printf 'FROM %s\nENV a=b\n' "$HUB/init:latest" | DOCKER_BUILDKIT=0 docker build -q -t child:1 -
    publish init
    apply 2
    output_has "kept the replaced image $old: "
    changes_nothing
    docker image rm child:1
    publish init
    apply 2
    fails local_id "$old"
    changes_nothing
}

# An image that somebody else pulled or built under the name is never removed.
foreign_image() {
    local own
    pull_by_hand init
    publish init
    pull_by_hand init
    own=$(image init)
    publish init
    apply 2
    executed_only "docker-pull $HUB/init:latest"
    local_id "$own"
    changes_nothing
    docker image rm "$own"
    # An image of another name was not touched either.
    [ -n "$(local_id "$HUB/telemetry:latest")" ]
}

# The image of an interrupted pull counts as pulled by this module.
interrupted_pull() {
    local old middle
    old=$(image init)
    publish init
    printf 'pulled %s\npulling %s\n' "$old" "$old" >"$(record_of init)"
    pull_by_hand init
    middle=$(image init)
    apply 2
    executed_only "docker-clean $HUB/init:latest"
    fails local_id "$old"
    changes_nothing
    publish init
    apply 2
    fails local_id "$middle"
    changes_nothing
}

failed_and_replaced() {
    local one two
    publish app 1000 "$broken_command"
    apply 6
    one=$(image app)
    publish app 1000 "$broken_command"
    apply 6
    fails local_id "$one"
    two=$(image app)
    publish app
    apply 2
    fails local_id "$two"
    [ -z "$(docker image ls -q --filter dangling=true)" ]
    changes_nothing
}

versions() {
    local version id
    for version in 1 2 3; do
        publish "app-$version"
        app_with "run_args: [$sigkill, --network, none]"
        sed -i "s,app:latest,app-$version:latest," "$dir/conf/data/override.yaml"
        id=$(image "app-$((version - 1))" 2>/dev/null) || id=
        apply 2
        executed_only "docker-pull $HUB/app-$version:latest" 'docker-recreate app'
        [ -z "$id" ] || fails local_id "$id"
        changes_nothing
    done
    default_app
    apply 2
    fails local_id "$HUB/app-3:latest"
    changes_nothing
}

images_kept() {
    local old
    echo 'alm_pull::profile::raspberry_pi::settings: {remove_replaced: false}' >>"$dir/conf/data/override.yaml"
    old=$(image init)
    publish init
    apply 2
    local_id "$old"
    changes_nothing
    # With remove_replaced all images are removed that were pulled here before.
    default_app
    apply 2
    executed_only "docker-clean $HUB/init:latest"
    fails local_id "$old"
    changes_nothing
}
