#!/bin/sh
# First process of the container: runs the program or any other command as UID 1001.
#
#   docker run IMAGE                      the server
#   docker run IMAGE version              a command of the program
#   docker run IMAGE --help               an option of the program
#   docker run IMAGE sh -c 'echo "a b"'   any other command, with its quoting
#
# The image starts it as root, because a plain `docker run -v …` needs that: it joins the group of the
# mounted socket by number, takes ownership of an empty data directory that the engine created as root,
# and drops to 1001 before anything else runs. It writes nothing to /etc, so a read-only root file
# system is enough. Started as another user, with --group-add, it changes nothing. For a root shell:
# docker run --entrypoint sh IMAGE.
set -eu

readonly user=1001:1001
readonly program=/usr/local/bin/dockerutilities
readonly socket="${DOCKER_SOCKET:-/var/run/docker.sock}"

# A path may have control characters, which must not reach a terminal or the log.
say() { printf 'entrypoint: %s\n' "$(printf %s "$*" | tr '\000-\037\177' '?')" >&2; }

is_program_command() {
    case ${1:-} in
        '' | -* | help | version | server | healthcheck) return 0 ;;
        *) return 1 ;;
    esac
}

# The mount may not be a socket: Docker creates a directory for a missing path. Links are followed
# here, because the program follows them.
warn_if_no_socket() {
    if ! [ -e "$socket" ] && ! [ -L "$socket" ]; then
        say "$socket is not mounted, so no image can be listed;" \
            "docker run -v $socket:$socket mounts it"
    elif [ -L "$socket" ] && ! [ -e "$socket" ]; then
        say "$socket is a dangling symbolic link"
    elif [ -d "$socket" ]; then
        say "$socket is a directory: the path that was mounted is not there on the engine's side"
    elif [ -e "$socket" ] && ! [ -S "$socket" ]; then
        say "$socket is not a socket"
    fi
}

# -- because the path may begin with a dash.
group_of_socket() { stat -L -c %g -- "$socket"; }

# Never chmod: the mounted socket belongs to the host, and the change would last there.
warn_if_not_accessible() {
    if [ -S "$socket" ] && ! { [ -r "$socket" ] && [ -w "$socket" ]; }; then
        say "$socket is not accessible to UID $(id -u);" \
            "add --group-add $(group_of_socket) to docker run"
    fi
}

# Prints the group to join. Mounting a socket of group root, as engines in virtual machines have it,
# gives the container the engine, and so its group.
socket_group() {
    [ -S "$socket" ] || return 0
    group=$(group_of_socket)
    if [ "$group" != 0 ]; then
        echo "$group"
    elif [ "${DOCKERUTILITIES_ALLOW_ROOT_GROUP:-}" = 0 ]; then
        say "$socket belongs to group root, which DOCKERUTILITIES_ALLOW_ROOT_GROUP=0 forbids to join"
    else
        say "joining group root, which $socket belongs to;" \
            "DOCKERUTILITIES_ALLOW_ROOT_GROUP=0 forbids it"
        echo 0
    fi
}

serving=no
if is_program_command "$@"; then
    [ "${1:-}" != server ] || serving=yes
    set -- "$program" "$@"
fi
[ "$serving" = no ] || warn_if_no_socket

if [ "$(id -u)" = 0 ]; then
    group=$(socket_group)
    export HOME=/app
    # Only the server writes there.
    data=
    [ "$serving" = no ] || data=${DOCKERUTILITIES_DATA_DIR:-}
    exec "$program" run-as --user "$user" ${group:+--group "$group"} ${data:+--own "$data"} -- "$@"
fi

[ "$serving" = no ] || warn_if_not_accessible
exec "$@"
