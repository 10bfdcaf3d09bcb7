#!/bin/sh
# Switches a Docker engine to the containerd image store.
#
#   scripts/containerd-store.sh             only check which store it has; exits with code 4 if another
#   scripts/containerd-store.sh --restart   switch if needed, and restart the engine with systemd
#
# Hosted runners have the classic store, which supports neither several platforms under one tag nor
# attestations nor OCI archives. Use it only on throw-away machines: images of the classic store are
# no longer visible afterwards, and every container ends. An engine with the containerd store is left
# alone.
#
# Environment: BUILDLIB_DAEMON_JSON (the engine's configuration; default /etc/docker/daemon.json).
#
# Exits with code 2 for wrong use, 3 if docker, python3 or sudo is missing, 4 if it failed.
set -eu

config=${BUILDLIB_DAEMON_JSON:-/etc/docker/daemon.json}
wanted=io.containerd.snapshotter.v1

say() { printf 'containerd-store: %s\n' "$*" >&2; }
die() { code=$1; shift; say "$@"; exit "$code"; }
need() { command -v "$1" >/dev/null 2>&1 || die 3 "$1 not found: install it"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else need sudo; sudo "$@"; fi; }

has_it() {
    status=$(docker info --format '{{json .DriverStatus}}') || die 4 "the Docker engine does not answer"
    case $status in *"\"$wanted\""*) return 0 ;; *) return 1 ;; esac
}

# Keeps the rest of the configuration.
merged() {
    python3 - "$config" <<'PYTHON'
import json, pathlib, sys
file = pathlib.Path(sys.argv[1])
text = file.read_text(encoding="utf-8").strip() if file.exists() else ""
known = json.loads(text or "{}")
known.setdefault("features", {})["containerd-snapshotter"] = True
print(json.dumps(known, indent=2))
PYTHON
}

restart=no
case "$#:${1:-}" in
    0:) ;;
    1:--restart) restart=yes ;;
    *) die 2 "give --restart, or nothing" ;;
esac
need docker
if has_it; then
    say "the engine has the containerd image store"
    exit
fi
[ "$restart" = yes ] || die 4 "the engine has another image store; --restart switches it"
need python3
text=$(merged) || die 4 "$config can't be read"
as_root mkdir -p "$(dirname "$config")"
printf '%s\n' "$text" | as_root tee "$config" >/dev/null || die 4 "$config can't be written"
as_root systemctl restart docker || die 4 "systemd could not restart the Docker engine"
has_it || die 4 "the engine was restarted, but still has another image store"
say "switched the engine to the containerd image store ($config)"
