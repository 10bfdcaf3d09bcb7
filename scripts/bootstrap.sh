#!/usr/bin/env bash
# Makes a machine ready, and runs a command in the project's environment.
#
#   scripts/bootstrap.sh invoke docker-build     build the image
#   scripts/bootstrap.sh nox                     run what CI runs
#   scripts/bootstrap.sh --check                 only tell what is here and what is missing
#   scripts/bootstrap.sh --install-engine CMD    install the engine although we are not root (sudo)
#   scripts/bootstrap.sh --release-tools CMD     install a registry server and cosign as well
#   scripts/bootstrap.sh --as-root CMD           do all of it as root (sudo), with our PATH and HOME
#   scripts/bootstrap.sh --stop-engine           stop the engine, if it was started by this script
#
# What it sees to, each only where it is missing: a virtual environment, git, a Docker engine with
# buildx, emulation for the other platform, and base images where no registry can be reached.
# An engine that already answers is used as it is. Whatever is installed or started is said in one
# line on stderr; stdout belongs to the command.
#
# Environment: BUILDLIB_VENV (where the virtual environment is), BUILDLIB_BASES
# (auto, registry or stand-ins), BUILDLIB_BASE_IMAGES (a map of one's own; nothing is made then),
# BUILDLIB_OS_RELEASE (file that says which distribution this is).
#
# Exits with the command's own code; else 2 wrong use, 3 something is missing, 4 the engine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$root/requirements/dev.txt
state=/run/buildlib
log=/var/log/buildlib
socket=/var/run/docker.sock
check=no
may_sudo=no
release_tools=no

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

# bounded SECONDS COMMAND...; not every system has timeout.
bounded() { if have timeout; then timeout "$@"; else shift; "$@"; fi; }

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

is_root() { [ "$(id -u)" = 0 ]; }
may_install() { is_debian_like && { is_root || [ "$may_sudo" = yes ]; }; }
as_root() { if is_root; then "$@"; else sudo "$@"; fi; }

# The mirrors of Debian 12 that this machine's own apt configuration names, as `URI SUITE`. apt
# reads both formats of sources itself; from an empty state it prints what it would fetch. Other
# makers' repositories have no component called main.
own_mirrors() {
    mkdir -p "$1/none/partial"
    apt-get -o Dir::State::Lists="$1/none" update --print-uris 2>/dev/null |
        sed -n "s|^'\(.*\)/dists/\(bookworm[a-z-]*\)/main/binary-[a-z0-9]*/Packages.*|\1 \2|p" |
        awk '$2 ~ /^bookworm(-updates|-security)?$/ && !seen[$0]++' || true
}

# Debian 12's own docker.io has no buildx. The next suite's packages run on it, and they are taken
# from the very mirror that this machine uses, in an apt state of our own: the system's sources
# stay as they are.
private_apt() {
    local dir=$cache/apt mirrors
    mirrors=$(own_mirrors "$dir")
    case $mirrors in
        *" bookworm"*) ;;
        *) die 3 "apt's sources name no mirror of Debian 12; add one, or install what is missing" ;;
    esac
    mkdir -p "$dir/parts" "$dir/lists/partial"
    printf '%s\n' "$mirrors" | awk '
        { print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $1, $2, "main" }
        $2 == "bookworm" && !next_suite++ { sub(/bookworm$/, "trixie"); print "deb " \
            "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $1, $2, "main" }
    ' >"$dir/sources.list"
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' >"$dir/preferences"
    cat >"$dir/apt.conf" <<CONF
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "$dir/parts";
Dir::Etc::Preferences "$dir/preferences";
Dir::State::Lists "$dir/lists";
APT::Sandbox::User "root";
CONF
}

is_debian_12() { [ "$(os_release VERSION_CODENAME)" = bookworm ]; }

