"""That docker itself gets through what `tests/dialects.py` says, on the same proxy as we do."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from dialects import DIALECTS, Dialect, Speaker, get_through, speaking
from ociwriter import OciWriter
from registries import Server, registry

from buildlib.image.archive import open_archive
from buildlib.registry.repository import Repository
from buildlib.registry.tags import put_tag
from buildlib.registry.transfer import push_archive
from buildlib.registry.transport import Transport

pytestmark = [pytest.mark.engine, pytest.mark.unmeasured]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry"), password=False, memory=True) as found:
        yield found


@pytest.fixture(scope="module")
def speaker(server: Server) -> Iterator[Speaker]:
    with speaking(server.port) as found:
        yield found


@pytest.fixture(scope="module")
def env(speaker: Speaker, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    folder = tmp_path_factory.mktemp("docker")
    auth = base64.b64encode(b"ann:pass").decode()
    text = json.dumps({"auths": {speaker.host: {"auth": auth}}})
    (folder / "config.json").write_text(text, encoding="utf-8")
    return {**os.environ, "DOCKER_CONFIG": str(folder)}


def _layer(seed: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo(seed)
        tar.addfile(entry)
    return stream.getvalue()


def _there(server: Server, path: str, folder: Path) -> None:
    """Have an image that is like no other in the registry."""
    writer = OciWriter()
    image = writer.image([writer.layer({"a": path.encode()})])
    repository = Repository(Transport(server.host), path)
    with open_archive(writer.write(folder / "there.tar", image)) as archive:
        done = push_archive(archive, repository)
    put_tag(repository, done.digest, "there", immutable=True)


# What we alone ask is no question to docker.
@pytest.mark.parametrize(
    "dialect", [pytest.param(one, id=one.name) for one in DIALECTS if "DELETE" not in one.request]
)
def test_docker_gets_through_and_we_do(
    dialect: Dialect, server: Server, speaker: Speaker, env: Mapping[str, str], tmp_path: Path
) -> None:
    path = f"dialects/{secrets.token_hex(4)}"
    speaker.dialect = None
    tag = "given" if dialect.what == "push" else "there"
    name = f"{speaker.host}/{path}:{tag}"
    if dialect.what == "push":
        made = ("docker", "import", "-", name)
        subprocess.run(made, input=_layer(path.replace("/", "-")), check=True, capture_output=True)
    else:
        _there(server, path, tmp_path)
    speaker.dialect = dialect
    speaker.seen.clear()
    done = subprocess.run(
        ("docker", dialect.what, "--quiet", name),
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    subprocess.run(("docker", "image", "rm", name), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert speaker.met()
    speaker.seen.clear()
    own = path if dialect.what == "pull" else f"{path}/own"
    get_through(speaker, dialect, own, tmp_path)
    assert speaker.met()
