# shellcheck shell=bash
# Devices with a real systemd, for scripts to source. Each systemd is the first process of its own namespaces. A device has this
# machine's files, but writes go to a tmpfs, and none of the machine's services run on it. Needs root, cgroup v2, systemd.
#   make_device NAME                    creates its files below $devices/NAME/system, where the caller may add others
#   boot_device NAME HOST [OLD NEW]...  boots it; HOST is its name; the file OLD appears as NEW on it (a console as /dev/tty1)
#   inside NAME COMMAND...              runs a command on the device
#   end_device NAME                     ends the device and removes everything of it
# The caller sets $devices, a directory. If $network is the id of a process, the devices are in the network of that process;
# otherwise each has its own network, without an interface.
# shellcheck disable=SC2154 # set by the caller

declare -A device_init

device_group() { echo "$(findmnt -nt cgroup2 -o TARGET | head -n 1)/alm-device-$$-$1"; }

make_device() { # NAME
    local at=$devices/$1
    mkdir -p "$at/top" "$at/system"
    mount -t tmpfs -o size=500m none "$at/top"
    mkdir "$at/top/upper" "$at/top/work"
    mount -t overlay none -o "lowerdir=/,upperdir=$at/top/upper,workdir=$at/top/work" "$at/system"
    rm -rf "$at/system"/etc/systemd/system/*.wants "$at/system"/etc/systemd/system/alm-* "$at/system/var/lib/alm"
    # logind, masked below, would find the machine's first console free and start a login on the device's /dev/tty1.
    rm -f "$at/system/usr/sbin/policy-rc.d"
    systemctl --quiet --root="$at/system" mask systemd-logind.service console-getty.service systemd-networkd.service networking.service
}

boot_device() { # NAME HOST [OLD NEW]...
    local at=$devices/$1 host=$2 group enter=(unshare --net)
    group=$(device_group "$1")
    mkdir "$group"
    # systemd sets the host name from this file.
    echo "$host" >"$at/system/etc/hostname"
    [ -z "${network-}" ] || enter=(nsenter -t "$network" -n)
    # The last command in it is the first process of the device.
    # shellcheck disable=SC2016 # expanded by the shell in the namespaces
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec "${enter[@]}" unshare --mount --pid --fork --kill-child --uts --ipc --cgroup sh -euc '
            root=$1 host=$2
            shift 2
            mount --make-rprivate /
            mount -t proc proc "$root/proc"
            mount -t sysfs -o ro sysfs "$root/sys"
            mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
            mount -t tmpfs -o mode=755 none "$root/run"
            mount -t tmpfs -o mode=755 none "$root/dev"
            mkdir "$root/dev/pts" "$root/dev/shm"
            for name in null zero full random urandom tty; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
            mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
            ln -s pts/ptmx "$root/dev/ptmx"
            touch "$root/dev/console"
            mount --bind /dev/null "$root/dev/console"
            while [ $# -gt 0 ]; do
                touch "$root$2"
                mount --bind "$1" "$root$2"
                shift 2
            done
            # A child of systemd mounts the credentials of services in its own namespace: mounts must propagate.
            mount --make-rshared /
            hostname "$host"
            exec env -i container=proof PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" \
                /lib/systemd/systemd --log-target=null --unit=multi-user.target' sh "$at/system" "$host" "${@:3}"
    ) </dev/null >"$at/boot.log" 2>&1 &
    device_init[$1]=$!
}

inside() { # NAME COMMAND...
    local pid
    pid=$(pgrep -P "${device_init[$1]}" -x systemd) || return 1
    nsenter -t "$pid" -m -p -u -i -n -C -r -w "${@:2}"
}

end_device() { # NAME
    local at=$devices/$1 group init=${device_init[$1]-}
    group=$(device_group "$1")
    if [ -n "$init" ]; then
        kill -KILL "$init" || true
        wait "$init" || true
    fi 2>/dev/null
    # The group is empty when the kernel has ended the remaining processes.
    for _ in $(seq 50); do
        [ -d "$group" ] || break
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    umount "$at/system" "$at/top" 2>/dev/null || true
}