apt_warnings=
apt_get() {
    local output code=0
    output=$(as_root env DEBIAN_FRONTEND=noninteractive ${apt_conf:+"APT_CONFIG=$apt_conf"} \
        apt-get -q -y "$@" 2>&1 </dev/null) || code=$?
    if [ "$code" != 0 ]; then
        printf '%s' "$apt_warnings" | tail -n 5 >&2
        printf '%s\n' "$output" | tail -n 15 >&2
        die 3 "apt-get $1 failed"
    fi
    # A mirror that is not reached is a warning only, and explains what fails later.
    apt_warnings=$apt_warnings$(printf '%s\n' "$output" | grep '^[EW]:' || true)
}

# Once in a run: a fresh machine has no package lists.
apt_lists() {
    [ -z "${apt_conf+known}" ] || return 0
    apt_conf=
    if is_debian_12; then private_apt; apt_conf=$cache/apt/apt.conf; fi
    apt_get update
}

# install_packages WHAT PACKAGE...: services must not start by themselves meanwhile; an own policy is kept.
install_packages() {
    local what=$1 policy=/usr/sbin/policy-rc.d
    shift
    apt_lists
    if [ ! -e "$policy" ]; then
        # shellcheck disable=SC2064 # the name as it is now
        trap "as_root rm -f '$policy'" EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    apt_get install --no-install-recommends "$@"
    [ -z "$(trap -p EXIT)" ] || { trap - EXIT; as_root rm -f "$policy"; }
    say "installed $what ($*)"
}

# The first of the packages that this distribution has.
first_known() {
    local name
    for name in "$@"; do
        ! apt-cache show "$name" >/dev/null 2>&1 || { printf '%s\n' "$name"; return; }
    done
}

# --- virtual environment ---------------------------------------------------------------------

venv_path() {
    if [ -n "${BUILDLIB_VENV:-}" ]; then
        case $BUILDLIB_VENV in
            /*) printf '%s\n' "$BUILDLIB_VENV" ;;
            *) printf '%s\n' "$PWD/$BUILDLIB_VENV" ;;
        esac
    elif [ -w "$root" ]; then
        printf '%s\n' "$root/.venv"
    else
        printf '%s/venv-%s\n' "$cache" "$(printf '%s' "$root" | cksum | cut -d' ' -f1)"
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

venv_ready() {
    local real
    [ -x "$venv/bin/python" ] && cmp -s "$requirements" "$venv/.bootstrap" || return 1
    # An upgrade of the system's Python leaves the link whole and the packages out of its sight.
    real=$(readlink -f "$venv/bin/python")
    case ${real##*/} in
        python3.[0-9] | python3.[0-9][0-9]) [ -d "$venv/lib/${real##*/}" ] ;;
    esac
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

# uv reads no configuration of pip's; what was set for pip holds for it as well.
pip_says() { "$1" -m pip config get "global.$2" 2>/dev/null || true; }
uv_like_pip() {
    local index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-}} cert=${SSL_CERT_FILE:-${PIP_CERT:-}}
    [ -n "$index" ] || index=$(pip_says "$1" index-url)
    [ -n "$cert" ] || cert=$(pip_says "$1" cert)
    [ -z "$index" ] || export UV_DEFAULT_INDEX=$index
    [ -z "$cert" ] || export SSL_CERT_FILE=$cert
}

fill_with_uv() {
    local uv
    uv=$(find_uv "$1") || return 1
    uv_like_pip "$1"
    "$uv" venv --quiet --clear --python "$1" "$venv" &&
        "$uv" pip sync --quiet --compile-bytecode --require-hashes \
            --python "$venv/bin/python" "$requirements"
}

fill_with_pip() {
    if ! "$1" -c 'import ensurepip' 2>/dev/null; then
        may_install || die 3 "$1 has no venv module; install python3-venv"
        install_packages "Python's venv module" python3-venv
    fi
    "$1" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r "$requirements"
}

