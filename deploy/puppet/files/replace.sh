# shellcheck shell=sh
# The change from an old container to a new one. It can be interrupted anywhere: each step inspects the actual state, does what
# is missing, and never removes the old container before the journal says that the new one has passed its trial.
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

# Sets $answer to what docker knows of a container; fails if there is none. If docker does not answer, the run ends here.
inspect() { # FORMAT CONTAINER
    [ -n "$2" ] || return 1
    if answer=$(docker container inspect --format "{{.Name}} $1" "$2" 2>/dev/null); then
        # If no container is called `db`, docker returns one whose id begins with it.
        case $2:$answer in
        "$name:/$name "* | "$name.old:/$name.old "* | "$name.new:/$name.new "*) ;;
        "$name:"* | "$name.old:"* | "$name.new:"*) return 1 ;;
        esac
        answer=${answer#* }
        return
    fi
    answer=$(docker container inspect --format . "$2" 2>&1 >/dev/null) || case $answer in *[Nn]o\ such*) return 1 ;; esac
    report "docker cannot inspect $2: $answer" >&2
    exit 3
}

is_named() { inspect '{{.Name}}' "$1" && [ "${answer#/}" = "$2" ]; } # CONTAINER NAME
has_foreign_name() { inspect . "$1" && ! is_named "$1" "$name" && ! is_named "$1" "$name.old" && ! is_named "$1" "$name.new"; }
is_ours() { inspect "{{index .Config.Labels \"$label.arguments\"}}" "$1" && [ -n "$answer" ]; }

# Continues a change that an earlier run began, also if its journal is lost, as on a node that does not keep /var.
finish_interrupted_change() { # ARGUMENT...
    if [ -n "$step" ]; then
        # A container with another name is an operator's, or the journal was copied from another node.
        ! has_foreign_name "$old" || { report "container $old has another name now and is left alone" >&2; old=''; }
        ! has_foreign_name "$new" || { report "container $new has another name now and is left alone" >&2; new=''; }
    fi
    if [ -z "$step" ] && is_ours "$name.old"; then
        inspect '{{.Id}}' "$name.old" && old=$answer
        if inspect '{{.Id}}' "$name" || inspect '{{.Id}}' "$name.new"; then
            new=$answer step=proving
            read_policy "$new"
        else
            # Its restart policy was only in the journal: it runs without one until this same run replaces it.
            step=back reason='' policy=no:0 policy_is_unknown=yes
        fi
    fi
    case $step in
    proving) continue_change "$@" ;;
    good) finish_change ;;
    back) roll_back "$@" ;;
    esac
}

# Sets $new to the id of a container that is created from these arguments.
create() { # ARGUMENT...
    for other in new old; do
        inspect . "$name.$other" || continue
        # Created by a run that was interrupted before it wrote the journal: this container has never run.
        if [ $other = new ] && is_ours "$name.new"; then docker rm --force --volumes "$name.new" >/dev/null; continue; fi
        report "not touched: the name $name.$other is needed for the change, and another container has it" >&2
        exit 1
    done
    # Without --pull never, docker would pull a missing image here, without progress and log.
    docker create --pull never --name "$name.new" --label "$label.arguments=$arguments" --label "$label.refers=$resolved" \
        "$@" >/dev/null
    inspect '{{.Id}}' "$name.new"
    new=$answer
}

replace() { # ARGUMENT...
    old='' policy='' old_image=''
    # A dead container (the engine could not remove it) can be neither stopped nor started nor renamed.
    if inspect '{{.State.Dead}}' "$name" && [ "$answer" = true ]; then
        docker rm --force "$name" >/dev/null || { report 'not touched: it is dead, and the engine cannot remove it' >&2; exit 1; }
    fi
    if inspect '{{.Id}} {{.Image}} {{.Config.Image}}' "$name"; then
        old=${answer%% *} old_image=${answer#* }
        read_policy "$name"
    fi
    create "$@"
    step=proving
    save_journal || {
        docker rm --force --volumes "$new" >/dev/null
        report "not touched: its journal $states/.$name.journal cannot be written" >&2
        exit 1
    }
    continue_change "$@"
}

continue_change() { # ARGUMENT...
    if ! inspect . "$new"; then
        step=back reason='the new container was removed'
        save_journal_if_possible
        roll_back "$@"
        return
    fi
    if [ -n "$old" ] && inspect . "$old"; then
        # The policy comes first: an engine that is restarted now would start the old container as well.
        docker update --restart=no "$old" >/dev/null
        inspect '{{.HostConfig.AutoRemove}}' "$old" && removes_itself=$answer || removes_itself=''
        docker stop "$old" >/dev/null
        # A container of `docker run --rm` removes itself a moment later. If it were renamed meanwhile, its name would stay taken.
        if [ "$removes_itself" = true ]; then
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
    if [ "$answer" = true ] || reason=$(docker start "$new" 2>&1 >/dev/null) && run_trial; then
        step=good
        save_journal
        finish_change
        return
    fi
    reason=$(printf '%s' "$reason" | to_ascii | tr '\n' ' ' | cut -c -500)
    output=$(docker logs --tail 20 "$new" 2>&1) || output=
    set_mark
    step=back
    save_journal_if_possible
    report "$image failed its trial: $reason" >&2
    [ -z "$output" ] || printf '%s\n' "$output" | to_ascii | cut -c -500 | sed 's/^/its log: /' >&2
    roll_back "$@"
    exit 1
}

# The trial: the new container must run for $grace seconds without a restart or, if it has a health check, become healthy. An
# unhealthy container is not given up at once: a program that starts slowly is unhealthy at first if its check allows too
# little time.
run_trial() {
    [ "$grace" -gt 0 ] || return 0
    began=''
    while inspect '{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}} {{.State.Pid}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' "$new" ||
        { reason='it was removed'; return 1; }; do
        # shellcheck disable=SC2086 # words without blanks
        set -- $answer
        [ "$2" = 0 ] || { reason="it was restarted ($2 times), last with exit code $3"; return 1; }
        case $1 in exited | dead | restarting | removing) reason="it ended with exit code $3"; return 1 ;; esac
        now=$(uptime_seconds)
        [ -n "$began" ] || began=$((now - $(age_of "$4" "$now")))
        case $5 in
        healthy) return ;;
        none) [ $((now - began)) -lt "$grace" ] || [ "$1" != running ] || return 0 ;;
        esac
        [ $((now - began)) -lt "$grace_limit" ] || [ $((now - began)) -lt "$grace" ] ||
            { reason="it is not healthy after $grace_limit seconds ($1, health: $5)"; return 1; }
        sleep 1
    done
}

