# shellcheck shell=bash
# Cases of tests/proofs/puppet.sh: installation, rotation of the log, another Puppet.
# shellcheck disable=SC2154,SC2034 # variables of tests/proofs/puppet.sh

old_script_replaced() {
    [ "$("$dir/bin/docker-pull-with-progress" --version)" = "$("$PULL" --version)" ]
    [ "$(readlink "$dir/bin/alm-pull")" = "$dir/libexec/docker-pull-with-progress" ]
    # Somebody else's alm is kept; if there is none, the link is created.
    [ ! -L "$dir/bin/alm" ]
    rm "$dir/bin/alm"
    apply 2
    [ "$(readlink "$dir/bin/alm")" = "$dir/libexec/docker-pull-with-progress" ]
    logrotate=$(command -v logrotate || ls /usr/sbin/logrotate 2>/dev/null) || return 0
    "$logrotate" --debug --state "$dir/logrotate.state" "$dir/logrotate"
}

rotation() {
    local log="$dir/log of/docker pull.log" logrotate site
    logrotate=$(command -v logrotate || echo /usr/sbin/logrotate)
    for site in '' dateext $'dateext\ncompress\nolddir old' $'olddir old\nnodelaycompress\ncopytruncate'; do
        rm -rf "$dir/log of"
        node "alm_pull::log: '$log'"
        # The node's usual data sets the log, too.
        sed -i "\|^alm_pull::log: $dir/log/|d" "$dir/conf/data/node.yaml"
        apply 2 || changes_nothing
        printf '%s\ninclude %s\n' "$site" "$dir/logrotate" >"$dir/site.logrotate"
        for _ in 1 2 3; do
            "$PULL" --log "$log" --progress quiet --host "unix://$ENGINE_SOCKET" --token-file "$dir/token" --token-user fleet \
                "$HUB/init:latest"
            grep -q 'PULL SUCCESSFUL' "$log"
            cp "$log" "$dir/generation"
            "$logrotate" --force --state "$dir/logrotate.state" "$dir/site.logrotate"
            [ ! -s "$log" ]
            # The viewer must still show the lines that were rotated.
            "$PULL" --view -n 100000 --raw --log "$log" >"$dir/viewed"
            cmp "$dir/generation" "$dir/viewed"
            # With dateext the name has the time in seconds: two rotations in one second would have one name.
            sleep 1
        done
        ls -l "$dir/log of"
        [ "$(find "$dir/log of" -type f | wc -l)" = 4 ]
        [ "$(find "$dir/log of" -name '*.gz' | wc -l)" = 2 ]
    done
    changes_nothing
    node
    apply 2 || changes_nothing
}

from_url() {
    mkdir "$dir/www"
    cp "$PULL" "$dir/www/executable"
    # busybox cannot bind port 0: the kernel chooses a port, which is closed just before it is used.
    local port original_sum=$sum
    port=$(ruby -rsocket -e 'puts TCPServer.new("127.0.0.1", 0).addr[1]')
    busybox httpd -f -p "127.0.0.1:$port" -h "$dir/www" &
    httpd=$!
    trap 'kill $httpd 2>/dev/null || true; source=$PULL; sum=$(sha256sum <"$PULL" | cut -d " " -f 1); node' EXIT
    source=http://127.0.0.1:$port/executable
    node
    rm "$dir/libexec/docker-pull-with-progress"
    apply 2
    "$dir/libexec/docker-pull-with-progress" --version
    changes_nothing
    # A file with another checksum is refused, and the old one stays.
    printf '\n' >>"$dir/www/executable"
    sum=$(sha256sum <"$dir/lab/env" | cut -d ' ' -f 1)
    node
    apply 4 || apply 6
    cmp "$dir/libexec/docker-pull-with-progress" "$PULL"
    # If the file is there, Puppet does not ask the server, so a server that is down prevents no pull.
    sum=$original_sum
    kill $httpd
    node
    changes_nothing
    source=$PULL
    node
    changes_nothing
}