make_venv() {
    local python
    python=$(find_python) || {
        may_install || die 3 "no Python 3.11 or later on PATH; install one"
        install_packages Python python3 python3-venv
        python=$(find_python) || die 3 "the distribution's Python is older than 3.11; install one"
    }
    rm -f "$venv/.bootstrap"
    fill_with_uv "$python" || fill_with_pip "$python"
    # Last: an environment that was broken off is made again.
    cp "$requirements" "$venv/.bootstrap"
    say "made the virtual environment $venv"
}

ensure_git() {
    have git && return
    may_install || die 3 "git is missing; install it"
    install_packages git git
}

# --- engine ----------------------------------------------------------------------------------

engine_answers() {
    have docker && bounded 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}
buildx_answers() { have docker && docker buildx version >/dev/null 2>&1; }

# Somebody chose another engine: it is not ours to put one beside it.
chosen_endpoint() {
    local context
    if [ -n "${DOCKER_HOST:-}" ]; then
        printf 'DOCKER_HOST=%s\n' "$DOCKER_HOST"
    elif [ -n "${DOCKER_CONTEXT:-}" ]; then
        [ "$DOCKER_CONTEXT" = default ] || printf 'DOCKER_CONTEXT=%s\n' "$DOCKER_CONTEXT"
    elif have docker; then
        context=$(docker context show 2>/dev/null) || context=default
        [ "$context" = default ] || printf 'the context %s\n' "$context"
    fi
}

advice() {
    local text="install Docker Engine 23 or later with the buildx plugin, and start it"
    ! is_debian_like || text="$text, or give --install-engine"
    printf '%s\n' "$text"
}

# Several platforms under one tag, OCI archives, attestations and base images as OCI layouts need
# the containerd store. Not where an engine has a configuration, or images in the classic store
# already: they would vanish from sight.
choose_store() {
    [ ! -e /etc/docker/daemon.json ] && [ ! -e /var/lib/docker/image ] || return 0
    as_root mkdir -p /etc/docker
    printf '{"features": {"containerd-snapshotter": true}}\n' |
        as_root tee /etc/docker/daemon.json >/dev/null
    say "set up the containerd image store (/etc/docker/daemon.json)"
}

add_engine() {
    may_install || die 3 "no Docker engine: $(advice)"
    if is_debian_12; then
        install_packages "the Docker engine" docker.io/trixie docker-cli/trixie containerd/trixie \
            docker-buildx/trixie iptables
    else
        apt_lists
        # shellcheck disable=SC2046 # none or one word each
        install_packages "the Docker engine" docker.io iptables $(first_known docker-cli) \
            $(first_known docker-buildx docker-buildx-plugin)
    fi
    choose_store
}

add_buildx() {
    may_install || die 3 "no docker buildx: $(advice)"
    if is_debian_12; then
        install_packages "docker buildx" docker-buildx/trixie
    else
        apt_lists
        # shellcheck disable=SC2046 # one word
        install_packages "docker buildx" $(first_known docker-buildx-plugin docker-buildx)
    fi
    buildx_answers || die 3 "docker does not find its buildx plugin: $(advice)"
}

# What the tests of publishing need beside the engine: a registry to run here, and cosign.
ensure_release_tools() {
    local packages=()
    have docker-registry || packages+=(docker-registry)
    if ! have cosign; then
        if is_debian_12; then packages+=(cosign/trixie); else packages+=(cosign); fi
    fi
    [ "${#packages[@]}" != 0 ] || return 0
    may_install || die 3 "missing: ${packages[*]%%/*}; install cosign 2 or 3, and" \
        "docker-registry (github.com/distribution/distribution) under that name"
    install_packages "what publishing is tested with" "${packages[@]}"
}

# started_at PID: prints the start time; fails where the process has ended, reaped or not.
started_at() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086 # words, from the third on; the second may hold blanks
    set -- ${stat##*) }
    [ "$1" != Z ] && printf '%s\n' "${20}"
}

