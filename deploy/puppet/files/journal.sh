# shellcheck shell=sh
# What must survive an interrupted run: the journal of a change, the mark of an image that was rolled back, the public state.
#
# The journal `.NAME.journal` (0600) has a line `KEY VALUE` for each key. While a change is under way it has a `step`:
#   step        proving: the old container is being replaced, or the new one is in its trial
#               good: the new container passed its trial and stays    back: the old container is being restored
#   old, new    the ids of the containers; `old` is empty if there was none
#   policy      the restart policy of the old container
#   old_image   the id of the image that the old container ran, and the name under which it ran it
#   candidate   what is being tried: the digest of the image, the arguments, and what they refer to
# What failed its trial last has a mark, until another image or other arguments have passed theirs:
#   mark, reason    its `candidate`, and why it failed
#   tries, marked   how often it was tried, and when it was tried last (seconds since 1970)
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

label=alm_pull

lock() {
    mkdir -p "$states"
    # Programs that a killed run has started inherit the lock: it is held until the last of them has ended.
    exec 9>"$states/.$name.lock"
    flock -n 9 || { report 'not touched: another run is changing it' >&2; exit 1; }
}

load_journal() {
    step='' old='' new='' policy='' old_image='' candidate='' mark='' reason='' tries='' marked=''
    [ -e "$states/.$name.journal" ] || return 0
    while read -r key value; do
        case $key in
        step) step=$value ;; old) old=$value ;; new) new=$value ;;
        policy) policy=$value ;; old_image) old_image=$value ;; candidate) candidate=$value ;;
        mark) mark=$value ;; reason) reason=$value ;; tries) tries=$value ;; marked) marked=$value ;;
        esac
    done <"$states/.$name.journal"
    # A number with a leading zero would be octal in arithmetic.
    case $tries in '' | 0* | *[!0-9]*) mark='' ;; esac
    case $marked in '' | 0* | *[!0-9]*) mark='' ;; esac
    case $step:$new in
    :* | proving:?* | good:?* | back:?*) ;;
    *) report "its journal $states/.$name.journal is damaged and is ignored"; step='' ;;
    esac
}

save_journal() {
    if [ -z "$step$mark" ]; then rm -f "$states/.$name.journal"; sync "$states"; return; fi
    {
        [ -z "$step" ] || printf '%s\n' "step $step" "old $old" "new $new" "policy $policy" "old_image $old_image" "candidate $candidate"
        [ -z "$mark" ] || printf '%s\n' "mark $mark" "tries $tries" "marked $marked" "reason $reason"
    } | write_file 600 "$states/.$name.journal"
}

# For steps on the way back to the old container: a full disk must not keep it stopped. The next run then finds the earlier
# journal, and does the same once more.
save_journal_if_possible() { save_journal || report "its journal $states/.$name.journal cannot be written" >&2; }

candidate_of() { printf '%s\n' "$1" "$arguments" "$resolved" | sha256sum | cut -d ' ' -f 1; } # IMAGE-ID

# Marks the candidate, which failed because of $reason.
set_mark() {
    if [ "$mark" = "$candidate" ]; then tries=$((tries + 1)); else tries=1; fi
    mark=$candidate marked=$(date +%s)
}

# The container is current, so what was rolled back is not wanted any more. If it is wanted later, it can be tried at once. If
# another run holds the lock, that run does this itself.
clear_mark() {
    [ -n "$mark" ] && image_id "$image" && [ "$mark" != "$(candidate_of "$answer")" ] || return 0
    mark=''
    if [ "$mode" = current ]; then (lock && load_journal && [ -z "$step" ] && mark='' && save_journal) 2>/dev/null || :
    else save_journal_if_possible; fi
}

# The time of the next try (seconds since 1970): after 1, 4 and 24 hours, then daily.
next_try() {
    case $tries in 1) echo $((marked + 3600)) ;; 2) echo $((marked + 4 * 3600)) ;; *) echo $((marked + 24 * 3600)) ;; esac
}
describe_next_try() { echo "after $(date -u -d "@$(next_try)" +%Y-%m-%dT%H:%MZ)"; }

# Whether this candidate was rolled back, and it is too early for the next try.
is_on_hold() { # CANDIDATE
    [ -n "$mark" ] && [ "$mark" = "$1" ] || return 1
    now=$(date +%s)
    # If the clock is more than a day behind the mark, it is wrong now or was wrong then: the candidate is tried.
    [ "$now" -lt "$(next_try)" ] && [ "$now" -gt $((marked - 24 * 3600)) ]
}

# Writes the container's public state, for `alm status` and the monitor.
publish() { # STATUS [DETAILS]
    digest='' since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    if inspect '{{.Image}}' "$name"; then
        digest=$(docker image inspect --format '{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}' "$answer" 2>/dev/null) || digest=
    fi
    details=$(printf '%s' "${2-}" | to_ascii | tr '\n' ' ' | cut -c -1000 | sed 's/["\\]/\\&/g')
    line='{"v":1,"name":"'$name'","image":"'$image'","digest":"'${digest##*@}'","status":"'$1'","since":"'
    before=$(cat "$states/$name.json" 2>/dev/null) || before=
    case $before in
    "$line"*'","details":"'"$details"'"}') return ;;
    *'"status":"'"$1"'","since":"'*) since=${before#*'"since":"'} since=${since%%'"'*} ;;
    esac
    # A container must not be stopped, or stay stopped, because its state cannot be written.
    printf '%s\n' "$line$since"'","details":"'"$details"'"}' | write_file 644 "$states/$name.json" ||
        report "its state $states/$name.json cannot be written" >&2
}

# The container is current: its public state must say so, also if an operator or the engine corrected it.
publish_running() {
    case $(cat "$states/$name.json" 2>/dev/null) in
    *'"image":"'"$image"'",'*'"status":"Running",'*) ;;
    *) mkdir -p "$states" && publish Running ;;
    esac
}

# Removes the public states of other containers that do not exist any more, for example because their entry got another name. If
# one of them is still kept, it gets a state again when it is created. One with a journal is being changed, or has failed.
forget_removed() {
    all=''
    for file in "$states"/*.json; do
        other=${file##*/} other=${other%.json}
        if [ ! -e "$file" ] || [ "$other" = "$name" ] || [ -e "$states/.$other.journal" ]; then continue; fi
        [ -n "$all" ] || all=$(docker ps --all --format '{{.Names}}' 2>/dev/null) || return 0
        printf '%s\n' "$all" | tr , '\n' | grep -qxF -e "$other" || rm -f "$file"
    done
}
