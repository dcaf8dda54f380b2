# shellcheck shell=sh
# The files that survive an interrupted run: the journal of a change, with the mark of what was rolled back, and the public state.
#
# Each line of the journal `.NAME.journal` (mode 0600) is a key and its value. If it has a `step`, a change is under way:
#   step   proving: the new container is taking the place of the old one, or is in its trial
#          good: the new one has passed    back: the old one returns
#   old, new, policy   the ids of the containers (`old` is empty if there was none), and the restart policy of the old one
#   was    the image that the old one ran, and the name of this image
#   pair   the fingerprint of the attempt: a digest of image, arguments and what these refer to
# The rest is about the last attempt that failed its trial; it stays until another image or other arguments are tried:
#   mark, reason    its fingerprint, and why it failed
#   tries, marked   the number of its attempts, and the time of the last one (seconds since 1970)
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

label=alm_pull

lock() {
    mkdir -p "$states"
    # Programs that a killed run has started inherit the lock, so it stays locked while one of them is still at work.
    exec 9>"$states/.$name.lock"
    flock -n 9 || { say 'another run is changing it' >&2; exit 1; }
}

load_journal() {
    step='' old='' new='' policy='' was='' attempt='' mark='' reason='' tries='' marked=''
    [ -e "$states/.$name.journal" ] || return 0
    while read -r key value; do
        case $key in
        step) step=$value ;; old) old=$value ;; new) new=$value ;;
        policy) policy=$value ;; was) was=$value ;; pair) attempt=$value ;;
        mark) mark=$value ;; reason) reason=$value ;; tries) tries=$value ;; marked) marked=$value ;;
        esac
    done <"$states/.$name.journal"
    # The shell would read a number with a leading zero as octal.
    case $tries in '' | 0* | *[!0-9]*) mark='' ;; esac
    case $marked in '' | 0* | *[!0-9]*) mark='' ;; esac
    case $step:$new in
    :* | proving:?* | good:?* | back:?*) ;;
    *) say "its journal $states/.$name.journal is damaged, and is ignored"; step='' ;;
    esac
}

save_journal() {
    if [ -z "$step$mark" ]; then rm -f "$states/.$name.journal"; sync "$states"; return; fi
    {
        [ -z "$step" ] || printf '%s\n' "step $step" "old $old" "new $new" "policy $policy" "was $was" "pair $attempt"
        [ -z "$mark" ] || printf '%s\n' "mark $mark" "tries $tries" "marked $marked" "reason $reason"
    } | write_atomically 600 "$states/.$name.journal"
}

# A full disk must not keep the old container stopped. If the journal could not be written, the next run finds the earlier one and
# repeats the same step.
save_if_possible() { save_journal || say "its journal $states/.$name.journal cannot be written" >&2; }

# What identifies an attempt: the image, the arguments and what they refer to.
fingerprint() { printf '%s\n' "$1" "$arguments" "$resolved" | sha256sum | cut -d ' ' -f 1; } # IMAGE-ID

# Marks this attempt as failed, because of $reason.
set_mark() {
    if [ "$mark" = "$attempt" ]; then tries=$((tries + 1)); else tries=1; fi
    mark=$attempt marked=$(date +%s)
}

# Called when NAME is as it should be. A mark of another image or of other arguments is removed: if these are wanted again, they are
# tried at once. If another run holds the lock, that run does this.
clear_mark() {
    [ -n "$mark" ] && image_id "$image" && [ "$mark" != "$(fingerprint "$answer")" ] || return 0
    mark=''
    if [ "$mode" = current ]; then (lock && load_journal && [ -z "$step" ] && mark='' && save_journal) 2>/dev/null || :
    else save_if_possible; fi
}

# The time of the next try, in seconds since 1970: after 1, 4 and 24 hours, then daily.
next_try() {
    case $tries in 1) echo $((marked + 3600)) ;; 2) echo $((marked + 4 * 3600)) ;; *) echo $((marked + 24 * 3600)) ;; esac
}
utc() { date -u -d "@$1" +%Y-%m-%dT%H:%MZ; } # SECONDS

# Whether this attempt has failed before and it is too early to try it again.
is_held_back() { # FINGERPRINT
    [ -n "$mark" ] && [ "$mark" = "$1" ] || return 1
    now=$(date +%s)
    # If the clock is more than a day behind the mark, it was wrong then or is wrong now, so the times cannot be compared.
    [ "$now" -lt "$(next_try)" ] && [ "$now" -gt $((marked - 24 * 3600)) ]
}

# Writes the state of the container for `alm status` and the agent; everybody may read it.
publish() { # STATUS [DETAILS]
    digest='' since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    if inspect '{{.Image}}' "$name"; then
        digest=$(docker image inspect --format '{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}' "$answer" 2>/dev/null) || digest=
    fi
    details=$(printf '%s' "${2-}" | printable_ascii | tr '\n' ' ' | cut -c -1000 | sed 's/["\\]/\\&/g')
    line='{"v":1,"name":"'$name'","image":"'$image'","digest":"'${digest##*@}'","status":"'$1'","since":"'
    before=$(cat "$states/$name.json" 2>/dev/null) || before=
    case $before in
    "$line"*'","details":"'"$details"'"}') return ;;
    *'"status":"'"$1"'","since":"'*) since=${before#*'"since":"'} since=${since%%'"'*} ;;
    esac
    # A failure here is only reported: no container is stopped, or stays stopped, because of it.
    printf '%s\n' "$line$since"'","details":"'"$details"'"}' | write_atomically 644 "$states/$name.json" ||
        say "its state $states/$name.json cannot be written" >&2
}
