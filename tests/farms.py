"""Somebody with a checkout, and with builders of their own: machines of `nodes`."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conftest import Checkout
from nodes import Authority, Daemon


class User:
    """Somebody with a checkout, and with builders of their own."""

    def __init__(self, checkout: Checkout, env: Mapping[str, str | None]) -> None:
        self.checkout = checkout
        self.env = dict(env)

    @property
    def config(self) -> Path:
        return self.checkout.root / "buildlib.toml"

    def certify(self, authority: Authority, name: str = "client") -> None:
        """Put certificates where the configuration says that they are."""
        folder = self.checkout.root / "certs"
        folder.mkdir(exist_ok=True)
        certificate, key = authority.sign(name)
        shutil.copy(certificate, folder / "cert.pem")
        shutil.copy(key, folder / "key.pem")

    def invoke(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = self.checkout.invoke(*words, **self.env)
        assert "Traceback" not in done.stderr
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        return done

    def succeed(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = self.invoke(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def build(self, *words: str) -> dict[str, Any]:
        done = self.succeed("docker-build", "--builder", "farm", "--json", *words)
        return dict(json.loads(done.stdout))

    def buildx(self, *words: str) -> str:
        env = self.checkout.environment(self.env)
        done = subprocess.run(
            ["docker", "buildx", *words], env=env, capture_output=True, text=True, check=False
        )
        return done.stdout


def table(daemons: Sequence[Daemon], more: str = "", platforms: Sequence[str] = ()) -> str:
    """Return the table of a builder; platforms are written as TOML has them."""
    tls = 'cacert = "certs/ca.pem", cert = "certs/cert.pem", key = "certs/key.pem"'
    nodes = [
        f'{{ name = "node{n}", endpoint = "{one.endpoint}", platforms = [{names}], {tls} }}'
        for n, (one, names) in enumerate(zip(daemons, platforms, strict=True))
    ]
    joined = ",\n  ".join(nodes)
    return f'[builders.farm]\ndriver = "remote"\n{more}nodes = [\n  {joined},\n]\n'


def make_user(
    make_checkout: Callable[..., Checkout],
    authority: Authority,
    buildx: Path,
    dockerfile: str,
    builders: str,
    folder: str = "repo",
) -> User:
    """Return somebody with a checkout whose image is for both platforms.

    Args:
        make_checkout: the fixture.
        authority: signs their certificate.
        buildx: where buildx remembers their builders.
        dockerfile: theirs.
        builders: tables of the configuration, or what stands above them.
        folder: of the checkout.
    """
    top = 'platforms = ["linux/amd64", "linux/arm64"]\n'
    checkout = make_checkout(dockerfile, top + builders, folder)
    user = User(checkout, {"BUILDX_CONFIG": str(buildx)})
    user.certify(authority)
    shutil.copy(authority.certificate, checkout.root / "certs/ca.pem")
    (checkout.root / ".dockerignore").write_text("certs\n", encoding="utf-8")
    return user


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
