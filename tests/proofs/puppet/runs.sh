# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: the runs of a node, their environment, and runs that end too early.
# shellcheck disable=SC2154,SC2034 # variables of tests/proofs/puppet.sh

fresh_noop() {
    apply 0 --noop
    [ -z "$(docker ps -aq)" ]
    [ -z "$(image app)" ]
    [ ! -e "$dir/libexec" ]
    output_has 'Exec\[docker-pull .*/app:latest\]/returns: .*noop'
    output_has 'Exec\[docker-recreate app\]/returns: .*noop'
    output_lacks '^(Error|Warning):'
    # The same with the helpers and without the executable, as after a first run that could not install it.
    mkdir "$dir/libexec"
    for helper in "$module"/files/*.sh; do install -m 755 "$helper" "$dir/libexec/"; done
    for helper in container image login; do mv "$dir/libexec/$helper.sh" "$dir/libexec/$helper"; done
    apply 0 --noop
    output_has 'Exec\[docker-pull .*/app:latest\]/returns: .*noop'
    output_has 'Exec\[docker-recreate app\]/returns: .*noop'
    output_lacks '^(Error|Warning):'
    rm -r "$dir/libexec"
}

first_run() {
    # The old script, and an alm of somebody else, are there before.
    printf '#!/bin/bash\nexit 99\n' | tee "$dir/bin/docker-pull-with-progress" >"$dir/bin/alm"
    chmod 755 "$dir"/bin/*
    apply 2
    executed_only "docker-login $HUB" "docker-pull $HUB/"{init,app,telemetry}:latest docker-recreate\ {app,telemetry}
    runs app; runs telemetry
    [ "$(image init)" = "$(cat "$dir/published-init")" ]
    output_lacks '^(Error|Warning):'
    [ "$(grep -c 'PULL SUCCESSFUL' "$dir/log/docker-pull.log")" = 3 ]
    output_has 'docker-pull .*Overall Progress: \[#+\] 100%'
}

second_run() {
    local before log
    before=$(engine_state) log=$(cksum <"$dir/log/docker-pull.log")
    changes_nothing
    is_unchanged "$before"
    [ "$(cksum <"$dir/log/docker-pull.log")" = "$log" ]
}

noop_pulls_nothing() {
    publish app
    local before
    before=$(engine_state)
    apply 0 --noop
    output_has 'Exec\[docker-pull .*/app:latest\]/returns: .*noop'
    output_lacks 'Exec\[docker-pull .*/(init|telemetry):latest\]'
    is_unchanged "$before"
}

# A run that pulls the new image of app and recreates only app, without a leftover and in pure ASCII.
pulls_and_recreates() {
    local old telemetry
    old=$(image app) telemetry=$(container telemetry)
    apply 2
    executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
    runs app
    [ "$(container telemetry)" = "$telemetry" ]
    fails docker image inspect "$old"
    no_leftovers
    output_lacks '^(Error|Warning):'
    fails env LC_ALL=C grep '[^ -~]' "$dir/out"
}

new_image() { publish app; pulls_and_recreates; }

new_arguments() {
    arguments --network none --env greeting=hello
    apply 2
    executed_only 'docker-recreate app'
    docker container inspect -f '{{.Config.Env}}' app | grep -q greeting=hello
    changes_nothing
    arguments --network none
    apply 2
    executed_only 'docker-recreate app'
}

removed_by_hand() { docker rm -f app; apply 2; executed_only 'docker-recreate app'; runs app; changes_nothing; }

stopped_by_hand() { docker stop app; apply 2; executed_only 'docker-recreate app'; runs app; }

slow_engine_script() {
    cat <<'RUBY'
# Relays the socket ARGV[0] to the engine's socket ARGV[1]. While the file ARGV[2] exists, a request about the container app is
# delayed for longer than the program's check waits, and the file gets a line.
require 'socket'
server = UNIXServer.new(ARGV[0])
loop do
  client = server.accept
  Thread.new do
    engine = UNIXSocket.new(ARGV[1])
    Thread.new do
      loop { client.write(engine.readpartial(16_384)) }
    rescue SystemCallError, IOError
      client.close rescue nil
    end
    loop do
      data = client.readpartial(16_384)
      if data.include?('/containers/app/json') && File.exist?(ARGV[2])
        File.write(ARGV[2], "slow\n", mode: 'a')
        sleep 12
      end
      engine.write(data)
    end
  rescue SystemCallError, IOError
    engine&.close
  end
end
RUBY
}

