# shellcheck shell=sh
# The change from one container to another, which can be cut off anywhere: each step looks at what is, does what is
# missing, and never removes the old container before the journal says that the new one is good.
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

# Into $answer what docker says of a container; 1 where there is none. Where docker does not say, the run ends here.
look() { # FORMAT CONTAINER
    [ -n "$2" ] || return 1
    if answer=$(docker container inspect --format "{{.Name}} $1" "$2" 2>/dev/null); then
        # Where there is no container `db`, docker takes the one whose id begins so.
        case $2:$answer in
        "$name:/$name "* | "$name.old:/$name.old "* | "$name.new:/$name.new "*) ;;
        "$name:"* | "$name.old:"* | "$name.new:"*) return 1 ;;
        esac
        answer=${answer#* }
        return
    fi
    answer=$(docker container inspect --format . "$2" 2>&1 >/dev/null) || case $answer in *[Nn]o\ such*) return 1 ;; esac
    say "docker does not tell of $2: $answer" >&2
    exit 3
}

is_named() { look '{{.Name}}' "$1" && [ "${answer#/}" = "$2" ]; } # CONTAINER NAME
is_strange() { look . "$1" && ! is_named "$1" "$name" && ! is_named "$1" "$name.old" && ! is_named "$1" "$name.new"; }
is_ours() { look "{{index .Config.Labels \"$label.arguments\"}}" "$1" && [ -n "$answer" ]; }

# What an earlier run left, also where the journal is lost, as on a node whose /var is not kept.
finish_what_was_cut_off() {
    if [ -n "$step" ]; then
        # Under another name it is an operator's, or the journal another node's.
        ! is_strange "$old" || { say "container $old has another name now, and is left alone" >&2; old=''; }
        ! is_strange "$new" || { say "container $new has another name now, and is left alone" >&2; new=''; }
    fi
    if [ -z "$step" ] && is_ours "$name.old"; then
        look '{{.Id}}' "$name.old" && old=$answer
        if look '{{.Id}}' "$name" || look '{{.Id}}' "$name.new"; then
            new=$answer step=proving
            policy_of "$new"
        else
            # Nobody knows its policy any more: it runs until it is replaced in this same run.
            step=back reason='' policy=no:0 unsettled=yes
        fi
    fi
    case $step in
    proving) carry_on "$@" ;;
    good) finish ;;
    back) back "$@" ;;
    esac
}

create() { # ARGUMENT...; its id is in $new
    for other in new old; do
        look . "$name.$other" || continue
        # Created by a run that was cut off before its journal: it has never run.
        if [ $other = new ] && is_ours "$name.new"; then docker rm --force --volumes "$name.new" >/dev/null; continue; fi
        say "not touched: container $name.$other is in the way" >&2
        exit 1
    done
    # Never a pull here: docker would do it without a word.
    docker create --pull never --name "$name.new" --label "$label.arguments=$arguments" --label "$label.refers=$resolved" \
        "$@" >/dev/null
    look '{{.Id}}' "$name.new"
    new=$answer
}

