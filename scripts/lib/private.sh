# shellcheck shell=bash
# Directories that only this user and root can write: programs and instructions come from no other
# place. Sourced by bootstrap.sh; scripts/gotools.py has the same rules.

# The user's home as the system knows it, if HOME is not set; nothing if it can't be written.
own_home() {
    local home
    home=$(unset HOME && printf '%s\n' ~)
    if [ -d "$home" ] && [ -w "$home" ]; then printf '%s\n' "$home"; fi
}

# The cache; nothing if there is no home for it.
cache_path() {
    local home=${HOME:-}
    [ -n "$home" ] || home=$(own_home)
    if [ -n "${XDG_CACHE_HOME:-}" ]; then printf '%s/buildlib\n' "$XDG_CACHE_HOME"
    elif [ -n "$home" ]; then printf '%s/.cache/buildlib\n' "${home%/}"; fi
}

# physical PATH: the path without links, as far as it exists. Anyone who can write the directory of a
# link can redirect it, so the path without links is checked and used.
physical() {
    local there=$1 rest=
    while [ ! -d "$there" ]; do
        rest=/${there##*/}$rest
        case $there in
            */*) there=${there%/*} ;;
            *) there=. ;;
        esac
        [ -n "$there" ] || there=/
    done
    there=$(cd -P -- "$there" && pwd -P) || return 1
    printf '%s%s\n' "${there%/}" "$rest"
}

# has_own_group USER GID: the group has only this user, as on many distributions.
has_own_group() {
    local name members
    have getent && IFS=: read -r name _ _ members < <(getent group "$2") &&
        [ "$name" = "$1" ] && { [ -z "$members" ] || [ "$members" = "$1" ]; }
}

# Arguments of find: what belongs to another user than root and us, and what others may write. The
# user who called sudo counts as us.
set_others() {
    local owners=(-user 0 -o -user "$(id -u)") group=(-perm -0020)
    if is_root && [ -n "${SUDO_UID:-}" ]; then owners+=(-o -user "$SUDO_UID"); fi
    if has_own_group "$(id -un 2>/dev/null)" "$(id -g)"; then group+=(! -group "$(id -g)"); fi
    if is_root && [ -n "${SUDO_GID:-}" ] && has_own_group "${SUDO_USER:-}" "$SUDO_GID"; then
        group+=(! -group "$SUDO_GID")
    fi
    foreign=(! '(' "${owners[@]}" ')')
    writable=('(' -perm -0002 -o '(' "${group[@]}" ')' ')')
}

# first_open_above PATH: prints a parent directory in which others could rename entries. With the
# sticky bit, as in /tmp, they can't.
first_open_above() {
    local at=$1 above=(/)
    while [ -n "${at%/*}" ]; do at=${at%/*}; above+=("$at"); done
    find "${above[@]}" -prune \( "${foreign[@]}" -o "${writable[@]}" ! -perm -1000 \) -print |
        sed -n 1p
}

# first_open_in PATH: prints an entry that belongs to another user, or that others can write. A
# directory that they can't enter is skipped. uv leaves a lock that everyone can write, but nothing
# reads it.
first_open_in() {
    find "$1" ! -type l ! -name .lock \( "${foreign[@]}" -o "${writable[@]}" \) -print -o \
        -type d ! -perm -0001 ! -perm -0010 -prune | sed -n 1p
}

# first_open PATH: both. An unreadable path counts as open.
first_open() {
    local open
    open=$(first_open_above "$1") || open=${open:-$1}
    [ -n "$open" ] || open=$(first_open_in "$1") || open=${open:-$1}
    [ -z "$open" ] || printf '%s\n' "$open"
}

# refuse_open HINT PATH: exits if another user could have written there, or still can.
refuse_open() {
    local open
    [ -e "$2" ] || return 0
    open=$(first_open "$2")
    [ -z "$open" ] || refuse "$1" "$open"
}
refuse() { die 3 "$2 belongs to somebody else, or can be written by them; $1"; }

another_cache="give a directory of your own in XDG_CACHE_HOME"

# Before anything in the cache or in the environment is read.
check_private() {
    local open place
    set_others
    # Downloads are unpacked there.
    place=$(physical "${TMPDIR:-/tmp}")
    open=$(first_open_above "$place/.") || open=${open:-$place}
    [ -z "$open" ] || refuse "give another directory in TMPDIR" "$open"
    if [ -z "$cache" ]; then cache=$no_cache
    else
        cache=$(physical "$cache") || die 3 "$cache can't be entered; $another_cache"
        refuse_open "$another_cache" "$cache"
    fi
    venv=$(venv_path)
    place=$(physical "$venv") || die 3 "$venv can't be entered; give another BUILDLIB_VENV"
    # Anyone who can write the checkout could change this script as well.
    case $place in
        "$root"/*) ;;
        *) refuse_open "remove it, or give another BUILDLIB_VENV" "$place" ;;
    esac
}

no_cache=/nonexistent/buildlib
make_cache() {
    if [ "$cache" = "$no_cache" ]; then
        cache=$(mktemp -d "${TMPDIR:-/tmp}/buildlib-XXXXXXXX") || die 3 "no cache can be made"
        cache=$(physical "$cache")
        venv=$(venv_path)
        say "no home directory: the cache is $cache, for this run"
    else
        (umask 077 && mkdir -p "$cache") || die 3 "$cache can't be made; $another_cache"
    fi
    # Another user may have created it first.
    refuse_open "$another_cache" "$cache"
    private_uv_cache
}

# uv trusts what it has unpacked once, without checking its hash. Its default cache is beside ours, in
# a home; a configured one may be writable for others.
private_uv_cache() {
    local place=${UV_CACHE_DIR:-${XDG_CACHE_HOME:+$XDG_CACHE_HOME/uv}}
    [ -n "$place" ] || return 0
    place=$(physical "$place") && (umask 077 && mkdir -p "$place") 2>/dev/null &&
        [ -z "$(first_open "$place")" ] || export UV_CACHE_DIR=$cache/uv-cache
}