# A process id may have been given to somebody else since: the start time has to fit as well.
ours() {
    local pid time
    [ -r "$state/$1" ] && read -r pid time <"$state/$1" &&
        [ "$(started_at "$pid")" = "$time" ] && printf '%s\n' "$pid"
}

# Detached from this shell and its lock, and remembered, so that it can be stopped again.
start_daemon() {
    (cd / && exec setsid "$@") >"$log/$1.log" 2>&1 </dev/null 9>&- &
    printf '%s %s\n' "$!" "$(started_at "$!")" >"$state/$1"
}

# forget_stale FILE NAME: a process id from before a restart may be somebody else's by now, and
# the engine would take that for itself and not start.
forget_stale() {
    local pid='' name=''
    [ -r "$1" ] || return 0
    read -r pid <"$1" || true
    { read -r name <"/proc/${pid:-none}/comm"; } 2>/dev/null || true
    # Where nobody reaps it, an ended process keeps its name.
    { [ "$name" = "$2" ] && started_at "$pid" >/dev/null; } || rm -f "$1"
}

containerd=/run/containerd/containerd.sock

# A socket may have been left by a process that is no more.
containerd_answers() {
    [ -S "$containerd" ] &&
        "$venv/bin/python" -c 'import socket, sys; socket.socket(1).connect(sys.argv[1])' \
            "$containerd" 2>/dev/null
}

start_containerd() {
    local end=$((SECONDS + 20))
    ! containerd_answers || return 0
    start_daemon containerd
    until containerd_answers; do
        [ "$SECONDS" -lt "$end" ] || die 4 "containerd did not start, see $log/containerd.log"
        sleep 0.1
    done
}

# An engine that somebody is starting answers soon; one that somebody stopped ends soon.
settle() {
    local end=$((SECONDS + 30))
    forget_stale /var/run/docker.pid dockerd
    [ -e /var/run/docker.pid ] || return 0
    say "waiting for a Docker engine that is starting or ending"
    while [ -e /var/run/docker.pid ] && [ "$SECONDS" -lt "$end" ]; do
        ! engine_answers || return 0
        sleep 0.2
        forget_stale /var/run/docker.pid dockerd
    done
}

start_detached() {
    settle
    ! engine_answers || return 0
    mkdir -p "$state" "$log"
    choose_store
    # As the distribution's own service does: with another containerd, dockerd would not find the
    # images and the build cache that it has.
    start_containerd
    start_daemon dockerd --containerd "$containerd"
    say "started the Docker engine (log: $log/dockerd.log)"
}

check_permission() {
    [ ! -S "$socket" ] || [ -w "$socket" ] ||
        die 4 "$(id -un) may not use $socket; sudo usermod -aG docker $(id -un), and log in again"
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        is_root || [ "$may_sudo" = yes ] ||
            die 4 "the Docker engine is not running; sudo systemctl start docker"
        as_root systemctl start docker || die 4 "systemd could not start the Docker engine"
        say "started the Docker engine with systemd"
    else
        is_root || die 4 "the Docker engine is not running; start it as root: sudo dockerd"
        start_detached
    fi
    wait_for_engine
}

wait_for_engine() {
    local end=$((SECONDS + 60))
    until engine_answers; do
        if [ "$SECONDS" -ge "$end" ] || { [ -e "$state/dockerd" ] && ! ours dockerd >/dev/null; }; then
            tail -n 10 "$log/dockerd.log" >&2 2>/dev/null || true
            check_permission
            die 4 "the Docker engine did not start"
        fi
        sleep 0.1
    done
}

ensure_engine() {
    local endpoint
    if ! engine_answers; then
        endpoint=$(chosen_endpoint)
        [ -z "$endpoint" ] || die 4 "$endpoint does not answer; start that engine, or unset it"
        check_permission
        have dockerd || add_engine
        start_engine
    fi
    buildx_answers || add_buildx
}

