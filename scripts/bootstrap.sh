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
# Environment: BUILDLIB_VENV (where the virtual environment is), BUILDLIB_PYTHON (what makes it;
# else the distribution's own, else the first on PATH), BUILDLIB_BASES (auto, registry, stand-ins or
# layouts: copies of the registry's images, for an engine without a network), BUILDLIB_BASE_IMAGES
# (a map of one's own; nothing is made then), BUILDLIB_OS_RELEASE (file that says which distribution
# this is), XDG_CACHE_HOME and TMPDIR. Where HOME is not set
# either, the cache is in the home that the system knows for the user, and where there is none, in a
# directory that is new each time. A cache or an environment outside of the checkout that somebody
# else could write is not used.
#
# What it does is in scripts/lib, a part in each file; the order is here.
#
# Exits with the command's own code; else 2 wrong use, 3 something is missing, 4 the engine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$root/requirements/dev.txt
check=no
may_sudo=no
release_tools=no

# Each only defines; what they do with it, and in which order, is below.
# shellcheck source=scripts/lib/machine.sh
. "$root/scripts/lib/machine.sh"
# shellcheck source=scripts/lib/private.sh
. "$root/scripts/lib/private.sh"
# shellcheck source=scripts/lib/environment.sh
. "$root/scripts/lib/environment.sh"
# shellcheck source=scripts/lib/engine.sh
. "$root/scripts/lib/engine.sh"
# shellcheck source=scripts/lib/emulation.sh
. "$root/scripts/lib/emulation.sh"
# shellcheck source=scripts/lib/bases.sh
. "$root/scripts/lib/bases.sh"

cache=$(cache_path)

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

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
    local mask
    # Nobody else can change what is made here; the command gets the mask that was set.
    mask=$(umask)
    umask go-w
    make_cache
    if have flock; then
        # Two at once would install twice. Not handed on: the lock ends with the preparing.
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
    umask "$mask"
}

# become_root WORD...: this script again. sudo has a PATH of its own, and HOME is where the caches are.
become_root() {
    have sudo || die 3 "--as-root needs sudo; install it, or run this as root"
    exec sudo --preserve-env env "PATH=$PATH" ${HOME:+"HOME=$HOME"} "${BASH_SOURCE[0]}" "$@"
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
    check_private
    if [ "$check" = yes ]; then tell; exit; fi
    [ $# -gt 0 ] || { usage >&2; die 2 "give a command to run"; }
    prepare
    exec "$@"
}

# Read by a test, it only defines.
[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