replace() {
    old='' policy='' was=''
    # What the engine could not remove does not stop, start or change its name.
    if look '{{.State.Dead}}' "$name" && [ "$answer" = true ]; then
        docker rm --force "$name" >/dev/null || { say 'not touched: it is dead, and the engine cannot remove it' >&2; exit 1; }
    fi
    if look '{{.Id}} {{.Image}} {{.Config.Image}}' "$name"; then
        old=${answer%% *} was=${answer#* }
        policy_of "$name"
    fi
    create "$@"
    step=proving pair=$wanted
    save_journal || {
        docker rm --force --volumes "$new" >/dev/null
        say "not touched: its journal $states/.$name.journal cannot be written" >&2
        exit 1
    }
    carry_on "$@"
}

carry_on() {
    if ! look . "$new"; then
        step=back reason='the new container is gone'
        save_if_possible
        back "$@"
        return
    fi
    if [ -n "$old" ] && look . "$old"; then
        # The policy first: an engine that is started again would start the old one too.
        docker update --restart=no "$old" >/dev/null
        look '{{.HostConfig.AutoRemove}}' "$old" && goes=$answer || goes=''
        docker stop "$old" >/dev/null
        # One that was run with --rm goes by itself, but not at once. Renamed while it goes, it would leave its name taken for ever.
        if [ "$goes" = true ]; then
            for _ in $(seq 30); do
                look . "$old" || break
                sleep 1
            done
        else
            ! is_named "$old" "$name" || docker rename "$old" "$name.old"
        fi
    fi
    ! is_named "$new" "$name.new" || docker rename "$new" "$name"
    publish Proving
    look '{{.State.Running}}' "$new"
    if [ "$answer" = true ] || reason=$(docker start "$new" 2>&1 >/dev/null) && prove; then
        step=good
        save_journal
        finish
        return
    fi
    reason=$(printf '%s' "$reason" | plain | tr '\n' ' ' | cut -c -500)
    last=$(docker logs --tail 20 "$new" 2>&1) || last=
    set_mark
    step=back
    save_if_possible
    say "$image is no good: $reason" >&2
    [ -z "$last" ] || printf '%s\n' "$last" | plain | cut -c -500 | sed 's/^/its log: /' >&2
    back "$@"
    exit 1
}

# Whether the new one runs for $grace seconds without a restart, or is healthy where it has a health check. An unhealthy one may
# still become so: a program that starts slowly is called unhealthy by a check that allows it too little time.
prove() {
    [ "$grace" -gt 0 ] || return 0
    began=''
    while look '{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}} {{.State.Pid}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' "$new" ||
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

# How long a process has run, by the kernel: a clock that was set meanwhile is not asked. 0 where it is not seen.
age() { # PID NOW
    ticks=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20)
    echo $(($2 - ${ticks:-$(($2 * $(getconf CLK_TCK)))} / $(getconf CLK_TCK)))
}

finish() {
    publish Running
    [ -z "$old" ] || ! look . "$old" || docker rm --force "$old" >/dev/null
    look '{{.Image}}' "$new" || answer='it is gone'
    say "${old:+re}created on $image ($answer)"
    if [ -n "$remove_replaced" ] && [ -n "$was" ]; then remove_image_of_before "${was%% *}" "$image" "${was#* }"; fi
    step='' mark=''
    save_journal
}

back() {
    if [ -z "$old" ] || ! look . "$old"; then
        # The new one stays as it is: its restart policy goes on trying.
        ! is_named "$new" "$name.new" || docker rename "$new" "$name"
        step=''
        save_if_possible
        publish Failed "$reason"
        return
    fi
    ! look . "$new" || docker rm --force --volumes "$new" >/dev/null
    is_named "$old" "$name" || docker rename "$old" "$name"
    docker update --restart="$(policy_option)" "$old" >/dev/null || say "its restart policy is not $(policy_option) again" >&2
    if docker start "$old" >/dev/null; then
        say 'the old one runs again' >&2
        restart_dependents
        step=''
        save_if_possible
        publish 'Rolled back' "$reason"
        return
    fi
    # What the old one was created with may be gone. Then the old image returns, with what is there now.
    look "{{.Image}} {{index .Config.Labels \"$label.refers\"}}" "$old"
    if [ "${answer#* }" != "$resolved" ] && [ "$image_at" -gt 0 ]; then
        before=$old
        create_with "${answer%% *}" "$@"
        docker rename "$before" "$name.old"
        old=$new new=$before
        policy_of "$old"
        save_if_possible
        back "$@"
        return
    fi
    step=''
    save_if_possible
    publish Failed "$reason"
    say 'the old one does not start either' >&2
}

policy_of() { look '{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}' "$1" && policy=$answer; }
policy_option() {
    case $policy in on-failure:[1-9]*) echo "$policy" ;; :*) echo no ;; *) echo "${policy%%:*}" ;; esac
}

create_with() { # IMAGE ARGUMENT...
    image_=$1 at=0
    shift
    for word; do
        shift
        at=$((at + 1))
        [ $at != "$image_at" ] || word=$image_
        set -- "$@" "$word"
    done
    create "$@"
}

# Those whose namespaces are the old one's: it was stopped, and theirs are dead.
restart_dependents() {
    docker ps --quiet --no-trunc --filter "label=$label.arguments" | while read -r dependent; do
        [ "$dependent" != "$old" ] || continue
        ! namespace_is_dead "$dependent" || docker restart "$dependent" >/dev/null
    done
}

# As it is, where nothing else is to be tried.
keep_running() {
    look '{{.State.Status}}' "$name" || return 0
    case $answer in
    running) namespace_is_dead "$name" || return 0; docker restart "$name" >/dev/null; say 'restarted: its namespace was dead' ;;
    restarting | paused) ;;
    *) docker start "$name" >/dev/null || return; say 'started' ;;
    esac
}

settled() { # NAME is as it should be: the state says so, also where it came to be so by itself
    case $(cat "$states/$name.json" 2>/dev/null) in
    *'"image":"'"$image"'",'*'"status":"Running",'*) ;;
    *) mkdir -p "$states" && publish Running ;;
    esac
}
