#!/bin/bash
# The kind of script that the program replaces: shell-loop.sh SOCKET IMAGE LOG
# curl and a loop; a bar a layer every two seconds, everything else as the engine says it. It is as cheap as such a script
# can be: one jq an event, and no other program.
set -euo pipefail

socket=$1 image=$2 log=$3
declare -A shown=()

say() { printf '[%(%F %T)T] %s\n' -1 "$*" >>"$log"; }

bar() { # CURRENT TOTAL
    local cells=$(($1 * 40 / $2)) full empty
    printf -v full '%*s' "$cells" ''
    printf -v empty '%*s' $((40 - cells)) ''
    printf '[%s%s] %s%%' "${full// /█}" "${empty// /░}" $(($1 * 100 / $2))
}

say "PULLING IMAGE $image"
curl -sS --no-buffer --unix-socket "$socket" -X POST \
    "http://localhost/images/create?fromImage=${image%:*}&tag=${image##*:}" |
    while IFS= read -r line; do
        fields=$(jq -r '[.status // .error, .id // "", .progressDetail.current // 0, .progressDetail.total // 0] |
            map(tostring) | join("\u001f")' <<<"$line")
        IFS=$'\x1f' read -r status id current total <<<"$fields"
        if [ "$total" -gt 0 ]; then
            [ $((SECONDS - ${shown[$id]--2})) -ge 2 ] || continue
            shown[$id]=$SECONDS
            say "Layer $id: $status $(bar "$current" "$total")"
        else
            say "${id:+Layer $id: }$status"
        fi
    done
say 'PULL SUCCESSFUL'
