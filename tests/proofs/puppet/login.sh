# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: logins, token files, secrets.
# shellcheck disable=SC2154,SC2034 # variables of tests/proofs/puppet.sh

wrong_password() {
    publish app
    local before
    before=$(engine_state)
    echo nonsense-4711 >"$dir/token"
    apply 4 --debug
    output_has 'docker-login .*401 Unauthorized|docker-login .*unauthorized'
    output_has "docker-pull .*/app:latest\]: Skipping because of failed dependencies"
    executed_only
    is_unchanged "$before"
    output_lacks nonsense-4711
    tr -d '\n' <"$dir/lab/password" >"$dir/token"
    # docker's own credentials are still right: only the file was wrong.
    apply 2
    executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
}

log_out() { env -i PATH="$PATH" DOCKER_CONFIG="$dir/docker" docker -H "unix://$ENGINE_SOCKET" logout "$HUB"; }

logged_out() {
    log_out
    apply 2
    executed_only "docker-login $HUB"
    changes_nothing
}

token_without_login() {
    log_out
    # The levels of Hiera are merged: the other settings stay.
    echo 'alm_pull::profile::raspberry_pi::settings: {docker_login: false}' >>"$dir/conf/data/override.yaml"
    publish app
    pulls_and_recreates
    changes_nothing
    fails grep '"auth"' "$dir/docker/config.json"
    arguments --network none
    apply 2
    executed_only "docker-login $HUB"
}

token_with_blanks() {
    local end
    for end in '\r\n' ' \t\n\n' '\n\r \n'; do
        { cat "$dir/lab/password"; printf '%b' "$end"; } >"$dir/token"
        # docker login.
        log_out
        arguments --network none
        publish app
        apply 2
        executed_only "docker-login $HUB" "docker-pull $HUB/app:latest" 'docker-recreate app'
        # Pull and check without docker login.
        log_out
        echo 'alm_pull::profile::raspberry_pi::settings: {docker_login: false}' >>"$dir/conf/data/override.yaml"
        publish app
        apply 2
        executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
        changes_nothing
    done
    arguments --network none
    apply 2
    executed_only "docker-login $HUB"
    tr -d '\n' <"$dir/lab/password" >"$dir/token"
    changes_nothing
}

no_secrets() {
    # Records the arguments and the environment of every docker command, too.
    mkdir "$dir/spy"
    printf '#!/bin/sh\n{ echo "docker $*"; env; } >>%s\nexec %s "$@"\n' "$dir/spy/seen" "$(type -P docker)" >"$dir/spy/docker"
    chmod 755 "$dir/spy/docker"
    log_out
    publish app
    node "alm_pull::path: [$dir/spy, /usr/bin, /bin]"
    apply 2 --debug
    executed_only "docker-login $HUB" "docker-pull $HUB/app:latest" 'docker-recreate app'
    cp "$dir/out" "$dir/spy/out"
    apply 0 --debug
    grep -q 'docker login --username fleet --password-stdin' "$dir/spy/seen"
    local secret
    for secret in "$(cat "$dir/lab/password")" "$(printf 'fleet:%s' "$(cat "$dir/lab/password")" | base64 -w0)"; do
        fails grep -rlF -- "$secret" "$dir/spy" "$dir/out" "$dir/var" "$dir/puppetlog" "$dir/run" "$dir/log" "$dir/public"
    done
    node
}
