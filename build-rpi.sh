#!/bin/bash
# Builds static executables and Debian packages for Raspberry Pis and servers, tests them, and puts them into dist/:
#   build-rpi.sh [aarch64|armv6|amd64|all]   build [all]
#   build-rpi.sh install                     install what is missing, with apt-get (through sudo) and pip, on Debian without
#                                            rustup's targets
#   build-rpi.sh profiles                    measure amd64 at every opt-level, built with Debian's tools; WRITE=1 writes the
#                                            table into deploy/README.md
# aarch64 (Debian's arm64) is for a Pi 3 and later with a 64-bit system, armv6 (armhf) for every Pi with a 32-bit one.
# dist/ then contains {docker-pull-with-progress,alm-agent}-{arm64,armhf,amd64}, their Debian packages, and SHA256SUMS.
#
# There are two ways to build a static executable. With rustup's musl target (rustup target add TRIPLE) only the tools for
# tests and packages are needed: python3, binutils, dpkg-dev, and qemu-user-static for architectures other than the host's.
# Without it, Debian's rustc-web builds std from source, for size, and zig links; build-rpi.sh install installs both. The
# agent's TLS contains C code, which zig compiles in both cases: without zig a message says that the agent is left out.
# Missing tools are reported before anything is built. Without dpkg-deb only executables are built.
#
# Each executable is tested before it is put into dist/: it is static, armhf is for ARMv6, and under qemu it replays all of
# fixtures/ as the host's build does, and pulls from an engine that plays a recorded answer; the agent asks a registry by
# TLS, which it trusts through a CA of its own. Neither exceeds its maximum size.
set -euo pipefail
cd "$(dirname "$0")"

PACKAGES=(rustc-web cargo-web rust-web-src dpkg-dev lintian qemu-user-static binutils openssl)
ZIGLANG=ziglang==0.17.1
NAME=docker-pull-with-progress
AGENT=alm-agent
# The maximum size of the static executables, in bytes.
declare -A MAX=([$NAME]=550000 [$AGENT]=1700000)
target=${CARGO_TARGET_DIR:-target}
target=$(realpath -m "$target")
zig=$target/zig/ziglang/zig

die() { printf 'build-rpi.sh: %s\n' "$@" >&2 && exit 1; }
usage() { sed -n 's/^#   //p' build-rpi.sh; }
help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' build-rpi.sh; }
step() { printf '== %s ==\n' "$*"; }

install_all() {
    local missing=()
    for package in "${PACKAGES[@]}"; do
        dpkg-query -Wf '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    if [ ${#missing[@]} -gt 0 ]; then
        echo "build-rpi.sh: apt-get install ${missing[*]}"
        set -- env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120
        [ "$(id -u)" = 0 ] || set -- sudo "$@"
        "$@" update >&2
        "$@" install --no-install-recommends "${missing[@]}" </dev/null >&2
    fi
    [ -x "$zig" ] || python3 -m pip install -q --root-user-action=ignore --target "$target/zig" "$ZIGLANG"
}

select_architecture() { # NAME; sets what depends on the architecture
    case $1 in
        aarch64) deb=arm64 triple=aarch64-unknown-linux-musl zig_target=(aarch64-linux-musl) ;;
        armv6) deb=armhf triple=arm-unknown-linux-musleabihf zig_target=(arm-linux-musleabihf -mcpu=arm1176jzf_s) ;;
        amd64) deb=amd64 triple=x86_64-unknown-linux-musl zig_target=(x86_64-linux-musl) ;;
    esac
    case $deb-$(uname -m 2>/dev/null) in
        arm64-aarch64 | amd64-x86_64) run=() ;;
        arm64-*) run=(qemu-aarch64-static) ;;
        # The processor of the first Pi, on which an instruction of ARMv7 ends the program.
        armhf-*) run=(qemu-arm-static -cpu arm1176) ;;
        amd64-*) run=(qemu-x86_64-static) ;;
    esac
}

has_rustup_target() { [ -d "$(rustc --print target-libdir --target "$triple" 2>/dev/null)" ]; }

has_debian_route() {
    find_zig && [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] &&
        [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ] &&
        # A std must match its compiler exactly.
        [ "$(dpkg-query -Wf '${source:Version} ' rustc-web rust-web-src cargo-web | tr ' ' '\n' | sort -u | wc -w)" = 1 ]
}

find_zig() { [ -x "$zig" ] || zig=$(command -v zig); }