uptime_seconds() { cut -d . -f 1 /proc/uptime; }

# How long a process has run, in seconds. The kernel counts from the boot, so a clock that was set meanwhile does not matter. 0 if
# the process is not visible.
age_of() { # PID UPTIME
    ticks=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20)
    echo $(($2 - ${ticks:-$(($2 * $(getconf CLK_TCK)))} / $(getconf CLK_TCK)))
}

# The last step after a passed trial.
finish_change() {
    publish Running
    [ -z "$old" ] || ! inspect . "$old" || docker rm --force "$old" >/dev/null
    inspect '{{.Image}}' "$new" || answer='it was removed'
    report "${old:+re}created on $image ($answer)"
    if [ -n "$remove_replaced" ] && [ -n "$old_image" ]; then remove_previous_image "${old_image%% *}" "$image" "${old_image#* }"; fi
    step='' mark=''
    save_journal
}

# Removes the new container and starts the old one.
roll_back() { # ARGUMENT...
    if [ -z "$old" ] || ! inspect . "$old"; then
        # There is no old container. The new one stays: its restart policy may start it successfully later.
        ! is_named "$new" "$name.new" || docker rename "$new" "$name"
        step=''
        save_journal_if_possible
        publish Failed "$reason"
        return
    fi
    ! inspect . "$new" || docker rm --force --volumes "$new" >/dev/null
    is_named "$old" "$name" || docker rename "$old" "$name"
    docker update --restart="$(policy_option)" "$old" >/dev/null || report "its restart policy $(policy_option) cannot be restored" >&2
    if docker start "$old" >/dev/null; then
        report 'the old container runs again' >&2
        restart_dependents
        step=''
        save_journal_if_possible
        publish 'Rolled back' "$reason"
        return
    fi
    # A container or network with which the old container was created may be gone. Then its image is started with the present ones.
    inspect "{{.Image}} {{index .Config.Labels \"$label.refers\"}}" "$old"
    if [ "${answer#* }" != "$resolved" ] && [ "$image_at" -gt 0 ]; then
        before=$old
        create_with_image "${answer%% *}" "$@"
        docker rename "$before" "$name.old"
        old=$new new=$before
        read_policy "$old"
        save_journal_if_possible
        roll_back "$@"
        return
    fi
    step=''
    save_journal_if_possible
    publish Failed "$reason"
    report 'the old container does not start either' >&2
}

# Sets $policy to NAME:MAXIMUM-RETRY-COUNT.
read_policy() { inspect '{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}' "$1" && policy=$answer; } # CONTAINER
policy_option() {
    case $policy in on-failure:[1-9]*) echo "$policy" ;; :*) echo no ;; *) echo "${policy%%:*}" ;; esac
}

create_with_image() { # IMAGE ARGUMENT...
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

# Restarts the containers that use namespaces of the old one: it was stopped, so these namespaces are dead.
restart_dependents() {
    docker ps --quiet --no-trunc --filter "label=$label.arguments" | while read -r dependent; do
        [ "$dependent" != "$old" ] || continue
        ! has_dead_namespace "$dependent" || docker restart "$dependent" >/dev/null
    done
}

# Starts the container as it is, if it does not run.
keep_running() {
    inspect '{{.State.Status}}' "$name" || return 0
    case $answer in
    running) has_dead_namespace "$name" || return 0; docker restart "$name" >/dev/null; report 'restarted: its namespace was dead' ;;
    restarting | paused) ;;
    *) docker start "$name" >/dev/null || return; report 'started' ;;
    esac
}
