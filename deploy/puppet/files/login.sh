#!/bin/sh
# Logs docker in to a registry; the Puppet define alm_pull::login runs it.
#   login current REGISTRY FILE [USER]   exit 0 where docker has this user and the password in FILE for REGISTRY
#   login login REGISTRY FILE [USER]     make it so
# The password is in no argument and no environment: shell builtins, pipes and standard input alone have it.
set -eu

[ $# = 3 ] || [ $# = 4 ] || { echo 'usage: login current|login REGISTRY FILE [USER]' >&2; exit 2; }
mode=$1 registry=$2 file=$3
password=$(cat "$file")
# As docker-pull-with-progress reads it, whatever an editor has left at its end.
blank=$(printf '\t\r\n ')
while [ "$password" != "${password%["$blank"]}" ]; do password=${password%?}; done
[ -n "$password" ] || { echo "login: the token file $file is empty" >&2; exit 1; }
case $password in
'{'*'"type"'*:*'"service_account"'*) user=${4-_json_key} ;;
*) user=${4-oauth2accesstoken} ;;
esac

case $mode in
current)
    home=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)}
    config=$(cat "${DOCKER_CONFIG:-$home/.docker}/config.json" 2>/dev/null) || exit 1
    key=$registry
    [ "$registry" != docker.io ] || key=https://index.docker.io/v1/
    auth=$(printf '%s:%s' "$user" "$password" | base64 --wrap 0)
    # docker writes it so; where a credential store keeps the password, there is none here.
    config=${config#*"\"$key\": {"}
    case ${config%%\}*} in *"\"auth\": \"$auth\""*) exit 0 ;; esac
    exit 1
    ;;
login)
    printf '%s' "$password" | docker login --username "$user" --password-stdin "$registry"
    ;;
*) echo "login: unknown mode $mode" >&2; exit 2 ;;
esac
