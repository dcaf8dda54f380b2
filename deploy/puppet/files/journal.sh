# shellcheck shell=sh
# What outlives a run that is cut off: the journal of a change, the mark of what was rolled back, and the public state.
#
# The journal `.NAME.journal` (0600) has a key and its value a line. A change is under way where it has a `step`:
#   step   proving: the old one is being replaced by the new one, or this proves itself
#          good: the new one stays    back: the old one returns
#   old, new, policy   the containers' ids (no old: there was none), and the restart policy of the old one
#   was    the image that the old one ran, and the name it had for it
#   pair   what is tried: the digest of image, arguments and what they refer to
# and the last that was no good, until another image or other arguments are tried:
#   mark, reason   its pair, and why    tries, marked   how often it was tried, and when it was last (seconds since 1970)
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # variables of container.sh, and functions in subshells

label=alm_pull

lock() {
    mkdir -p "$states"
    # What a run that was killed has started, and is still at it, holds the lock too.
    exec 9>"$states/.$name.lock"
    flock -n 9 || { say 'another run is at it' >&2; exit 1; }
}

load_journal() {
    step='' old='' new='' policy='' was='' pair='' mark='' reason='' tries='' marked=''
    [ -e "$states/.$name.journal" ] || return 0
    while read -r key value; do
        case $key in
        step) step=$value ;; old) old=$value ;; new) new=$value ;;
        policy) policy=$value ;; was) was=$value ;; pair) pair=$value ;;
        mark) mark=$value ;; reason) reason=$value ;; tries) tries=$value ;; marked) marked=$value ;;
        esac
    done <"$states/.$name.journal"
    # A leading zero is octal in arithmetic.
    case $tries in '' | 0* | *[!0-9]*) mark='' ;; esac
    case $marked in '' | 0* | *[!0-9]*) mark='' ;; esac
    case $step:$new in
    :* | proving:?* | good:?* | back:?*) ;;
    *) say "its journal $states/.$name.journal is damaged, and not read"; step='' ;;
    esac
}

save_journal() {
    if [ -z "$step$mark" ]; then rm -f "$states/.$name.journal"; sync "$states"; return; fi
    {
        [ -z "$step" ] || printf '%s\n' "step $step" "old $old" "new $new" "policy $policy" "was $was" "pair $pair"
        [ -z "$mark" ] || printf '%s\n' "mark $mark" "tries $tries" "marked $marked" "reason $reason"
    } | write 600 "$states/.$name.journal"
}

# Where the old container has to run again, a full disk is no reason to leave it stopped: a run that finds the journal as it was
# before does the same once more.
save_if_possible() { save_journal || say "its journal $states/.$name.journal cannot be written" >&2; }

pair() { printf '%s\n' "$1" "$arguments" "$resolved" | sha256sum | cut -d ' ' -f 1; } # IMAGE-ID

set_mark() { # what is tried was no good, because of $reason
    if [ "$mark" = "$pair" ]; then tries=$((tries + 1)); else tries=1; fi
    mark=$pair marked=$(date +%s)
}

# NAME is as it is wanted. What was rolled back is another image or other arguments then, and can be tried at once when it comes
# again. Another run that holds the lock does it itself.
lift_mark() {
    [ -n "$mark" ] && image_id "$image" && [ "$mark" != "$(pair "$answer")" ] || return 0
    mark=''
    if [ "$mode" = current ]; then (lock && load_journal && [ -z "$step" ] && mark='' && save_journal) 2>/dev/null || :
    else save_if_possible; fi
}

again() { # when it is tried again: after 1, 4 and 24 hours, then daily
    case $tries in 1) echo $((marked + 3600)) ;; 2) echo $((marked + 4 * 3600)) ;; *) echo $((marked + 24 * 3600)) ;; esac
}
when_again() { echo "after $(date -u -d "@$(again)" +%Y-%m-%dT%H:%MZ)"; }

holds() { # PAIR
    [ -n "$mark" ] && [ "$mark" = "$1" ] || return 1
    now=$(date +%s)
    # A clock that is a day behind the mark was wrong then or is now: it tells nothing.
    [ "$now" -lt "$(again)" ] && [ "$now" -gt $((marked - 24 * 3600)) ]
}

publish() { # STATUS [DETAILS]: the state of design that everybody may read
    digest='' since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    if look '{{.Image}}' "$name"; then
        digest=$(docker image inspect --format '{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}' "$answer" 2>/dev/null) || digest=
    fi
    details=$(printf '%s' "${2-}" | plain | tr '\n' ' ' | cut -c -1000 | sed 's/["\\]/\\&/g')
    line='{"v":1,"name":"'$name'","image":"'$image'","digest":"'${digest##*@}'","status":"'$1'","since":"'
    before=$(cat "$states/$name.json" 2>/dev/null) || before=
    case $before in
    "$line"*'","details":"'"$details"'"}') return ;;
    *'"status":"'"$1"'","since":"'*) since=${before#*'"since":"'} since=${since%%'"'*} ;;
    esac
    # Nobody's container stops or stays stopped because this cannot be written.
    printf '%s\n' "$line$since"'","details":"'"$details"'"}' | write 644 "$states/$name.json" ||
        say "its state $states/$name.json cannot be written" >&2
}
