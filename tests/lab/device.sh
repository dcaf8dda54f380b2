# shellcheck shell=bash
# Devices with a real systemd, for scripts to source. Each is booted as the first process of namespaces of its own: this
# machine's files below a tmpfs that takes what is written, and no service of the machine. Needs root, cgroup v2, systemd.
#   make_device NAME                    its files are below $devices/NAME/root, for the caller to add to
#   boot_device NAME HOST [OLD NEW]...  HOST is its name; OLD is seen as NEW in it, as a console as /dev/tty1
#   inside NAME COMMAND...              on the device
#   end_device NAME                     and nothing is left of it
# The caller sets $devices, a directory. With $network, a process's id, the devices are in the network of that process; else each
# has one of its own, without any interface.
# shellcheck disable=SC2154 # of the caller

declare -A device_init

device_group() { echo "$(findmnt -nt cgroup2 -o TARGET | head -n 1)/alm-device-$$-$1"; }

make_device() { # NAME
    local at=$devices/$1
    mkdir -p "$at/top" "$at/system"
    mount -t tmpfs -o size=500m none "$at/top"
    mkdir "$at/top/upper" "$at/top/work"
    mount -t overlay none -o "lowerdir=/,upperdir=$at/top/upper,workdir=$at/top/work" "$at/system"
    rm -rf "$at/system"/etc/systemd/system/*.wants "$at/system"/etc/systemd/system/alm-* "$at/system/var/lib/alm"
    # logind looks at the machine's own first console, finds it free, and would start a login on what is called so here.
    rm -f "$at/system/usr/sbin/policy-rc.d"
    systemctl --quiet --root="$at/system" mask systemd-logind.service console-getty.service systemd-networkd.service networking.service
}

boot_device() { # NAME HOST [OLD NEW]...
    local at=$devices/$1 host=$2 group enter=(unshare --net)
    group=$(device_group "$1")
    mkdir "$group"
    # systemd gives it the name that the file says.
    echo "$host" >"$at/system/etc/hostname"
    [ -z "${network-}" ] || enter=(nsenter -t "$network" -n)
    # Its last command is the first process of the device.
    # shellcheck disable=SC2016 # what is in quotes is for the shell in the namespaces
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
            # The credentials of services are mounted by a child of systemd, in namespaces that hear of each other.
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
    # Empty once the kernel has ended what the first process leaves.
    for _ in $(seq 50); do
        [ -d "$group" ] || break
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    umount "$at/system" "$at/top" 2>/dev/null || true
}
