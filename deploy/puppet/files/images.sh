# shellcheck shell=sh
# The records of the images that this module pulled: only these are ever removed, and never by force.
#
# The record `$state/image/NAME` has a line for each image that was pulled under NAME and may still be here:
#   pulled ID
#   kept ID         docker refused to remove it (another image is built on it); tried again only after the next pull
#   pulling ID      the image NAME was this one when a pull began; if the pull was interrupted, NAME may be a newer image now
#   told ID TIME    at this time (seconds since 1970) the run reported that this image has no digest of a registry
# shellcheck disable=SC2154 # variables of container.sh and image.sh

# Sets $answer to the id of the image; fails if there is none.
image_id() { # NAME
    answer=$(docker image inspect --format '{{.Id}}' "$1" 2>/dev/null)
}

# The path of the record.
record() { # NAME
    encoded=$(printf '%s' "$1" | sed 's/%/%25/g; s,/,%2F,g; s/:/%3A/g; s/@/%40/g')
    [ ${#encoded} -le 200 ] || encoded=$(printf '%.100s' "$encoded")-$(printf '%s' "$1" | sha256sum | cut -c -16)
    echo "$state/image/$encoded"
}

# The ids of the images that were pulled under the name, with what an interrupted pull may have brought.
recorded() { # NAME
    file=$(record "$1")
    [ -e "$file" ] || return 0
    sed -n 's/^\(pulled\|kept\) //p' "$file"
    before=$(sed -n 's/^pulling //p' "$file")
    if [ -n "$before" ] && image_id "$1" && [ "$answer" != "$before" ]; then echo "$answer"; fi
}

# Replaces the lines of the record.
write_record() { # NAME LINES
    file=$(record "$1")
    if [ -z "$2" ]; then rm -f "$file"; return; fi
    mkdir -p "${file%/*}"
    printf '%s\n' "$2" | grep . | sort -u | write_atomically 644 "$file"
}

used_images() {
    all=$(docker ps --all --quiet --no-trunc) || return
    # A container may have been removed in between, for example one that runs with --rm.
    printf '%s\n' "$all" | xargs -r docker container inspect --format '{{.Image}}' 2>/dev/null || :
}

# The images that were pulled under NAME, are no longer NAME, have no tag left, and are not used by a container.
replaced() { # NAME
    if image_id "$1"; then current=$answer; else current=''; fi
    candidates=$(recorded "$1" | sort -u | grep -vxF "${current:-none}") || return 0
    used=$(used_images)
    for id in $candidates; do
        # `docker image rm ID` would remove an operator's tag, too.
        [ "$(docker image inspect --format '{{len .RepoTags}}' "$id" 2>/dev/null)" = 0 ] || continue
        printf '%s\n' "$used" | grep -qxF "$id" || echo "$id"
    done
}

remove_replaced() { # NAME
    unused=$(replaced "$1")
    lines=$(grep '^told ' "$(record "$1")" 2>/dev/null) || lines=''
    for id in $(recorded "$1"); do
        case "
$unused
" in
        *"
$id
"*)
            if text=$(docker image rm "$id" 2>&1 >/dev/null); then say "removed the replaced image $id"; continue; fi
            say "kept the replaced image $id: $(printf '%s' "$text" | printable_ascii)"
            lines="$lines
kept $id"
            ;;
        # Somebody may have removed it already.
        *) ! image_id "$id" || lines="$lines
pulled $id" ;;
        esac
    done
    write_record "$1" "$lines"
}

# Removes the image that the container ran before. If it has another name, for example a tag for each version, this name is removed too.
remove_previous_image() { # ID-OF-THE-PREVIOUS-IMAGE NAME PREVIOUS-NAME
    remove_replaced "$2"
    [ "$2" != "$3" ] && recorded "$3" | grep -qxF "$1" || return 0
    ! used_images | grep -qxF "$1" || return 0
    if text=$(docker image rm "$3" 2>&1 >/dev/null); then say "removed the replaced image $3"
    else say "kept the replaced image $3: $(printf '%s' "$text" | printable_ascii)"; fi
    remove_replaced "$3"
}
