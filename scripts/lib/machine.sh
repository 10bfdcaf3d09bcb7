# shellcheck shell=bash
# The machine: its distribution, and how to install packages. Sourced by bootstrap.sh.

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { local code=$1; shift; say "$@"; exit "$code"; }
have() { command -v "$1" >/dev/null 2>&1; }

# bounded SECONDS COMMAND...: with a timeout, if the system has that program.
bounded() { if have timeout; then timeout "$@"; else shift; "$@"; fi; }

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

# The mirrors of Debian 12 in this machine's apt configuration, as `URI SUITE`. apt reads both formats
# of sources itself; with an empty state it prints what it would fetch. Third-party repositories have
# no component called main.
own_mirrors() {
    mkdir -p "$1/none/partial"
    apt-get -o Dir::State::Lists="$1/none" update --print-uris 2>/dev/null |
        sed -n "s|^'\(.*\)/dists/\(bookworm[a-z-]*\)/main/binary-[a-z0-9]*/Packages.*|\1 \2|p" |
        awk '$2 ~ /^bookworm(-updates|-security)?$/ && !seen[$0]++' || true
}

# Debian 12's own docker.io has no buildx. The next suite's packages run on it. They come from this
# machine's own mirror, with a separate apt state: the system's sources do not change.
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
    # An unreachable mirror is only a warning, which explains what fails later.
    apt_warnings=$apt_warnings$(printf '%s\n' "$output" | grep '^[EW]:' || true)
}

# Once per run: a fresh machine has no package lists.
apt_lists() {
    [ -z "${apt_conf+known}" ] || return 0
    apt_conf=
    if is_debian_12; then private_apt; apt_conf=$cache/apt/apt.conf; fi
    apt_get update
}

# install_packages WHAT PACKAGE...: keeps services from starting meanwhile; an existing policy is kept.
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

# Prints the first of the packages that this distribution has.
first_known() {
    local name
    for name in "$@"; do
        ! apt-cache show "$name" >/dev/null 2>&1 || { printf '%s\n' "$name"; return; }
    done
}
