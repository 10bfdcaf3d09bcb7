#!/usr/bin/env bash
# Makes a machine ready, and runs a command in the project's environment.
#
#   scripts/bootstrap.sh invoke docker-build     build the image
#   scripts/bootstrap.sh nox                     run what CI runs
#   scripts/bootstrap.sh --check                 only tell what is here and what is missing
#   scripts/bootstrap.sh --install-engine CMD    install the engine although we are not root (sudo)
#   scripts/bootstrap.sh --stop-engine           stop the engine, if it was started by this script
#
# What it sees to, each only where it is missing: a virtual environment, a Docker engine with
# buildx, emulation for the other platform, and base images where no registry can be reached.
# An engine that already answers is used as it is. Whatever is installed or started is said in one
# line on stderr; stdout belongs to the command.
#
# Environment: BUILDLIB_VENV (where the virtual environment is), BUILDLIB_BASES
# (auto, registry or stand-ins), BUILDLIB_BASE_IMAGES (a map of one's own; nothing is made then),
# BUILDLIB_OS_RELEASE (file that says which distribution this is).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$root/requirements/dev.txt
state=/run/buildlib
log=/var/log/buildlib
check=no
install_engine=no

if [ -n "${XDG_CACHE_HOME:-}" ]; then
    cache=$XDG_CACHE_HOME/buildlib
elif [ -n "${HOME:-}" ]; then
    cache=$HOME/.cache/buildlib
else
    cache=${TMPDIR:-/tmp}/buildlib-$(id -u)
fi

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { local code=$1; shift; say "$@"; exit "$code"; }
have() { command -v "$1" >/dev/null 2>&1; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# What is missing in a --check run.
missing=0
report() {
    local state=$1 name=$2 text=$3
    printf '%-8s %-12s %s\n' "$state" "$name" "$text"
    [ "$state" = ok ] || missing=1
}

# --- the machine -----------------------------------------------------------------------------

os_release() {
    local file=${BUILDLIB_OS_RELEASE:-/etc/os-release}
    # shellcheck disable=SC1090 # read at run time, whatever it holds
    [ ! -r "$file" ] || (. "$file" && printf '%s\n' "${!1:-}")
}

is_debian_like() {
    case " $(os_release ID) $(os_release ID_LIKE) " in
        *" debian "* | *" ubuntu "*) return 0 ;;
        *) return 1 ;;
    esac
}

may_install() { is_debian_like && { [ "$(id -u)" = 0 ] || [ "$install_engine" = yes ]; }; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Services must not start by themselves while packages are installed; an own policy is kept.
apt_install() {
    local policy=/usr/sbin/policy-rc.d output code=0
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"; local ours=yes; }
    output=$(DEBIAN_FRONTEND=noninteractive as_root env "$@" 2>&1 </dev/null) || code=$?
    [ -z "${ours:-}" ] || as_root rm -f "$policy"
    [ "$code" = 0 ] || { printf '%s\n' "$output" | tail -n 20 >&2; die 3 "apt-get failed"; }
}

# Debian 12's own docker.io has no buildx. The next suite's packages run on it, and they are taken
# from the very mirror that this machine uses, in an apt state of our own: the system's sources
# stay as they are.
private_apt() {
    local dir=$cache/apt mirror
    # shellcheck disable=SC2016 # apt's own variables
    mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 == "bookworm" && $3 == "main" { print $1; exit }')
    [ -n "$mirror" ] || die 3 "apt knows no mirror of bookworm; install Docker and its buildx plugin"
    mkdir -p "$dir/parts" "$dir/lists/partial"
    for suite in bookworm trixie; do
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
            "$mirror" "$suite"
    done >"$dir/sources.list"
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' >"$dir/preferences"
    cat >"$dir/apt.conf" <<END
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "$dir/parts";
Dir::Etc::Preferences "$dir/preferences";
Dir::State::Lists "$dir/lists";
APT::Sandbox::User "root";
END
    printf '%s\n' "$dir/apt.conf"
}

# --- virtual environment ---------------------------------------------------------------------

venv_path() {
    if [ -n "${BUILDLIB_VENV:-}" ]; then
        printf '%s\n' "$BUILDLIB_VENV"
    elif [ -w "$root" ]; then
        printf '%s\n' "$root/.venv"
    else
        printf '%s/venv-%s\n' "$cache" "$(printf '%s' "$root" | sha256sum | cut -c1-12)"
    fi
}

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if have "$name" && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
        then
            command -v "$name"
            return
        fi
    done
    return 1
}

