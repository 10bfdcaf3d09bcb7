# shellcheck shell=bash
# Directories that nobody else can write: what is run, or read as instructions, comes from no other
# place. Read by bootstrap.sh; scripts/gotools.py has the same rules.

# The home that the system knows for us, where HOME names none; nothing where we can't write it.
own_home() {
    local home
    home=$(unset HOME && printf '%s\n' ~)
    if [ -d "$home" ] && [ -w "$home" ]; then printf '%s\n' "$home"; fi
}

# The cache; nothing where there is no home to keep it in.
cache_path() {
    local home=${HOME:-}
    [ -n "$home" ] || home=$(own_home)
    if [ -n "${XDG_CACHE_HOME:-}" ]; then printf '%s/buildlib\n' "$XDG_CACHE_HOME"
    elif [ -n "$home" ]; then printf '%s/.cache/buildlib\n' "${home%/}"; fi
}

# physical PATH: the path without links, as far as it is there. A link can be turned elsewhere by
# whoever may write the directory that it is in; the path without it is what is checked and used.
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

# has_own_group USER GID: the group is the user's own, as many distributions give one to each user.
has_own_group() {
    local name members
    have getent && IFS=: read -r name _ _ members < <(getent group "$2") &&
        [ "$name" = "$1" ] && { [ -z "$members" ] || [ "$members" = "$1" ]; }
}

# Words of find: what belongs to somebody else than root and us, and what others may write. Who
# calls sudo is root by that, so that what is theirs is ours.
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

# first_open_above PATH: prints a directory on the way to it that others could replace, by renaming
# what is in it. Where the sticky bit is set they can't: /tmp has it.
first_open_above() {
    local at=$1 above=(/)
    while [ -n "${at%/*}" ]; do at=${at%/*}; above+=("$at"); done
    find "${above[@]}" -prune \( "${foreign[@]}" -o "${writable[@]}" ! -perm -1000 \) -print |
        sed -n 1p
}

# first_open_in PATH: prints what of it is somebody else's, or could be changed by them. What is in a
# directory that they can't enter is out of their reach. uv leaves a lock that is open to all, and
# nothing reads it.
first_open_in() {
    find "$1" ! -type l ! -name .lock \( "${foreign[@]}" -o "${writable[@]}" \) -print -o \
        -type d ! -perm -0001 ! -perm -0010 -prune | sed -n 1p
}

# first_open PATH: both. What can't be looked at counts as open.
first_open() {
    local open
    open=$(first_open_above "$1") || open=${open:-$1}
    [ -n "$open" ] || open=$(first_open_in "$1") || open=${open:-$1}
    [ -z "$open" ] || printf '%s\n' "$open"
}

# refuse_open HINT PATH: ends where somebody else could have put something there, or could now.
refuse_open() {
    local open
    [ -e "$2" ] || return 0
    open=$(first_open "$2")
    [ -z "$open" ] || refuse "$1" "$open"
}
refuse() { die 3 "$2 belongs to somebody else, or can be written by them; $1"; }

another_cache="give a directory of your own in XDG_CACHE_HOME"

# Before anything in the cache or in the environment is looked at.
check_private() {
    local open place
    set_others
    # What is downloaded and unpacked lies there for a moment.
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
    # Who may write the checkout wrote this script as well.
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
        say "no home directory: what is made is in $cache, for this time"
    else
        (umask 077 && mkdir -p "$cache") || die 3 "$cache can't be made; $another_cache"
    fi
    # Somebody may have been quicker.
    refuse_open "$another_cache" "$cache"
    private_uv_cache
}

# uv takes what it has unpacked once as it is, without a look at its hash. By itself it keeps that
# beside our cache, in a home; where it is told of another place, others may be there as well.
private_uv_cache() {
    local place=${UV_CACHE_DIR:-${XDG_CACHE_HOME:+$XDG_CACHE_HOME/uv}}
    [ -n "$place" ] || return 0
    place=$(physical "$place") && (umask 077 && mkdir -p "$place") 2>/dev/null &&
        [ -z "$(first_open "$place")" ] || export UV_CACHE_DIR=$cache/uv-cache
}