stop_daemon() {
    local pid end=$((SECONDS + 30))
    pid=$(ours "$1") || return 0
    kill "$pid"
    while ours "$1" >/dev/null; do
        [ "$SECONDS" -lt "$end" ] || die 4 "$1 (process $pid) did not end within 30 s"
        sleep 0.1
    done
    rm -f "$state/$1"
}

stop_engine() {
    ours dockerd >/dev/null || die 0 "no engine that was started here is running"
    stop_daemon dockerd
    stop_daemon containerd
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
    # F: the kernel opens the emulator now, so that it works inside any container. P: the program
    # keeps its own argv[0], by which BusyBox knows what it is (Linux 5.12, QEMU 6.0).
    printf '%s' ":qemu-$machine:M::$magic\\x$number\\x00:$mask\\xff\\xff:/usr/bin/qemu-$machine-static:PF" |
        as_root tee "$binfmt/register" >/dev/null 2>&1
}

ensure_emulation() {
    local machine
    ! emulation_ready && emulation_concerns_us || return 0
    machine=$(other_machine)
    if ! may_install; then
        say "no emulation of $machine; docker run --privileged --rm tonistiigi/binfmt --install all"
        return
    fi
    [ -e "$binfmt/register" ] || as_root mount -t binfmt_misc binfmt_misc "$binfmt" 2>/dev/null ||
        true
    ! emulation_ready || return 0
    [ -x "/usr/bin/qemu-$machine-static" ] || install_packages emulation qemu-user-static
    # A package of a machine with systemd registers by itself.
    ! emulation_ready || return 0
    case $machine in
        aarch64) register_emulation aarch64 b7 ;;
        x86_64) register_emulation x86_64 3e ;;
    esac || { say "this kernel takes no emulation; only $(uname -m) will run"; return 0; }
    say "registered emulation of $machine"
}

# --- base images -----------------------------------------------------------------------------

# The answer is remembered for a day: asking costs a second where it is yes, more where it is no.
bases_chosen() {
    case ${BUILDLIB_BASES:-auto} in
        registry | stand-ins) printf '%s\n' "$BUILDLIB_BASES" ;;
        auto) [ -z "$(find "$cache/bases" -mmin -1440 2>/dev/null)" ] || cat "$cache/bases" ;;
        *) die 2 "BUILDLIB_BASES is auto, registry or stand-ins, not $BUILDLIB_BASES" ;;
    esac
}

ask_registry() {
    local base
    base=alpine:$(sed -n 's/^ARG ALPINE_VERSION=//p' "$root/Dockerfile")
    mkdir -p "$cache"
    if bounded 15 docker buildx imagetools inspect "$base" >/dev/null 2>&1
    then printf 'registry\n'; else printf 'stand-ins\n'; fi >"$cache/bases"
    cat "$cache/bases"
}

# Newer than all that it was made from: no need to start Python to find the same out.
stand_ins_made() {
    local map_of=$cache/stand-ins/map input
    [ -r "$map_of" ] && [ -r "$(cat "$map_of")" ] || return 1
    for input in Dockerfile scripts/standins.py requirements/stand-ins.txt; do
        [ "$map_of" -nt "$root/$input" ] || return 1
    done
}

make_stand_ins() {
    local map_of=$cache/stand-ins/map uv=$venv/bin/uv
    [ -x "$uv" ] || uv=uv
    uv_like_pip "$(find_python || echo python3)"
    mkdir -p "$cache/stand-ins"
    "$venv/bin/python" "$root/scripts/standins.py" --cache "$cache" --uv "$uv" \
        --dockerfile "$root/Dockerfile" --requirements "$root/requirements/stand-ins.txt" \
        >"$map_of.new" || { rm -f "$map_of.new"; return 1; }
    mv "$map_of.new" "$map_of"
    say "no image registry answers: made stand-ins for the base images"
}