# The requirements alone: a Python that is replaced breaks the environment, and that is seen.
stamp_of() { sha256sum <"$requirements" | cut -c1-64; }

venv_ready() {
    [ -x "$venv/bin/python" ] && [ -r "$venv/.bootstrap" ] &&
        [ "$(cat "$venv/.bootstrap")" = "$(stamp_of)" ]
}

find_uv() {
    if have uv; then command -v uv; return; fi
    if [ ! -x "$cache/uv/bin/uv" ]; then
        mkdir -p "$cache"
        awk '/^[a-z]/ { wanted = /^uv==/ } wanted' "$requirements" >"$cache/uv.txt"
        "$1" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            --target "$cache/uv" --upgrade -r "$cache/uv.txt" >/dev/null 2>&1 || return 1
        say "installed uv into $cache/uv"
    fi
    printf '%s\n' "$cache/uv/bin/uv"
}

# uv reads no configuration of pip's; an index that was set for pip holds for it as well.
uv_index() {
    local index
    index=$("$1" -m pip config get global.index-url 2>/dev/null) || return 0
    export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$index}}
}

make_venv() {
    local python uv
    python=$(find_python) || {
        may_install || die 3 "no Python 3.11 or later on PATH; install one"
        apt_install apt-get install -y --no-install-recommends python3 python3-venv
        say "installed python3"
        python=$(find_python) || die 3 "the distribution's Python is older than 3.11; install one"
    }
    rm -f "$venv/.bootstrap"
    if uv=$(find_uv "$python"); then
        uv_index "$python"
        "$uv" venv --quiet --clear --python "$python" "$venv"
        "$uv" pip sync --quiet --compile-bytecode --require-hashes --python "$venv/bin/python" "$requirements"
    else
        if ! "$python" -c 'import ensurepip' 2>/dev/null; then
            may_install || die 3 "$python has no venv module; install python3-venv"
            apt_install apt-get install -y --no-install-recommends python3-venv
            say "installed python3-venv"
        fi
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --require-hashes -r "$requirements"
    fi
    # Last: an environment that was broken off is made again.
    stamp_of >"$venv/.bootstrap"
    say "made the virtual environment $venv"
}

# --- engine ----------------------------------------------------------------------------------

engine_answers() { have docker && docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
buildx_answers() { have docker && docker buildx version >/dev/null 2>&1; }

# Somebody chose another engine: it is not ours to put one beside it.
chosen_endpoint() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        printf 'DOCKER_HOST=%s\n' "$DOCKER_HOST"
    elif [ -n "${DOCKER_CONTEXT:-}" ] && [ "$DOCKER_CONTEXT" != default ]; then
        printf 'DOCKER_CONTEXT=%s\n' "$DOCKER_CONTEXT"
    elif have docker && [ "$(docker context show 2>/dev/null || echo default)" != default ]; then
        printf 'context %s\n' "$(docker context show)"
    fi
}

advice="install Docker Engine 23 or later with the buildx plugin, or give --install-engine"

install_packages() {
    local wanted=$1
    may_install || die 3 "$wanted: missing; $advice"
    if [ "$(os_release VERSION_CODENAME)" = bookworm ]; then
        local conf
        conf=$(private_apt)
        apt_install APT_CONFIG="$conf" apt-get -q update
        case $wanted in
            buildx) apt_install APT_CONFIG="$conf" apt-get install -y --no-install-recommends \
                docker-buildx/trixie ;;
            *) apt_install APT_CONFIG="$conf" apt-get install -y --no-install-recommends \
                docker.io/trixie docker-cli/trixie containerd/trixie docker-buildx/trixie iptables ;;
        esac
    else
        apt_install apt-get -q update
        case $wanted in
            buildx) apt_install apt-get install -y --no-install-recommends docker-buildx ;;
            *) apt_install apt-get install -y --no-install-recommends \
                docker.io docker-cli docker-buildx iptables ;;
        esac
    fi
    say "installed $wanted from the distribution's packages"
}

started_at() { cut -d' ' -f22 <"/proc/$1/stat" 2>/dev/null; }

