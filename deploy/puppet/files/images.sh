# shellcheck shell=sh
# The record of the images that this module pulled, by the name under which it pulled them. Only these are ever removed, and
# never by force.
#
# The record `$state/image/NAME` has a line for each image that was pulled under NAME and may still be here:
#   pulled ID
#   kept ID             docker refused to remove it (another image is built on it); tried again only after the next pull
#   pulling ID          the image that NAME was when a pull began; if the pull was interrupted, NAME may be another image now
#   reported ID TIME    when the run last reported that it has no digest of a registry (seconds since 1970)
# shellcheck disable=SC2154 # variables of container.sh and image.sh

# Sets $answer to the id of an image; fails if there is none.
image_id() { # NAME
    answer=$(docker image inspect --format '{{.Id}}' "$1" 2>/dev/null)
}

# The path of the record of a name.
record_of() { # NAME
    encoded=$(printf '%s' "$1" | sed 's/%/%25/g; s,/,%2F,g; s/:/%3A/g; s/@/%40/g')
    [ ${#encoded} -le 200 ] || encoded=$(printf '%.100s' "$encoded")-$(printf '%s' "$1" | sha256sum | cut -c -16)
    echo "$state/image/$encoded"
}

# The ids of the images that were pulled under a name, including the image of a pull that was interrupted.
recorded_ids() { # NAME
    file=$(record_of "$1")
    [ -e "$file" ] || return 0
    sed -n 's/^\(pulled\|kept\) //p' "$file"
    before=$(sed -n 's/^pulling //p' "$file")
    if [ -n "$before" ] && image_id "$1" && [ "$answer" != "$before" ]; then echo "$answer"; fi
}

# Replaces all lines of a record.
write_record() { # NAME LINES
    file=$(record_of "$1")
    if [ -z "$2" ]; then rm -f "$file"; return; fi
    mkdir -p "${file%/*}"
    printf '%s\n' "$2" | grep . | sort -u | write_file 644 "$file"
}

# The ids of the images that any container uses, also if it has stopped.
used_ids() {
    all=$(docker ps --all --quiet --no-trunc) || return
    # A container may disappear between the two commands, for example one that was started with --rm.
    printf '%s\n' "$all" | xargs -r docker container inspect --format '{{.Image}}' 2>/dev/null || :
}

# The images that were pulled under a name, were replaced, have no tag, and are not used.
replaced_ids() { # NAME
    if image_id "$1"; then current=$answer; else current=''; fi
    candidates=$(recorded_ids "$1" | sort -u | grep -vxF "${current:-none}") || return 0
    used=$(used_ids)
    for id in $candidates; do
        # Removing the image would remove a tag that an operator has given it.
        [ "$(docker image inspect --format '{{len .RepoTags}}' "$id" 2>/dev/null)" = 0 ] || continue
        printf '%s\n' "$used" | grep -qxF "$id" || echo "$id"
    done
}

remove_replaced() { # NAME
    removable=$(replaced_ids "$1")
    lines=$(grep '^reported ' "$(record_of "$1")" 2>/dev/null) || lines=''
    for id in $(recorded_ids "$1"); do
        case "
$removable
" in
        *"
$id
"*)
            if text=$(docker image rm "$id" 2>&1 >/dev/null); then report "removed the replaced image $id"; continue; fi
            report "kept the replaced image $id: $(printf '%s' "$text" | to_ascii)"
            lines="$lines
kept $id"
            ;;
        # An operator may have removed it.
        *) ! image_id "$id" || lines="$lines
pulled $id" ;;
        esac
    done
    write_record "$1" "$lines"
}

# Removes the image that a container ran before a change. If each version has a tag of its own, the old tag is removed, too.
remove_previous_image() { # OLD-ID NEW-NAME OLD-NAME
    remove_replaced "$2"
    [ "$2" != "$3" ] && recorded_ids "$3" | grep -qxF "$1" || return 0
    ! used_ids | grep -qxF "$1" || return 0
    if text=$(docker image rm "$3" 2>&1 >/dev/null); then report "removed the replaced image $3"
    else report "kept the replaced image $3: $(printf '%s' "$text" | to_ascii)"; fi
    remove_replaced "$3"
}