check() { # that the selected architecture can be built for and tried
    has_rustup_target || has_debian_route || die "no way to build for $triple; one of these opens it:" \
        "  rustup target add $triple" \
        "  build-rpi.sh install   (Debian: ${PACKAGES[*]} from apt, $ZIGLANG by pip)"
    for program in "${run[0]-python3}" python3 readelf openssl; do
        command -v "$program" >/dev/null || die "$program is missing (Debian: apt-get install qemu-user-static python3 binutils openssl)"
    done
}

check_packaging() { # that Debian packages can be made, or that it is known that there will be none
    if ! command -v dpkg-deb >/dev/null; then
        echo 'build-rpi.sh: no Debian packages, executables alone: there is no dpkg-deb here' >&2
    elif ! command -v dpkg-parsechangelog >/dev/null; then
        die 'dpkg-parsechangelog is missing, for the Debian packages (Debian: apt-get install dpkg-dev)'
    fi
}

std_features=(-Zbuild-std-features=optimize_for_size)

use_zig() { # for what is in C; with it the crt objects and the C library are zig's
    # The cc crate names a target that zig does not know.
    mkdir -p "$target/static"
    cat >"$target/static/cc-$deb" <<END
#!/bin/bash
for a; do shift; [[ \$a = --target=* ]] || set -- "\$@" "\$a"; done
exec "$zig" cc -target ${zig_target[*]} "\$@"
END
    chmod +x "$target/static/cc-$deb"
    export "CC_${triple//-/_}=$target/static/cc-$deb"
    export ZIG_GLOBAL_CACHE_DIR=$target/zig/cache ZIG_LOCAL_CACHE_DIR=$target/zig/cache
}

