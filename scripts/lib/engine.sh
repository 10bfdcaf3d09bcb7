# shellcheck shell=bash
# The Docker engine and buildx: install, start, wait, stop. Sourced by bootstrap.sh.

socket=/var/run/docker.sock
engine_config=/etc/docker/daemon.json
engine_data=/var/lib/docker
containerd=/run/containerd/containerd.sock
# Processes that were started here, and their logs.
state=/run/buildlib
log=/var/log/buildlib

engine_answers() {
    have docker && bounded 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}
buildx_answers() { have docker && docker buildx version >/dev/null 2>&1; }

# The user chose another engine, so none is started here.
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
# the containerd store. An engine with a configuration, or with images in the classic store, is left
# alone: its images would become invisible.
choose_store() {
    [ ! -e "$engine_config" ] && [ ! -e "$engine_data/image" ] || return 0
    as_root mkdir -p "$(dirname "$engine_config")"
    printf '{"features": {"containerd-snapshotter": true}}\n' |
        as_root tee "$engine_config" >/dev/null
    say "set up the containerd image store ($engine_config)"
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

# The tests of publishing also need a registry to run here, and cosign.
ensure_release_tools() {
    local packages=()
    have docker-registry || packages+=(docker-registry)
    if ! have cosign; then
        if is_debian_12; then packages+=(cosign/trixie); else packages+=(cosign); fi
    fi
    [ "${#packages[@]}" != 0 ] || return 0
    may_install || die 3 "missing: ${packages[*]%%/*}; install cosign 2 or 3, and" \
        "docker-registry (github.com/distribution/distribution) under that name"
    install_packages "registry and cosign" "${packages[@]}"
}

# started_at PID: prints the start time; fails if the process has ended, reaped or not.
started_at() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086 # words, from the third on; the second may have blanks
    set -- ${stat##*) }
    [ "$1" != Z ] && printf '%s\n' "${20}"
}

# The process ID may have been reused since: the start time has to match as well.
ours() {
    local pid time
    [ -r "$state/$1" ] && read -r pid time <"$state/$1" &&
        [ "$(started_at "$pid")" = "$time" ] && printf '%s\n' "$pid"
}

# Detached from this shell and its lock, and recorded, so that it can be stopped again.
start_daemon() {
    (cd / && exec setsid "$@") >"$log/$1.log" 2>&1 </dev/null 9>&- &
    printf '%s %s\n' "$!" "$(started_at "$!")" >"$state/$1"
}

# forget_stale FILE NAME: after a restart the process ID may belong to another process, and the
# engine would take that for itself and not start.
forget_stale() {
    local pid='' name=''
    [ -r "$1" ] || return 0
    read -r pid <"$1" || true
    { read -r name <"/proc/${pid:-none}/comm"; } 2>/dev/null || true
    # An ended process that was not reaped keeps its name.
    { [ "$name" = "$2" ] && started_at "$pid" >/dev/null; } || rm -f "$1"
}

# A process that has ended may have left its socket.
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

# Waits for an engine that is just starting or stopping.
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
    # Like the distribution's own service: with another containerd, dockerd would not find its
    # images and build cache.
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