# A process id may have been given to somebody else since: the start time has to fit as well.
our_engine() {
    local pid time
    [ -r "$state/dockerd" ] && read -r pid time <"$state/dockerd" &&
        [ "$(started_at "$pid")" = "$time" ] && printf '%s\n' "$pid"
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
        say "started the Docker engine with systemd"
    else
        [ "$(id -u)" = 0 ] || die 3 "the Docker engine is installed and not running; start it"
        mkdir -p "$state" "$log" /etc/docker
        if [ ! -e /etc/docker/daemon.json ]; then
            # Several platforms under one tag, OCI archives and attestations need it.
            printf '{"features": {"containerd-snapshotter": true}}\n' >/etc/docker/daemon.json
        fi
        drop_dead_socket /run/containerd/containerd.sock
        # Without --containerd it starts one of its own, and ends it when it ends.
        setsid dockerd >"$log/dockerd.log" 2>&1 </dev/null 9>&- &
        printf '%s %s\n' "$!" "$(started_at "$!")" >"$state/dockerd"
        say "started the Docker engine (log: $log/dockerd.log)"
    fi
    wait_for_engine
}

# dockerd would wait for a containerd that is no longer there.
drop_dead_socket() {
    [ -S "$1" ] || return 0
    if ! "$venv/bin/python" -c 'import socket, sys; socket.socket(1).connect(sys.argv[1])' "$1" \
        2>/dev/null; then
        rm -f "$1"
    fi
}

wait_for_engine() {
    local tries=300
    until engine_answers; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ]; then
            tail -n 10 "$log/dockerd.log" >&2 2>/dev/null || true
            die 4 "the Docker engine did not answer within 60 s"
        fi
        sleep 0.2
    done
}

ensure_engine() {
    if engine_answers; then
        buildx_answers || install_packages buildx
        return
    fi
    local endpoint
    endpoint=$(chosen_endpoint)
    [ -z "$endpoint" ] || die 4 "$endpoint does not answer; start that engine, or unset it"
    have dockerd || install_packages "Docker engine"
    start_engine
    buildx_answers || install_packages buildx
    buildx_answers || die 3 "docker does not find its buildx plugin; $advice"
}

stop_engine() {
    local pid tries=100
    pid=$(our_engine) || die 0 "no engine that was started here is running"
    kill "$pid"
    while [ -d "/proc/$pid" ] && [ "$tries" -gt 0 ]; do tries=$((tries - 1)); sleep 0.2; done
    [ ! -d "/proc/$pid" ] || die 4 "the engine (process $pid) did not end within 20 s"
    rm -f "$state/dockerd"
    say "stopped the Docker engine"
}

# --- emulation -------------------------------------------------------------------------------

other_machine() { case $(uname -m) in x86_64) echo aarch64 ;; *) echo x86_64 ;; esac; }
binfmt=/proc/sys/fs/binfmt_misc

# An engine elsewhere, in a VM or on another system, has or has not its own.
emulation_concerns_us() { [ "$(uname -s)" = Linux ] && [ -z "$(chosen_endpoint)" ]; }
emulation_ready() { [ -e "$binfmt/qemu-$(other_machine)" ]; }

register_emulation() {
    local machine=$1 number=$2
    local magic="\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00"
    local mask="\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff"
    # F: the kernel opens the emulator now, so that it works inside any container.
    printf '%s' ":qemu-$machine:M::$magic\\x$number\\x00:$mask\\xff\\xff:/usr/bin/qemu-$machine-static:F" \
        >"$binfmt/register"
}

ensure_emulation() {
    emulation_concerns_us || return 0
    emulation_ready && return 0
    local machine
    machine=$(other_machine)
    if [ "$(id -u)" != 0 ] || ! is_debian_like; then
        say "no emulation of $machine; docker run --privileged --rm tonistiigi/binfmt --install all"
        return
    fi
    [ -e "$binfmt/register" ] || mount -t binfmt_misc binfmt_misc "$binfmt" 2>/dev/null || true
    if [ ! -x "/usr/bin/qemu-$machine-static" ]; then
        [ "$(os_release VERSION_CODENAME)" != bookworm ] || local -x APT_CONFIG
        [ "$(os_release VERSION_CODENAME)" != bookworm ] || APT_CONFIG=$(private_apt)
        apt_install apt-get -q update
        apt_install apt-get install -y --no-install-recommends qemu-user-static
        say "installed qemu-user-static"
    fi
    emulation_ready && return 0
    case $machine in
        aarch64) register_emulation aarch64 b7 ;;
        x86_64) register_emulation x86_64 3e ;;
    esac || { say "this kernel takes no emulation; only $(uname -m) will run"; return 0; }
    say "registered emulation of $machine"
}

# --- base images -----------------------------------------------------------------------------