build() { # PACKAGE, for the selected architecture; leaves its path in $built
    # Without tables for unwinding, which an aborting program has no use for, and without the paths of who built it.
    local flags=(-Cforce-unwind-tables=no -Ctarget-feature=+crt-static
        "--remap-path-prefix=$PWD=." "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo")
    local variable=${triple^^}
    variable=CARGO_TARGET_${variable//-/_}_LINKER
    # For this executable alone; with other flags for all crates each of the two would have its own std and dependencies.
    local own=()
    local command=(cargo rustc --release --locked -p "$1" --bin "$1" --target "$triple" --target-dir "$target/static")
    if has_rustup_target; then
        echo "route: rustup's target $triple, linked by rust-lld"
        export "$variable=rust-lld"
        ! find_zig || use_zig
    else
        echo "route: Debian's $(/usr/bin/rustc --version | cut -d' ' -f1,2), std built${std_features[*]:+ for size}, linked by zig $("$zig" version)"
        use_zig
        export "$variable=$target/static/cc-$deb"
        # With these zig builds the C library without tables for unwinding. Not for size (-Os): that saves 3 KB, but memcmp then
        # compares byte by byte, and a replay takes up to 50 % more instructions.
        flags+=(-Clink-self-contained=no -Clink-arg=-fno-unwind-tables -Clink-arg=-fno-asynchronous-unwind-tables)
        [ "$1" != "$NAME" ] || own+=("-Clink-arg=-Wl,-T,$PWD/deploy/cold.ld")
        # Repeated sequences of instructions become functions: 3 % of the ARMv6 executable, whose instructions are large, and 1 %
        # of the amd64 one, where 5 % more instructions in a pull are not worth it. On aarch64 it is the compiler's default.
        # Not a second time (-machine-outliner-reruns): with LLVM 22 the ARMv6 executable then never ends a long replay.
        [ "$deb" != armhf ] || flags+=(-Cllvm-args=-enable-machine-outliner=always)
        command=(env PATH="/usr/bin:$PATH" RUSTC_BOOTSTRAP=1 "${command[@]}"
            "-Zbuild-std=std,panic_abort" "${std_features[@]}"
            # A bug ends the program at once (SIGILL) and without a message: messages and their source locations are a seventh
            # of the executable. A replay of the same recording with the host's build shows them.
            -Zpanic-immediate-abort '--config=profile.release.panic="immediate-abort"')
        # 10 KB less; a replay takes a tenth more time.
        [ "$deb" != armhf ] || command+=('--config=profile.release.package.alm-stream.opt-level="s"')
    fi
    local IFS=$'\x1f'
    CARGO_ENCODED_RUSTFLAGS="${flags[*]}" "${command[@]}" -- "${own[@]}"
    built=$target/static/$triple/release/$1
}

# Prints both outputs of a program and its exit code; the environment is the same on every machine.
outputs() { env -i PATH="$PATH" HOME="$tmp" LANG=C.UTF-8 "$@" 2>&1 || echo "exit code $?"; }

prove_kind() { # EXECUTABLE HOST-EXECUTABLE
    local headers size max=${MAX[${1##*/}]}
    headers=$(readelf -lW "$1")
    ! grep -q INTERP <<<"$headers" || die "$1 is not static"
    [ "$deb" != armhf ] || readelf -A "$1" | grep -q 'Tag_CPU_arch: v6$' || die "$1 is not for ARMv6"
    size=$(stat -c %s "$1")
    [ "$size" -le "$max" ] || die "$1 has $size bytes, more than $max"
    [ "$(outputs "${run[@]}" "$1" --version)" = "$("$2" --version)" ] || die "$1 --version differs"
}

prove() { # EXECUTABLE
    local socket=$tmp/$deb.sock record=$tmp/$deb.jsonl count=0
    prove_kind "$1" "$reference"
    while IFS= read -r -d '' fixture; do
        cmp <(outputs "${run[@]}" "$1" --replay "$fixture") <(outputs "$reference" --replay "$fixture") ||
            die "$1 --replay $fixture differs from $reference"
        count=$((count + 1))
    done < <(find fixtures -name '*.jsonl' -print0)
    [ $count -gt 0 ] || die 'there are no fixtures to replay'
    python3 tests/lab/fake-engine.py "$socket" fixtures/http/dockerd-20.10.24-fresh-tiny.raw &
    engine=$!
    for _ in {1..100}; do [ ! -S "$socket" ] || break; sleep 0.05; done
    outputs "${run[@]}" "$1" --host "unix://$socket" --no-log --record "$record" tiny >"$tmp/pull"
    kill "$engine"
    engine=''
    grep -q 'PULL SUCCESSFUL' "$tmp/pull" || { cat "$tmp/pull" >&2; die "$1 did not pull"; }
    cmp "$tmp/pull" <(outputs "$reference" --replay "$record") || die "the replay of its own pull differs"
    echo "proved${run[0]+ under ${run[*]}}: static, --version, $count replays as the host's, a pull"
}

prove_agent() { # EXECUTABLE
    local dir=$tmp/$deb.registry request address sizes digest
    prove_kind "$1" "$reference_agent"
    mkdir "$dir"
    python3 tests/lab/fake-registry.py "$dir" &
    engine=$!
    for _ in {1..200}; do [ ! -e "$dir/address" ] || break; sleep 0.05; done
    address=$(cat "$dir/address") || die 'the registry does not start'
    # The engine's list of insecure registries is empty: the one on loopback needs a valid certificate, too.
    request='{"image":"'$address/app'","engine":"linux/arm","version":"20.10.24","info":{"RegistryConfig":{"InsecureRegistryCIDRs":[]}}}'
    sizes=$(SSL_CERT_FILE=$dir/ca.pem "${run[@]}" "$1" sizes <<<"$request") || true
    digest=$(SSL_CERT_FILE=$dir/ca.pem "${run[@]}" "$1" digest <<<"$request") || true
    # With the system's CAs only, it is not trusted.
    ! "${run[@]}" "$1" digest <<<"$request" >"$tmp/unknown" || die "$1 believes anybody"
    kill "$engine"
    engine=''
    [[ $sizes = *'"layers":[["aaaaaaaaaaaa",5001727],["bbbbbbbbbbbb",300]],"total":5002027'* ]] || die "$1 sizes: $sizes"
    # The registry names the digest; for the sizes it is calculated from the manifest's bytes.
    [[ $digest = '{"digest":"sha256:'* && $sizes = "${digest%\}},"* ]] || die "$1 digest: $digest, sizes: $sizes"
    grep -q '"kind":"tls"' "$tmp/unknown" || die "$1: $(cat "$tmp/unknown")"
    echo "proved${run[0]+ under ${run[*]}}: static, --version, sizes and digest from a registry by TLS with a token, not from one of an unknown authority"
}

# The most memory that a replay has had, in KiB, after a million progress lines of a real pull, and its CPU time for one of
# them in microseconds: the median of nine runs.
measure() { # EXECUTABLE
    python3 - "$1" fixtures/dockerd-20.10.24/fresh-eight-fast.jsonl "$tmp/million" <<'PYTHON'
import array, fcntl, json, os, statistics, subprocess, sys, termios, time
program, recording, million = sys.argv[1:]
rows = [json.loads(row) for row in open(recording)][1:]
lines = [json.dumps(row[2], separators=(",", ":")) + "\n" for row in rows if row[1] == "e"]
moving = [line for line in lines if '"current"' in line]
start, end = lines.index(moving[0]), lines.index(moving[-1])
head, tail = lines[:start], [line for line in lines[end:] if line not in moving]
body = (moving * (1_000_000 // len(moving) + 1))[:1_000_000]
open(million, "w").write("".join(head + body + tail))

def start_replay(source, **pipe):
    return subprocess.Popen([program, "--replay", source], stdout=subprocess.DEVNULL, env={}, **pipe)

times = []
for _ in range(9):
    child = start_replay(million)
    _, status, used = os.wait4(child.pid, 0)
    times.append(used.ru_utime + used.ru_stime)
    if status:
        sys.exit(f"{program}: the replay ended with {status}")

# What is left in a pipe says when all has been read; what rusage calls peak would be this very Python's.
child = start_replay("-", stdin=subprocess.PIPE)
child.stdin.write(open(million, "rb").read())
child.stdin.flush()
left = array.array("i", [1])
while left[0]:
    time.sleep(0.05)
    fcntl.ioctl(child.stdin, termios.FIONREAD, left)
time.sleep(0.2)
peak = next(line.split()[1] for line in open(f"/proc/{child.pid}/status") if line.startswith("VmHWM:"))
child.stdin.close()
child.wait()
print(peak, f"{statistics.median(times):.2f}")
PYTHON
}

profiles() {
    local level std peak time
    select_architecture amd64
    has_debian_route || die 'std can be built by the Debian way alone: build-rpi.sh install'
    # No std is ready-made here.
    has_rustup_target() { false; }
    printf '| opt-level | std | bytes | peak, KiB | µs an event |\n|---|---|---|---|---|\n' >"$tmp/table"
    for std in optimize_for_size default; do
        std_features=()
        [ $std = default ] || std_features=("-Zbuild-std-features=$std")
        for level in s z 3; do
            CARGO_PROFILE_RELEASE_OPT_LEVEL=$level build "$NAME"
            read -r peak time < <(measure "$built")
            echo "| $level | $std | $(stat -c %s "$built") | $peak | $time |" >>"$tmp/table"
        done
    done
    cat "$tmp/table"
    [ -z "${WRITE-}" ] || tests/proofs/section.py deploy/README.md profiles markdown <"$tmp/table"
}

[ "$*" != install ] || { install_all; exit; }
case $*,$# in
    profiles,1) ;;
    all,1 | ,0) set -- aarch64 armv6 amd64 ;;
    aarch64,1 | armv6,1 | amd64,1) ;;
    -h,1 | --help,1) help; exit ;;
    *) usage >&2; exit 2 ;;
esac

engine=''
tmp=$(mktemp -d)
trap '[ -z "$engine" ] || kill "$engine" || true; rm -rf "$tmp"' EXIT
trap 'exit 130' INT; trap 'exit 143' TERM

[ "$*" != profiles ] || { profiles; exit; }
for architecture; do
    select_architecture "$architecture"
    check
done
check_packaging
step 'the host, for comparison'
cargo build --release --locked -p "$NAME" --target-dir "$target"
reference=$target/release/$NAME reference_agent=$target/release/$AGENT
packages=("$NAME")
if find_zig; then
    packages+=("$AGENT")
    cargo build --release --locked -p "$AGENT" --target-dir "$target"
else
    echo "build-rpi.sh: no $AGENT: a part of its TLS is in C, for zig to compile (build-rpi.sh install)" >&2
fi
mkdir -p dist
for architecture; do
    step "$architecture"
    select_architecture "$architecture"
    for package in "${packages[@]}"; do
        build "$package"
        if [ "$package" = "$AGENT" ]; then prove_agent "$built"; else prove "$built"; fi
        rm -f "dist/$package-$deb" "dist/$package"_*"_$deb.deb"
        install -m 755 "$built" "dist/$package-$deb"
        ! command -v dpkg-deb >/dev/null || deploy/debian/package.sh "dist/$package-$deb" "$deb" "$target/release/$package" dist
    done
done
step dist
cd dist
rm -f SHA256SUMS
files=(*)
sha256sum "${files[@]}" >SHA256SUMS
stat -c '%8s  %n' "${files[@]}"