# Runs a function on overlays: its changes of the system's directories, the node's data and dist/ are discarded.
in_overlay() { # FUNCTION
    mkdir -p "$dir/overlay" dist
    # shellcheck disable=SC2016 # expanded in there
    unshare --mount --propagation slave sh -euc '
        upper=$1 commands=$2
        shift 2
        mount -t tmpfs aside "$upper"
        for directory; do
            mkdir -p "$upper/new$directory" "$upper/work$directory"
            mount -t overlay -o "lowerdir=$directory,upperdir=$upper/new$directory,workdir=$upper/work$directory" \
                overlay "$directory"
        done
        # Pulls in the other half write here, and the lower layer of an overlay must not change. The rest of /run has the sockets.
        for directory in /run/alm /var/lib/alm; do
            mkdir -p "$directory"
            mount -t tmpfs aside "$directory"
        done
        exec bash -euo pipefail -c "$commands"' sh "$dir/overlay" \
        "$(declare -p dir environment architecture PULL HUB ENGINE_SOCKET REGISTRY; declare -f; echo "$1")" \
        /etc /usr /var "$dir/conf" "$PWD/dist"
}

# A package source with two versions of the package, and all paths of the module at their defaults.
packaged() {
    local version archive=/var/local/archive name=docker-pull-with-progress
    rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /usr/local/lib/alm-pull /usr/local/bin/alm{,-pull}
    dpkg -P $name 2>/dev/null || true
    mkdir -p $archive
    # The package gets the name of the executable, and PULL may have another.
    install -D "$PULL" /var/local/$name
    deploy/debian/package.sh "$PULL" "$architecture" /var/local/$name $archive
    dpkg-deb -R $archive/*.deb /var/local/old
    version=$(dpkg-deb -f $archive/*.deb Version)
    sed -i 's/^Version: .*/Version: 0.0.1-1/' /var/local/old/DEBIAN/control
    dpkg-deb -Znone -b /var/local/old "$archive/old.deb"
    (cd $archive && dpkg-scanpackages -m . >Packages)
    echo "deb [trusted=yes] file:$archive ./" >/etc/apt/sources.list
    apt-get -qq update
    # The old script is there before.
    printf '#!/bin/bash\nexit 99\n' >/usr/local/bin/$name
    chmod 755 /usr/local/bin/$name
    echo '--- {}' >"$dir/conf/data/node.yaml"
    site() { # PARAMETER...
        cat >"$dir/conf/site.pp" <<PP
class { 'alm_pull': host => 'unix://$ENGINE_SOCKET', docker_config => '$dir/lab/config', $* }
alm_pull::image { '$REGISTRY/init:latest': container => 'packaged', run_args => ['--network', 'none'] }
PP
    }
    has() { # VERSION
        # shellcheck disable=SC2016 # dpkg's own variables
        [ "$(dpkg-query -Wf '${Version} ${db:Status-Status}' $name)" = "$1 installed" ]
    }

    site "package_ensure => '0.0.1-1'"
    apply 2
    executed_only "docker-pull $REGISTRY/init:latest" 'docker-recreate packaged'
    has 0.0.1-1
    [ "$(readlink /usr/local/bin/$name)" = /usr/bin/$name ]
    [ "$(readlink /usr/local/bin/alm)" = /usr/bin/$name ]
    cmp /usr/bin/$name "$PULL"
    grep -q 'PULL SUCCESSFUL' /var/log/alm/docker-pull.log
    cmp /etc/logrotate.d/$name deploy/debian/logrotate
    changes_nothing
    # A monitor that does not start stops no container.
    site "package_ensure => '0.0.1-1', monitor => true"
    sed -i "1i Service { provider => base, status => '/bin/false', start => '/bin/false' }" "$dir/conf/site.pp"
    docker rm -f packaged
    apply 6
    output_has 'Service\[alm-monitor\].*failed'
    executed_only 'docker-recreate packaged'
    # A version that cannot be installed: the run fails without a pull, and a container is started or created all the same.
    site "package_ensure => '9.9-1'"
    docker stop packaged
    apply 6
    output_has 'docker-pull .*: Skipping because of failed dependencies'
    executed_only 'docker-start packaged'
    has 0.0.1-1
    docker rm -f packaged
    dpkg -P $name
    apply 6
    executed_only 'docker-start packaged'
    site "package_ensure => 'latest'"
    apply 2
    executed_only
    has "$version"
    changes_nothing
    # Without a package source, from the .deb.
    dpkg -P $name
    rm /etc/apt/sources.list
    apt-get -qq update
    site "package_source => '$(echo $archive/${name}_*.deb)'"
    apply 2
    executed_only
    has "$version"
    changes_nothing
}

