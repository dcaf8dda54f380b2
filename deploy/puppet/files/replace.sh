# shellcheck shell=sh
# Replaces a container by another one. A change can be interrupted at any point: each step first asks docker for the present state,
# does what is missing, and never removes the old container before the journal says that the new one has passed its trial.
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

# Sets $answer to what docker reports of a container; fails if there is none. If docker does not answer, the run ends here.
inspect() { # FORMAT CONTAINER
    [ -n "$2" ] || return 1
    if answer=$(docker container inspect --format "{{.Name}} $1" "$2" 2>/dev/null); then
        # If no container is named `db`, docker takes one whose id begins with these letters.
        case $2:$answer in
        "$name:/$name "* | "$name.old:/$name.old "* | "$name.new:/$name.new "*) ;;
        "$name:"* | "$name.old:"* | "$name.new:"*) return 1 ;;
        esac
        answer=${answer#* }
        return
    fi
    answer=$(docker container inspect --format . "$2" 2>&1 >/dev/null) || case $answer in *[Nn]o\ such*) return 1 ;; esac
    say "docker cannot inspect $2: $answer" >&2
    exit 3
}

is_named() { inspect '{{.Name}}' "$1" && [ "${answer#/}" = "$2" ]; } # CONTAINER NAME
is_renamed() { inspect . "$1" && ! is_named "$1" "$name" && ! is_named "$1" "$name.old" && ! is_named "$1" "$name.new"; }
is_managed() { inspect "{{index .Config.Labels \"$label.arguments\"}}" "$1" && [ -n "$answer" ]; }

# Completes or undoes the change of an interrupted run, even if the journal is lost, for example if /var does not survive a restart.
resume_interrupted_change() {
    if [ -n "$step" ]; then
        # With another name it belongs to an operator, or the journal is that of another node.
        ! is_renamed "$old" || { say "container $old has another name now, and is left alone" >&2; old=''; }
        ! is_renamed "$new" || { say "container $new has another name now, and is left alone" >&2; new=''; }
    fi
    if [ -z "$step" ] && is_managed "$name.old"; then
        inspect '{{.Id}}' "$name.old" && old=$answer
        if inspect '{{.Id}}' "$name" || inspect '{{.Id}}' "$name.new"; then
            new=$answer step=proving
            policy_of "$new"
        else
            # Its restart policy was only in the journal. It runs without one until this same run recreates it.
            step=back reason='' policy=no:0 must_recreate=yes
        fi
    fi
    case $step in
    proving) switch "$@" ;;
    good) finish ;;
    back) roll_back "$@" ;;
    esac
}

# Creates NAME.new, and sets $new to its id.
create() { # ARGUMENT...
    for other in new old; do
        inspect . "$name.$other" || continue
        # A run created it and was interrupted before it wrote the journal: the container has never run.
        if [ $other = new ] && is_managed "$name.new"; then docker rm --force --volumes "$name.new" >/dev/null; continue; fi
        say "not touched: container $name.$other is in the way" >&2
        exit 1
    done
    # docker must not pull here: it would do so without any progress.
    docker create --pull never --name "$name.new" --label "$label.arguments=$arguments" --label "$label.refers=$resolved" \
        "$@" >/dev/null
    inspect '{{.Id}}' "$name.new"
    new=$answer
}

replace() {
    old='' policy='' was=''
    # A dead container is one that the engine failed to remove: it cannot be stopped, started or renamed.
    if inspect '{{.State.Dead}}' "$name" && [ "$answer" = true ]; then
        docker rm --force "$name" >/dev/null || { say 'not touched: it is dead, and the engine cannot remove it' >&2; exit 1; }
    fi
    if inspect '{{.Id}} {{.Image}} {{.Config.Image}}' "$name"; then
        old=${answer%% *} was=${answer#* }
        policy_of "$name"
    fi
    create "$@"
    step=proving attempt=$wanted
    save_journal || {
        docker rm --force --volumes "$new" >/dev/null
        say "not touched: its journal $states/.$name.journal cannot be written" >&2
        exit 1
    }
    switch "$@"
}

# Stops the old container, starts the new one and runs its trial. Then either the new one stays, or the old one returns.
switch() {
    if ! inspect . "$new"; then
        step=back reason='the new container is gone'
        save_if_possible
        roll_back "$@"
        return
    fi
    if [ -n "$old" ] && inspect . "$old"; then
        # The policy goes first: an engine that is restarted now would start the old one, too.
        docker update --restart=no "$old" >/dev/null
        inspect '{{.HostConfig.AutoRemove}}' "$old" && auto_removed=$answer || auto_removed=''
        docker stop "$old" >/dev/null
        # A container with --rm is removed by the engine, but not at once. If it is renamed during that, the engine never frees its name.
        if [ "$auto_removed" = true ]; then
            for _ in $(seq 30); do
                inspect . "$old" || break
                sleep 1
            done
        else
            ! is_named "$old" "$name" || docker rename "$old" "$name.old"
        fi
    fi
    ! is_named "$new" "$name.new" || docker rename "$new" "$name"
    publish Proving
    inspect '{{.State.Running}}' "$new"
    if [ "$answer" = true ] || reason=$(docker start "$new" 2>&1 >/dev/null) && passes_trial; then
        step=good
        save_journal
        finish
        return
    fi
    reason=$(printf '%s' "$reason" | printable_ascii | tr '\n' ' ' | cut -c -500)
    log_end=$(docker logs --tail 20 "$new" 2>&1) || log_end=
    set_mark
    step=back
    save_if_possible
    say "$image failed its trial: $reason" >&2
    [ -z "$log_end" ] || printf '%s\n' "$log_end" | printable_ascii | cut -c -500 | sed 's/^/its log: /' >&2
    roll_back "$@"
    exit 1
}

# Whether the new container runs for $grace seconds without a restart, or becomes healthy if it has a health check. While it is unhealthy
# the trial goes on: a health check with a short start period reports a program that starts slowly as unhealthy at first.
passes_trial() {
    [ "$grace" -gt 0 ] || return 0
    began=''
    while inspect '{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}} {{.State.Pid}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' "$new" ||
        { reason='it is gone'; return 1; }; do
        # shellcheck disable=SC2086 # words without blanks
        set -- $answer
        [ "$2" = 0 ] || { reason="it was restarted ($2 times), last with exit code $3"; return 1; }
        case $1 in exited | dead | restarting | removing) reason="it ended with exit code $3"; return 1 ;; esac
        now=$(since_boot)
        [ -n "$began" ] || began=$((now - $(age "$4" "$now")))
        case $5 in
        healthy) return ;;
        none) [ $((now - began)) -lt "$grace" ] || [ "$1" != running ] || return 0 ;;
        esac
        [ $((now - began)) -lt "$grace_limit" ] || [ $((now - began)) -lt "$grace" ] ||
            { reason="it is not healthy after $grace_limit seconds ($1, health: $5)"; return 1; }
        sleep 1
    done
}