ensure_bases() {
    local answer
    [ -z "${BUILDLIB_BASE_IMAGES:-}" ] || return 0
    answer=$(bases_chosen)
    [ -n "$answer" ] || answer=$(ask_registry)
    [ "$answer" = stand-ins ] || return 0
    stand_ins_made || make_stand_ins || die 3 "no image registry answers, and no stand-ins can be" \
        "made here; name a mirror in BUILDLIB_BASE_IMAGES, or give BUILDLIB_BASES=registry"
    BUILDLIB_BASE_IMAGES=$(cat "$cache/stand-ins/map")
    export BUILDLIB_BASE_IMAGES
}

# --- root --------------------------------------------------------------------------------------

# become_root WORD...: this script again. sudo has a PATH of its own, and HOME is where the caches are.
become_root() {
    have sudo || die 3 "--as-root needs sudo; install it, or run this as root"
    exec sudo --preserve-env env "PATH=$PATH" ${HOME:+"HOME=$HOME"} "${BASH_SOURCE[0]}" "$@"
}

# --- all of it -------------------------------------------------------------------------------

# What is missing in a --check run.
missing=0
report() {
    printf '%-8s %-12s %s\n' "$1" "$2" "$3"
    [ "$1" = ok ] || missing=1
}

tell_engine() {
    local endpoint
    if engine_answers; then
        report ok engine "$(docker version --format '{{.Server.Version}}')"
        if buildx_answers; then report ok buildx "$(docker buildx version)"
        elif may_install; then report missing buildx "would install it"
        else report missing buildx "$(advice)"; fi
        return
    fi
    endpoint=$(chosen_endpoint)
    if [ -n "$endpoint" ]; then report missing engine "$endpoint does not answer"
    elif have dockerd; then report missing engine "would start it"
    elif may_install; then report missing engine "would install and start it"
    else report missing engine "$(advice)"; fi
}

tell_bases() {
    local answer
    answer=$(bases_chosen)
    if [ -n "${BUILDLIB_BASE_IMAGES:-}" ]; then report ok bases "$BUILDLIB_BASE_IMAGES"
    elif [ -z "$answer" ]; then report missing bases "would ask whether a registry answers"
    elif [ "$answer" = registry ] || stand_ins_made; then report ok bases "$answer"
    else report missing bases "would make stand-ins"; fi
}

tell() {
    if venv_ready; then report ok environment "$venv"
    else report missing environment "would make $venv"; fi
    if have git; then report ok git "$(command -v git)"
    else report missing git "would install it where allowed"; fi
    tell_engine
    if emulation_ready; then report ok emulation "$(other_machine)"
    elif ! emulation_concerns_us; then report ok emulation "is the engine's own affair"
    else report missing emulation "would register $(other_machine) where allowed"; fi
    tell_bases
    [ "$missing" = 0 ] || exit 3
}

prepare() {
    if have flock; then
        # Two at once would install twice. Not handed on: the lock ends with the preparing.
        mkdir -p "$cache"
        exec 9>"$cache/lock"
        flock -n 9 || { say "waiting for another bootstrap to end"; flock 9; }
    fi
    venv_ready || make_venv
    ensure_git
    ensure_engine
    ensure_emulation
    ensure_bases
    [ "$release_tools" = no ] || ensure_release_tools
    export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
    exec 9>&-
}

main() {
    local given=("$@") be_root=no
    while [ $# -gt 0 ]; do
        case $1 in
            --check) check=yes ;;
            --install-engine) may_sudo=yes ;;
            --release-tools) release_tools=yes ;;
            --as-root) be_root=yes ;;
            --stop-engine) stop_engine; exit ;;
            -h | --help) usage; exit ;;
            --) shift; break ;;
            -*) usage >&2; die 2 "unknown option $1" ;;
            *) break ;;
        esac
        shift
    done
    [ "$be_root" = no ] || is_root || become_root "${given[@]}"
    venv=$(venv_path)
    if [ "$check" = yes ]; then tell; exit; fi
    [ $# -gt 0 ] || { usage >&2; die 2 "give a command to run"; }
    prepare
    exec "$@"
}

# Read by a test, it only defines.
[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
