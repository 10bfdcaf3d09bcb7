#!/usr/bin/env bash
# Sets up a machine, and runs a command in the project's environment.
#
#   scripts/bootstrap.sh invoke docker-build     build the image
#   scripts/bootstrap.sh nox                     run what CI runs
#   ../buildlib/scripts/bootstrap.sh bash        a shell for another repository: buildlib and invoke
#   scripts/bootstrap.sh --check                 only print what is installed and what is missing
#   scripts/bootstrap.sh --install-engine CMD    install the engine with sudo if you are not root
#   scripts/bootstrap.sh --release-tools CMD     install a registry server and cosign as well
#   scripts/bootstrap.sh --browser CMD           install Chromium as well
#   scripts/bootstrap.sh --shells CMD           install zsh and fish as well
#   scripts/bootstrap.sh --as-root CMD           do everything as root (sudo), with your PATH and HOME
#   scripts/bootstrap.sh --stop-engine           stop the engine, if it was started by this script
#
# It installs or starts what is missing: a virtual environment, git, a Docker engine with buildx,
# emulation of the other platform, and placeholder base images if no registry is reachable. An engine
# that already answers is used as it is. Each thing that is installed or started is reported in one
# line on stderr; stdout belongs to the command.
#
# Environment: BUILDLIB_VENV (path of the virtual environment), BUILDLIB_PYTHON (the Python for it;
# default: the distribution's, otherwise the first on PATH), BUILDLIB_BASES (`auto`, `registry`,
# `stand-ins`: placeholder base images, or `layouts`: copies of the registry's images, for an engine
# without a network), BUILDLIB_BASE_IMAGES (your own map of base images; none are made then),
# BUILDLIB_OS_RELEASE (file that describes the distribution), XDG_CACHE_HOME and TMPDIR. If HOME is
# not set either, the cache is in the user's home as the system knows it, otherwise in a new directory
# each time. A cache, or an environment outside of the checkout, that somebody else can write is not
# used.
#
# The steps are in scripts/lib; their order is here.
#
# Exits with the command's own code; otherwise 2 wrong use, 3 something is missing, 4 the engine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$root/requirements/dev.txt
check=no
may_sudo=no
release_tools=no
browser=no
shells=no

# These files only define functions.
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
# shellcheck source=scripts/lib/browser.sh
. "$root/scripts/lib/browser.sh"
# shellcheck source=scripts/lib/shells.sh
. "$root/scripts/lib/shells.sh"

cache=$(cache_path)

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# 1 if something is missing, in a --check run.
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
    else report missing bases "would make placeholders"; fi
}

tell() {
    if venv_ready; then report ok environment "$venv"
    else report missing environment "would make $venv"; fi
    if have git; then report ok git "$(command -v git)"
    else report missing git "would install it where allowed"; fi
    tell_engine
    if emulation_ready; then report ok emulation "$(other_machine)"
    elif ! emulation_concerns_us; then report ok emulation "depends on the engine"
    else report missing emulation "would register $(other_machine) where allowed"; fi
    tell_bases
    [ "$missing" = 0 ] || exit 3
}

prepare() {
    local mask
    # Only this user may write what is made here; the command gets the original mask.
    mask=$(umask)
    umask go-w
    make_cache
    if have flock; then
        # Two at once would install twice. The command does not inherit the lock.
        exec 9>"$cache/lock"
        flock -n 9 || { say "waiting for another bootstrap"; flock 9; }
    fi
    venv_ready || make_venv
    link_library
    ensure_git
    ensure_engine
    ensure_emulation
    ensure_bases
    [ "$release_tools" = no ] || ensure_release_tools
    [ "$browser" = no ] || ensure_browser
    [ "$shells" = no ] || ensure_shells
    export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
    exec 9>&-
    umask "$mask"
}

# become_root WORD...: runs this script again. sudo resets PATH, and HOME has the caches.
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
            --browser) browser=yes ;;
            --shells) shells=yes ;;
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
    have "$1" || die 127 "$1 not found; give a program and its arguments"
    exec "$@"
}

# Sourced by a test, it only defines functions.
[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