since_boot() { cut -d . -f 1 /proc/uptime; }

# The seconds since a process was started, by the kernel's own clock, which nobody can set. 0 if there is no such process.
age() { # PID NOW
    ticks=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20)
    echo $(($2 - ${ticks:-$(($2 * $(getconf CLK_TCK)))} / $(getconf CLK_TCK)))
}

finish() {
    publish Running
    [ -z "$old" ] || ! inspect . "$old" || docker rm --force "$old" >/dev/null
    inspect '{{.Image}}' "$new" || answer='it is gone'
    say "${old:+re}created on $image ($answer)"
    if [ -n "$remove_replaced" ] && [ -n "$was" ]; then remove_previous_image "${was%% *}" "$image" "${was#* }"; fi
    step='' mark=''
    save_journal
}

roll_back() {
    if [ -z "$old" ] || ! inspect . "$old"; then
        # The new one stays: its restart policy may start it again.
        ! is_named "$new" "$name.new" || docker rename "$new" "$name"
        step=''
        save_if_possible
        publish Failed "$reason"
        return
    fi
    ! inspect . "$new" || docker rm --force --volumes "$new" >/dev/null
    is_named "$old" "$name" || docker rename "$old" "$name"
    docker update --restart="$(policy_option)" "$old" >/dev/null || say "its restart policy is not $(policy_option) again" >&2
    if docker start "$old" >/dev/null; then
        say 'the old container runs again' >&2
        restart_dependents
        step=''
        save_if_possible
        publish 'Rolled back' "$reason"
        return
    fi
    # Something that the old container refers to may be gone. Then a container of the old image is created with what is there now.
    inspect "{{.Image}} {{index .Config.Labels \"$label.refers\"}}" "$old"
    if [ "${answer#* }" != "$resolved" ] && [ "$image_at" -gt 0 ]; then
        before=$old
        create_with "${answer%% *}" "$@"
        docker rename "$before" "$name.old"
        old=$new new=$before
        policy_of "$old"
        save_if_possible
        roll_back "$@"
        return
    fi
    step=''
    save_if_possible
    publish Failed "$reason"
    say 'the old container does not start either' >&2
}

policy_of() { inspect '{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}' "$1" && policy=$answer; }
policy_option() {
    case $policy in on-failure:[1-9]*) echo "$policy" ;; :*) echo no ;; *) echo "${policy%%:*}" ;; esac
}

# Like create, with another image.
create_with() { # IMAGE ARGUMENT...
    other_image=$1 at=0
    shift
    for word; do
        shift
        at=$((at + 1))
        [ $at != "$image_at" ] || word=$other_image
        set -- "$@" "$word"
    done
    create "$@"
}

# Restarts the containers that use namespaces of the old one: since that was stopped, these namespaces are dead.
restart_dependents() {
    docker ps --quiet --no-trunc --filter "label=$label.arguments" | while read -r dependent; do
        [ "$dependent" != "$old" ] || continue
        ! namespace_is_dead "$dependent" || docker restart "$dependent" >/dev/null
    done
}

# Starts the container as it is, when nothing else is to be tried.
ensure_running() {
    inspect '{{.State.Status}}' "$name" || return 0
    case $answer in
    running) namespace_is_dead "$name" || return 0; docker restart "$name" >/dev/null; say 'restarted: its namespace was dead' ;;
    restarting | paused) ;;
    *) docker start "$name" >/dev/null || return; say 'started' ;;
    esac
}

# Called when NAME is as it should be: writes that into its state, even if no run has changed the container.
publish_running() {
    case $(cat "$states/$name.json" 2>/dev/null) in
    *'"image":"'"$image"'",'*'"status":"Running",'*) ;;
    *) mkdir -p "$states" && publish Running ;;
    esac
}
