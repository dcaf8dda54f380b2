#!/bin/sh
# Logs docker in to a registry; the Puppet define alm_pull::login runs it.
#   login current REGISTRY FILE [USER]   exit 0 if docker has this user and the password in FILE for REGISTRY
#   login login REGISTRY FILE [USER]     log in with this user and password
# Other users can see arguments, and reports the environment. So the password is only in shell builtins, pipes and standard input.
set -eu

[ $# = 3 ] || [ $# = 4 ] || { echo 'usage: login current|login REGISTRY FILE [USER]' >&2; exit 2; }
mode=$1 registry=$2 file=$3
password=$(cat "$file")
# Read as docker-pull-with-progress does: without blanks and line ends at the end of the file.
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
    # Exactly as docker writes it. If docker uses a credential store, the password is not in this file.
    config=${config#*"\"$key\": {"}
    case ${config%%\}*} in *"\"auth\": \"$auth\""*) exit 0 ;; esac
    exit 1
    ;;
login)
    printf '%s' "$password" | docker login --username "$user" --password-stdin "$registry"
    ;;
*) echo "login: unknown mode $mode" >&2; exit 2 ;;
esac
