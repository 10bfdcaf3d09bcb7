#!/bin/sh
# The former command line; the tasks that it calls do the work.
set -eu

usage() {
    cat <<'TEXT'
Usage: scripts/docker-run.sh [COMMAND] [OPTIONS]

Commands:
  build            build the image                        invoke docker-build
  run              run it (the default)                   invoke docker-run
  run-persistent   run it and keep its data               invoke docker-run --persistent
  stop             stop and remove the container          invoke docker-stop
  clean            remove container and image             invoke docker-clean --images
  logs             follow the container's log             invoke docker-logs --follow
  shell            open a shell in the container          invoke docker-shell
  help             show this text

Options:
  -p, --persistent     keep the data after the container
  -s, --socket PATH    the engine's socket
      --port N         on this machine
      --data-dir DIR   where the data is kept
  -h, --help           show this text

Environment:
  DOCKER_SOCKET        the engine's socket
TEXT
}

fail() {
    echo "docker-run.sh: $*; see --help" >&2
    exit 2
}

# A value may look like an option, but it must not be missing.
need_value() {
    [ "$1" -ge 2 ] || fail "$2 needs a value"
}

command=
persistent=no
socket=
port=
data_dir=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage; exit 0 ;;
        -p | --persistent) persistent=yes ;;
        -s | --socket) need_value $# "$1"; socket=$2; shift ;;
        --socket=*) socket=${1#*=} ;;
        --port) need_value $# "$1"; port=$2; shift ;;
        --port=*) port=${1#*=} ;;
        --data-dir) need_value $# "$1"; data_dir=$2; shift ;;
        --data-dir=*) data_dir=${1#*=} ;;
        -*) fail "unknown option $1" ;;
        build | run | run-persistent | stop | clean | logs | shell)
            [ -z "$command" ] || fail "one command at a time, not $command and $1"
            command=$1
            ;;
        *) fail "unknown command $1" ;;
    esac
    shift
done

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
invoke() { exec "$root/scripts/bootstrap.sh" invoke --search-root "$root" "$@"; }

case ${command:-run} in
    build) invoke docker-build ;;
    stop) invoke docker-stop ;;
    clean) invoke docker-clean --images ;;
    logs) invoke docker-logs --follow ;;
    shell) invoke docker-shell ;;
    run-persistent) persistent=yes ;;
esac

set -- docker-run
[ "$persistent" = no ] || set -- "$@" --persistent
[ -z "$socket" ] || set -- "$@" --socket "$socket"
[ -z "$port" ] || set -- "$@" --port "$port"
# The former script kept data only with --persistent; --data-dir alone did not mean that.
[ -z "$data_dir" ] || [ "$persistent" = no ] || set -- "$@" --data-dir "$data_dir"
invoke "$@"
