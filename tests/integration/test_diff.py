"""docker-diff with a real registry and a real engine: where images come from, and what is said."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Checkout, docker
from ociwriter import OciWriter
from registries import KNOWN, PASSWORD, USER, Server, registry
from tarwriter import CAPABILITY, TarEntry, tar

from buildlib.config.load import load_config
from buildlib.image.archive import open_archive
from buildlib.records.record import Record
from buildlib.records.store import new_id, open_store
from buildlib.registry.repository import Repository
from buildlib.registry.tags import put_tag
from buildlib.registry.transfer import push_archive
from buildlib.registry.transport import Transport
from buildlib.smoke.load_image import name_of

pytestmark = pytest.mark.release
SIGNED_IN = {"DIFF_USER": USER, "DIFF_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry"), memory=True) as found:
        yield found


def _archive(path: Path, user: str, *entries: TarEntry) -> Path:
    writer = OciWriter()
    base = writer.tar(tar(TarEntry("etc/conf", data=b"a=1\n"), TarEntry("bin/app", data=b"app")))
    layers = [base, *([writer.tar(tar(*entries))] if entries else [])]
    history: list[dict[str, object]] = [{"created_by": f"COPY {n} /"} for n in range(len(layers))]
    image = writer.image(layers, history, config={"User": user, "Cmd": ["/bin/app"]})
    return writer.write(path, image)


def _load(archive: Path, tag: str, folder: Path) -> None:
    copy = folder / "named.tar"
    with open_archive(archive) as opened:
        opened.write_renamed(copy, name_of(tag))
    docker("load", "--input", str(copy))


def test_what_was_built_last_is_compared_with_the_last_release(
    server: Server, make_checkout: Callable[..., Checkout], tmp_path: Path
) -> None:
    path = f"team/thing-{secrets.token_hex(4)}"
    name = f"{server.host}/{path}"
    checkout = make_checkout(
        config=f'[registries.one]\nrepository = "{name}"\n'
        'username-env = "DIFF_USER"\npassword-env = "DIFF_PASSWORD"\n'
    )

    def diff(*words: str, code: int = 0) -> dict[str, Any]:
        done = checkout.invoke("docker-diff", *words, "--json", **SIGNED_IN)
        assert done.returncode == code, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    unreleased = diff(code=2)
    assert unreleased["error"]["what"] == "there is no release to compare with"

    repository = Repository(Transport(server.host, KNOWN), path)
    old = _archive(tmp_path / "old.tar", "1001")
    new = _archive(
        tmp_path / "new.tar",
        "0",
        TarEntry("bin/su", data=b"su", mode=0o4755),
        TarEntry("bin/ping", data=b"ping", mode=0o755, records=[CAPABILITY]),
        TarEntry("etc/.wh.conf"),
    )
    with open_archive(old) as archive:
        digest = push_archive(archive, repository).digest
    for tag in ("1.0.0", "latest"):
        put_tag(repository, digest, tag, immutable=False)
    _load(new, f"{checkout.image}:latest", tmp_path)

    found = diff()
    assert found["old"] == {"name": f"{name}:1.0.0", "digest": digest}
    assert found["new"]["name"] == f"{checkout.image}:latest"
    (platform,) = found["platforms"]
    changes = [(one["section"], one["item"], one["change"]) for one in platform["changes"]]
    expected = [
        ("privileges", "bin/ping", "added"),
        ("privileges", "bin/su", "added"),
        ("configuration", "user", "changed"),
        ("size", "image", "changed"),
        ("layers", "COPY 1 /", "added"),
        ("files", "bin/ping", "added"),
        ("files", "bin/su", "added"),
        ("files", "etc/conf", "removed"),
    ]
    assert [one for one in changes if one[0] != "packages"] == expected

    # By digest, by reference, by version and from a file it is the same release.
    for words in (digest, f"{name}@{digest}", f"{name}:latest", str(old), "1.0.0"):
        same = diff("--old", words)
        assert same["old"]["digest"] == digest
        assert same["platforms"][0]["changes"] == platform["changes"]
    # What the registry does not have may be the engine's.
    docker("image", "tag", f"{checkout.image}:latest", f"{name}:local")
    try:
        local = diff("--old", f"{name}:local", "--new", f"{checkout.image}:latest")
        assert local["same"]
    finally:
        docker("image", "rm", f"{name}:local")
    unknown = diff("--old", f"{checkout.image}:nowhere", code=4)
    assert "can't be read" in unknown["error"]["what"]

    page = _compared(checkout, digest, f"{checkout.image}:latest")
    assert "<h3>Privileges of linux/amd64</h3>" in page
    assert "<td>user</td><td>1001 → 0</td>" in page


def _compared(checkout: Checkout, released: str, built: str) -> str:
    """Return the page that compares a publication with an image of the engine."""
    store = open_store(load_config(checkout.root, {}), checkout.environment({}))
    assert store
    first, second = new_id(), new_id()
    about = Record(id=first, image=checkout.image, platforms=("linux/amd64",), digest=released)
    store.write(replace(about, registries=({"registry": "one"},)))
    ours = docker("image", "inspect", "--format", "{{.Id}}", built).strip()
    store.write(replace(about, id=second, digest=ours))
    done = checkout.invoke("docker-report", "--id", second, "--compare", first, **SIGNED_IN)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip()).read_text("utf-8")


def test_the_check_fails_as_the_gate_does(
    make_checkout: Callable[..., Checkout], tmp_path: Path
) -> None:
    old, new = (_archive(tmp_path / f"{user}.tar", user) for user in ("1", "2"))
    checkout = make_checkout()
    words = ("docker-diff", "--old", str(old), "--new", str(new))
    done = checkout.invoke(*words)
    assert done.returncode == 0, done.stderr
    assert "changed  user  1 → 2" in done.stdout
    assert "vulnerabilities: not compared; --scan compares them" in done.stdout
    done = checkout.invoke(*words, "--check")
    assert done.returncode == 7
    assert "changed  user  1 → 2" in done.stdout
    assert "linux/amd64 runs as another user since the last release" in done.stderr
