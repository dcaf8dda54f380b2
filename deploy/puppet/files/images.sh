# shellcheck shell=sh
# What this module pulled, by the name it was pulled under: only that is ever removed, and never by force.
#
# The record `$state/image/NAME` has a line for each image that was pulled under NAME and may still be here:
#   pulled ID
#   kept ID       docker would not remove it (another image is built on it); tried again after the next pull alone
#   pulling ID    what NAME was when a pull began; one that was cut off may have brought another
#   told ID       that nothing can be found out about it has been said
# shellcheck disable=SC2154 # of container.sh and image.sh

image_id() { # NAME; into $answer, 1 where there is none
    answer=$(docker image inspect --format '{{.Id}}' "$1" 2>/dev/null)
}

record() { # NAME
    encoded=$(printf '%s' "$1" | sed 's/%/%25/g; s,/,%2F,g; s/:/%3A/g; s/@/%40/g')
    [ ${#encoded} -le 200 ] || encoded=$(printf '%.100s' "$encoded")-$(printf '%s' "$1" | sha256sum | cut -c -16)
    echo "$state/image/$encoded"
}

recorded() { # NAME: the ids that were pulled under it; where a pull was cut off, what it brought too
    file=$(record "$1")
    [ -e "$file" ] || return 0
    sed -n 's/^\(pulled\|kept\) //p' "$file"
    before=$(sed -n 's/^pulling //p' "$file")
    if [ -n "$before" ] && image_id "$1" && [ "$answer" != "$before" ]; then echo "$answer"; fi
}

rewrite() { # NAME LINES: the record has these lines, and no others
    file=$(record "$1")
    if [ -z "$2" ]; then rm -f "$file"; return; fi
    mkdir -p "${file%/*}"
    printf '%s\n' "$2" | grep . | sort -u | write 644 "$file"
}

used_images() {
    all=$(docker ps --all --quiet --no-trunc) || return
    # One may have gone meanwhile, as those that are run with --rm do.
    printf '%s\n' "$all" | xargs -r docker container inspect --format '{{.Image}}' 2>/dev/null || :
}

# What was pulled under NAME and is something else now, has no tag left, and nothing uses.
replaced() { # NAME
    if image_id "$1"; then current=$answer; else current=''; fi
    candidates=$(recorded "$1" | sort -u | grep -vxF "${current:-none}") || return 0
    used=$(used_images)
    for id in $candidates; do
        # An operator's tag would go with it.
        [ "$(docker image inspect --format '{{len .RepoTags}}' "$id" 2>/dev/null)" = 0 ] || continue
        printf '%s\n' "$used" | grep -qxF "$id" || echo "$id"
    done
}

remove_replaced() { # NAME
    gone=$(replaced "$1")
    lines=$(grep '^told ' "$(record "$1")" 2>/dev/null) || lines=''
    for id in $(recorded "$1"); do
        case "
$gone
" in
        *"
$id
"*)
            if text=$(docker image rm "$id" 2>&1 >/dev/null); then say "removed the replaced image $id"; continue; fi
            say "kept the replaced image $id: $(printf '%s' "$text" | plain)"
            lines="$lines
kept $id"
            ;;
        # Somebody may have removed it.
        *) ! image_id "$id" || lines="$lines
pulled $id" ;;
        esac
    done
    rewrite "$1" "$lines"
}

# The image that a container ran before. Under another name, as with tags that are versions, the name goes with it.
remove_image_of_before() { # IMAGE NAME-OF-NOW NAME-OF-THEN
    remove_replaced "$2"
    [ "$2" != "$3" ] && recorded "$3" | grep -qxF "$1" || return 0
    ! used_images | grep -qxF "$1" || return 0
    if text=$(docker image rm "$3" 2>&1 >/dev/null); then say "removed the replaced image $3"
    else say "kept the replaced image $3: $(printf '%s' "$text" | plain)"; fi
    remove_replaced "$3"
}