engine_too_slow() {
    local before
    before=$(engine_state)
    slow_engine_script >"$dir/slow.rb"
    touch "$dir/slow"
    ruby "$dir/slow.rb" "$dir/slow.sock" "$ENGINE_SOCKET" "$dir/slow" &
    relay=$!
    trap 'kill $relay; node' EXIT
    for _ in {1..100}; do [ ! -S "$dir/slow.sock" ] || break; sleep 0.1; done
    ENGINE_SOCKET=$dir/slow.sock node
    apply 4
    # By the check, and by the recreate once more.
    [ "$(wc -l <"$dir/slow")" -ge 2 ]
    output_has 'cannot tell'
    output_has 'container app: not touched'
    executed_only
    is_unchanged "$before"
    rm "$dir/slow"
    changes_nothing
}

recreate_when_current() {
    # An operator may run the helper, too.
    local before
    before=$(engine_state)
    DOCKER_HOST=unix://$ENGINE_SOCKET "$dir/libexec/container" recreate --state "$dir/state" \
        "$PULL" app "$HUB/app:latest" --stop-signal SIGKILL --network none "$HUB/app:latest"
    is_unchanged "$before"
}

image_missing() {
    publish telemetry
    node "alm_pull::profile::raspberry_pi::references: {app: $HUB/missing:latest}"
    local app
    app=$(container app)
    apply 6
    executed_only "docker-pull $HUB/telemetry:latest" 'docker-recreate telemetry'
    [ "$(container app)" = "$app" ]
    runs telemetry
    node
    changes_nothing
}

create_fails_once() {
    publish app
    local before
    before=$(container app)
    arguments --network none --mount "type=bind,source=$dir/data,target=/data"
    apply 6
    executed_only "docker-pull $HUB/app:latest"
    output_has 'bind source path does not exist'
    [ "$(docker container inspect -f '{{.State.Running}} {{.Id}}' app)" = "true $before" ]
    mkdir "$dir/data"
    apply 2
    executed_only 'docker-recreate app'
    runs app
    no_leftovers
    changes_nothing
    arguments --network none
    apply 2
}

start_fails_once() {
    publish app
    local before
    before=$(container app)
    arguments --network none --entrypoint /missing
    apply 6
    executed_only "docker-pull $HUB/app:latest"
    output_has 'failed its trial: .*no such file or directory'
    output_has 'the old container runs again'
    [ "$(docker container inspect -f '{{.State.Running}} {{.Id}}' app)" = "true $before" ]
    no_leftovers
    arguments --network none
    apply 2
    executed_only 'docker-recreate app'
    runs app
    no_leftovers
    changes_nothing
}

locale() { environment=("PATH=$PATH" "HOME=$dir/home" "$@"); publish app; pulls_and_recreates; }

cron() { environment=(PATH=/usr/bin:/bin HOME=/root LOGNAME=root SHELL=/bin/sh); publish app; pulls_and_recreates; changes_nothing; }

no_home() { environment=(PATH=/usr/bin:/bin); publish app; pulls_and_recreates; changes_nothing; }

# Without the module's own timeout of 0, the pull would be ended after 3 seconds.
long_pull() { # BYTES RATE [SECONDS]
    publish app "$1"
    rate "$2"
    cp "$dir/conf/site.pp" "$dir/site.pp.was"
    [ "${3-}" = 300 ] || sed -i '1i Exec { timeout => 3 }' "$dir/conf/site.pp"
    local began=$SECONDS took code=0
    apply 2 || code=$?
    took=$((SECONDS - began))
    mv "$dir/site.pp.was" "$dir/conf/site.pp"
    rate 0
    [ $code = 0 ]
    [ $took -gt "${3:-5}" ]
    executed_only "docker-pull $HUB/app:latest" 'docker-recreate app'
    runs app
}

timeout_set() {
    publish app 6000000
    rate 400000
    local before
    before=$(container app)
    node 'alm_pull::timeout: 3'
    apply 4
    output_has 'Command exceeded timeout'
    output_has 'docker-recreate app\]: Skipping because of failed dependencies'
    [ "$(container app)" = "$before" ]
    tail -n 3 "$dir/log/docker-pull.log"
    grep -q 'PULL INTERRUPTED (SIGTERM)' "$dir/log/docker-pull.log"
    rate 0
    node
    pulls_and_recreates
}

puppet_ended() { # SIGNAL
    publish app 6000000
    rate 400000
    local before agent
    before=$(container app)
    : >"$dir/log/docker-pull.log"
    run_puppet &
    # $! is a subshell; Puppet is its child.
    for _ in {1..300}; do ! grep -q 'queued' "$dir/log/docker-pull.log" || break; sleep 0.1; done
    agent=$(pgrep -P $! -f 'puppet apply' || echo $!)
    kill -s "$1" "$agent"
    wait $! || true
    sleep 1
    [ "$(container app)" = "$before" ]
    [ "$(image app)" != "$(cat "$dir/published-app")" ]
    cat "$dir/out"
    rate 0
    apply 2
    runs app
    no_leftovers
    changes_nothing
}
