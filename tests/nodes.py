"""Machines that build: each a buildkitd of our own on loopback, that wants a certificate.

BuildKit is built from source, once, and starts containers with this machine's runc. Everything
that a daemon started, mounted or wrote is gone when its block ends, and so after it was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from conftest import go_tool
from registries import free_port

_RUNC = """\
#!/bin/sh
# The state of the containers in a place of the test's own.
exec {runc} --root {state} "$@"
"""


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Authority:
    """Who signs certificates."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def sign(self, name: str) -> tuple[Path, Path]:
        """Return certificate and key of a name that holds on loopback."""
        key, request, made = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        names = self.folder / "names"
        names.write_text("subjectAltName=IP:127.0.0.1,DNS:node.test\n", encoding="utf-8")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}"),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-out", str(made), "-days", "2"),
            *("-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key")),
            *("-CAcreateserial", "-extfile", str(names)),
        )
        return made, key


def make_authority(folder: Path) -> Authority:
    """Make an authority that nobody but the test trusts."""
    folder.mkdir(parents=True)
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem")),
        *("-subj", "/CN=authority of a test", "-days", "2"),
    )
    return Authority(folder)


@dataclass
class Daemon:
    """One buildkitd.

    Args:
        folder: of all that it writes.
        authority: signed its certificate, and has to have signed those of its clients.
        mutual: clients need a certificate.
    """

    folder: Path
    authority: Authority
    mutual: bool = True
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it, or start it again, and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        runc = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        assert runc, "the engine's runc is needed"
        wrapper = self.folder / "runc"
        wrapper.write_text(_RUNC.format(runc=runc, state=self._state), encoding="utf-8")
        wrapper.chmod(0o755)
        certificate, key = self.authority.sign("node")
        argv = [
            *(str(go_tool("buildkitd")), "--debug", "--root", str(self.folder / "root"), "--addr"),
            # The socket is what ssh leads to: it has no TLS of its own.
            *(self.endpoint, "--addr", f"unix://{self.socket}"),
            *(("--tlscacert", str(self.authority.certificate)) if self.mutual else ()),
            *("--tlscert", str(certificate), "--tlskey", str(key)),
            # All daemons share the default one: two that start at once can't both listen there.
            *("--otel-socket-path", str(self.folder / "o")),
            *("--containerd-worker=false", "--oci-worker-net=host"),
            *("--oci-worker-binary", str(wrapper)),
        ]
        with (self.folder / "log").open("ab") as log:
            before = log.tell()
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        deadline = time.monotonic() + 60
        while "running server on" not in self.log[before:]:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    @property
    def _state(self) -> Path:
        return self.folder / "containers"

    def containers(self) -> list[str]:
        """Return the steps that run now."""
        return [state.parent.name for state in self._state.glob("*/state.json")]

    def kill(self) -> None:
        """End it as a machine ends whose power fails: what ran on it has ended as well."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._end_containers()

    def _end_containers(self) -> None:
        for name in self.containers():
            argv = [str(self.folder / "runc"), "delete", "--force", name]
            subprocess.run(argv, capture_output=True, check=False)

    def end(self) -> None:
        """End it, and remove what it left."""
        if self.process:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=20)
            self.process.kill()
            self.process.wait()
        self._end_containers()
        for point in _mounts_below(self.folder):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def _mounts_below(folder: Path) -> list[str]:
    rows = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [row.split()[4] for row in reversed(rows) if row.split()[4].startswith(f"{folder}/")]


@contextlib.contextmanager
def daemon(folder: Path, authority: Authority, *, mutual: bool = True) -> Iterator[Daemon]:
    """Run a machine."""
    one = Daemon(folder, authority, mutual)
    try:
        one.start()
        yield one
    finally:
        one.end()


def _records(one: Daemon) -> list[dict[str, Any]]:
    """Return the records that a daemon itself has of its builds."""
    certificate, key = one.authority.sign("reader")
    argv = [
        *(str(go_tool("buildctl")), "--addr", one.endpoint),
        *("--tlscacert", str(one.authority.certificate)),
        *("--tlscert", str(certificate), "--tlskey", str(key)),
        *("debug", "histories", "--format", "{{json .}}"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [json.loads(line).get("record", {}) for line in done.stdout.splitlines() if line]


def built_here(one: Daemon) -> set[str]:
    """Return the platforms of the builds that a daemon itself has a record of."""
    attributes = [record.get("FrontendAttrs") or {} for record in _records(one)]
    return {a["platform"] for a in attributes if "platform" in a}


def times_here(one: Daemon) -> dict[str, tuple[float, float]]:
    """Return begin and end of each build that a daemon has a record of, by its identifier."""
    return {
        record["Ref"]: (_seconds(record["CreatedAt"]), _seconds(record["CompletedAt"]))
        for record in _records(one)
    }


def _seconds(said: str | dict[str, int]) -> float:
    """Return a time as BuildKit 0.13 writes it, or as later ones do."""
    if isinstance(said, str):
        return datetime.fromisoformat(said).timestamp()
    return said["seconds"] + said.get("nanos", 0) / 1e9