package_installed() {
    local code=0
    in_overlay packaged || code=$?
    docker rm -f packaged
    return $code
}

# The block of commands in the README; only REGISTRY is replaced.
from_readme() {
    awk '/^```bash$/ { on = 1; next } /^```$/ { on = 0 } on' README.md | sed "s|REGISTRY|$REGISTRY|g" >"$dir/conf/readme"
    cat "$dir/conf/readme"
    head -n 1 "$dir/conf/readme" | grep -q '\./build-rpi\.sh'
    tail -n 1 "$dir/conf/readme" | grep -q 'sudo puppet apply'
    [ "$(wc -l <"$dir/conf/readme")" -le 10 ]
    # Otherwise it would use the engine of this machine.
    export DOCKER_HOST=unix://$ENGINE_SOCKET DOCKER_CONFIG=$dir/lab/config
    # A root shell may have no sudo.
    printf '#!/bin/sh\nexec "$@"\n' >/usr/local/bin/sudo
    chmod 755 /usr/local/bin/sudo
    PATH=/usr/local/bin:$PATH bash -euo pipefail "$dir/conf/readme"
    runs app
    grep -q 'PULL SUCCESSFUL' /var/log/alm/docker-pull.log
    [ "$(docker container inspect -f '{{.Config.Image}}' app)" = "$REGISTRY/app:latest" ]
    # A second run changes nothing.
    echo "$(tail -n 1 "$dir/conf/readme") --detailed-exitcodes" >"$dir/conf/readme"
    PATH=/usr/local/bin:$PATH bash -euo pipefail "$dir/conf/readme"
}

readme() {
    local code=0
    docker rm -f app || true
    publish app
    in_overlay from_readme || code=$?
    docker rm -f app
    return $code
}

# Sets up Puppet 8 of Debian trixie. The installation is kept beside the build; each run is in a chroot on an overlay of it.
make_puppet_8() {
    local base
    mkdir -p "${CARGO_TARGET_DIR:-target}"
    base=$(realpath "${CARGO_TARGET_DIR:-target}")/trixie-puppet
    (
        flock 9
        [ ! -d "$base" ] || exit 0
        trap 'rm -rf --one-file-system "$base.new"' EXIT
        debootstrap --variant=minbase --include=puppet-agent trixie "$base.new" >"$dir/debootstrap.log" ||
            { tail "$dir/debootstrap.log" >&2; exit 1; }
        mv "$base.new" "$base"
    ) 9>"$base.lock"
    mkdir -p "$dir/trixie"
    cat >"$dir/puppet8" <<SH
#!/bin/sh
exec unshare --mount --propagation slave sh -euc '
    root=$dir/trixie
    mount -t tmpfs trixie "\$root"
    mkdir "\$root/upper" "\$root/work" "\$root/root"
    mount -t overlay -o "lowerdir=$base,upperdir=\$root/upper,workdir=\$root/work" trixie "\$root/root"
    root=\$root/root
    for directory in /proc /dev "$module" "$dir"; do
        mkdir -p "\$root\$directory"
        mount --rbind "\$directory" "\$root\$directory"
    done
    for file in "$(type -P docker)" "$PULL"; do
        [ -e "\$root\$file" ] || { mkdir -p "\$root\${file%/*}"; touch "\$root\$file"; }
        mount --bind "\$file" "\$root\$file"
    done
    exec chroot "\$root" /usr/bin/puppet "\$@"' sh "\$@"
SH
    chmod 755 "$dir/puppet8"
}

# From nothing to a converged node, and the main cases.
puppet_8() {
    make_puppet_8
    PUPPET=$dir/puppet8
    env -i "${environment[@]}" "$PUPPET" --version | grep '^8\.'
    changes_nothing
    new_image
    changes_nothing
    docker rm -f app telemetry
    log_out
    rm -r "$dir/libexec" "$dir/state"
    apply 2
    executed_only "docker-login $HUB" docker-recreate\ {app,telemetry}
    changes_nothing
    new_arguments
    changes_nothing
    stopped_by_hand
    changes_nothing
    bad_image "$broken_command" 'it ended with exit code 3'
    publish app
    pulls_and_recreates
    changes_nothing
    files_changed
}