# The answer is remembered for a day: asking costs a second where it is yes, more where it is no.
bases() {
    local answer=$cache/bases
    case ${BUILDLIB_BASES:-auto} in
        registry | stand-ins) printf '%s\n' "$BUILDLIB_BASES"; return ;;
        auto) ;;
        *) die 2 "BUILDLIB_BASES is auto, registry or stand-ins, not $BUILDLIB_BASES" ;;
    esac
    if [ -z "$(find "$answer" -mmin -1440 2>/dev/null)" ]; then
        mkdir -p "$cache"
        if timeout 15 docker buildx imagetools inspect \
            "alpine:$(sed -n 's/^ARG ALPINE_VERSION=//p' "$root/Dockerfile")" >/dev/null 2>&1
        then printf 'registry\n' >"$answer"
        else printf 'stand-ins\n' >"$answer"
        fi
    fi
    cat "$answer"
}

stand_ins() {
    local map_of=$cache/stand-ins/map uv
    # Newer than all that it was made from: no need to start Python to find the same out.
    if [ -r "$map_of" ] && [ -r "$(cat "$map_of")" ] && [ "$map_of" -nt "$root/Dockerfile" ] &&
        [ "$map_of" -nt "$root/scripts/standins.py" ] &&
        [ "$map_of" -nt "$root/requirements/stand-ins.txt" ]; then
        cat "$map_of"
        return
    fi
    uv=$venv/bin/uv
    [ -x "$uv" ] || uv=uv
    uv_index "$venv/bin/python"
    mkdir -p "$cache/stand-ins"
    "$venv/bin/python" "$root/scripts/standins.py" --cache "$cache" --uv "$uv" \
        --dockerfile "$root/Dockerfile" --requirements "$root/requirements/stand-ins.txt" \
        >"$map_of.new" || { rm -f "$map_of.new"; exit 3; }
    mv "$map_of.new" "$map_of"
    say "no image registry answers: made stand-ins for the base images"
    cat "$map_of"
}

ensure_bases() {
    [ -z "${BUILDLIB_BASE_IMAGES:-}" ] || return 0
    local answer
    answer=$(bases)
    [ "$answer" = stand-ins ] || return 0
    BUILDLIB_BASE_IMAGES=$(stand_ins)
    export BUILDLIB_BASE_IMAGES
}

# --- all of it -------------------------------------------------------------------------------

tell() {
    if venv_ready; then report ok environment "$venv"
    else report missing environment "would make $venv"; fi
    if ! engine_answers; then
        local endpoint
        endpoint=$(chosen_endpoint)
        if [ -n "$endpoint" ]; then report missing engine "$endpoint does not answer"
        elif have dockerd; then report missing engine "would start it"
        elif may_install; then report missing engine "would install and start it"
        else report missing engine "$advice"; fi
    else
        report ok engine "$(docker version --format '{{.Server.Version}}')"
        if buildx_answers; then report ok buildx "$(docker buildx version)"
        else report missing buildx "would install it where allowed"; fi
    fi
    if ! emulation_concerns_us; then report ok emulation "is the engine's own affair"
    elif emulation_ready; then report ok emulation "$(other_machine)"
    else report missing emulation "would register $(other_machine)"; fi
    if [ -n "${BUILDLIB_BASE_IMAGES:-}" ]; then report ok bases "$BUILDLIB_BASE_IMAGES"
    elif [ -r "$cache/bases" ]; then report ok bases "$(cat "$cache/bases")"
    else report missing bases "would ask whether a registry answers"; fi
    [ "$missing" = 0 ] || exit 3
}

prepare() {
    if have flock; then
        # Two at once would install twice. Not handed on: the lock ends with the preparing.
        mkdir -p "$cache"
        exec 9>"$cache/lock"
        flock 9
    fi
    venv_ready || make_venv
    export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
    ensure_engine
    ensure_emulation
    ensure_bases
    exec 9>&-
}

main() {
    while [ $# -gt 0 ]; do
        case $1 in
            --check) check=yes ;;
            --install-engine) install_engine=yes ;;
            --stop-engine) stop_engine; exit ;;
            -h | --help) usage; exit ;;
            --) shift; break ;;
            -*) usage >&2; die 2 "unknown option $1" ;;
            *) break ;;
        esac
        shift
    done
    venv=$(venv_path)
    if [ "$check" = yes ]; then tell; exit; fi
    [ $# -gt 0 ] || { usage >&2; die 2 "give a command to run"; }
    prepare
    exec "$@"
}

main "$@"
