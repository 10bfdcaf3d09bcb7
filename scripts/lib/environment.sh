# shellcheck shell=bash
# The virtual environment, and git. Sourced by bootstrap.sh.

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

# Distributions compile Python with optimisations; one that a version manager has compiled may take
# 50 % longer to start, and every task waits for that.
distribution_python=/usr/bin/python3

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
makes_environments() { "$1" -c 'import ensurepip, pip' 2>/dev/null; }

find_python() {
    local name
    if [ -n "${BUILDLIB_PYTHON:-}" ]; then
        command -v "$BUILDLIB_PYTHON"
        return
    fi
    if new_enough "$distribution_python" && makes_environments "$distribution_python"; then
        printf '%s\n' "$distribution_python"
        return
    fi
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if have "$name" && new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

venv_ready() {
    local real
    [ -x "$venv/bin/python" ] && cmp -s "$requirements" "$venv/.bootstrap" || return 1
    # After an upgrade of the system's Python the link works, but the packages are not found.
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

# uv does not read pip's configuration, so pip's settings are passed to it.
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
    # The file lists everything. Otherwise pip 23 treats an extra as a package without a hash, and
    # installs nothing.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r "$requirements"
}

make_venv() {
    local python
    [ -z "${BUILDLIB_PYTHON:-}" ] || new_enough "$BUILDLIB_PYTHON" ||
        die 3 "BUILDLIB_PYTHON is not a Python 3.11 or later: $BUILDLIB_PYTHON"
    python=$(find_python) || {
        may_install || die 3 "no Python 3.11 or later on PATH; install one"
        install_packages Python python3 python3-venv
        python=$(find_python) || die 3 "the distribution's Python is older than 3.11; install one"
    }
    rm -f "$venv/.bootstrap"
    fill_with_uv "$python" || fill_with_pip "$python"
    # Last: an interrupted environment is made again.
    cp "$requirements" "$venv/.bootstrap"
    say "made the virtual environment $venv"
}

# Let `buildlib` and `invoke` run in any directory: this checkout's library, after what is installed.
link_library() {
    local packages program=$venv/bin/buildlib
    for packages in "$venv"/lib/python3*/site-packages; do
        [ "$(cat "$packages/buildlib.pth" 2>/dev/null)" = "$root" ] ||
            printf '%s\n' "$root" >"$packages/buildlib.pth"
    done
    [ ! -x "$program" ] || return 0
    # Not by the current directory, which may have a folder of that name.
    # shellcheck disable=SC2016 # for the shell that reads it
    printf '#!/bin/sh\nexec "${0%%/*}/python" -P -m buildlib "$@"\n' >"$program.new"
    chmod +x "$program.new"
    mv "$program.new" "$program"
}

ensure_git() {
    have git && return
    may_install || die 3 "git is missing; install it"
    install_packages git git
}
