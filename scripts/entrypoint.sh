#!/bin/sh
# First process of the container: runs the program, or whatever command it is given.
#
#   docker run IMAGE                      the server
#   docker run IMAGE version              a command of the program
#   docker run IMAGE --help               an option of the program
#   docker run IMAGE sh -c 'echo "a b"'   any other command, its quoting kept
set -eu

socket=${DOCKER_SOCKET:-/var/run/docker.sock}

# Never chmod: the mounted socket is the host's, and the change would last there.
warn_about_socket() {
    if [ -S "$socket" ] && ! { [ -r "$socket" ] && [ -w "$socket" ]; }; then
        echo "entrypoint: $socket is not accessible to UID $(id -u);" \
            "add --group-add $(stat -c %g "$socket") to docker run" >&2
    fi
}

is_program_command() {
    case ${1:-} in
        '' | -* | help | version | server | healthcheck) return 0 ;;
        *) return 1 ;;
    esac
}

if is_program_command "$@"; then
    [ "${1:-}" != server ] || warn_about_socket
    set -- /usr/local/bin/dockerutilities "$@"
fi
exec "$@"
