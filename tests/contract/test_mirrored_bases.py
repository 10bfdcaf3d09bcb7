"""What `docker-bases` asks a mirror for: what a build would take from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from smallregistry import SmallRegistry, small_registry

from buildlib.commands.bases import bases
from buildlib.commands.session import Edge
from buildlib.errors import InputError, TransientError
from buildlib.registry.repository import INDEX, MANIFEST, Document

from fakes import write_project


@pytest.fixture
def mirror() -> Iterator[SmallRegistry]:
    """A mirror that calls bases otherwise than a Dockerfile does."""
    with small_registry() as found:
        image = found.image("linux/amd64")
        for tag in ("3.22", "3.22-patched", "3.23-patched", "3.23", "latest"):
            entry = {"digest": image, "platform": {"os": "linux", "architecture": "amd64"}}
            found.keep({"manifests": [entry], "annotations": {"of": tag}}, INDEX, tag)
        yield found


def _edge(root: Path, base: str, key: str, source: str) -> Edge:
    text = f'image = "thing"\nplatforms = ["linux/amd64"]\n[base-images]\n"{key}" = "{source}"\n'
    write_project(root, text, f"FROM {base}\n")
    # Nothing of docker's own store on this machine.
    return Edge(root, {"DOCKER_CONFIG": str(root / "docker")}, dry=False, quiet=False)


def _refreshed(edge: Edge, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    bases(edge, check=False, update=True, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)["bases"]
    return dict(found)


ASKED = {
    "another tag": ("alpine:3.22", ":3.22-patched", "3.22-patched", "3.23-patched"),
    "the same tag": ("alpine:3.22", ":3.22", "3.22", "3.23"),
    "no tag": ("alpine:3.22", "", "latest", None),
    "a base without a tag": ("alpine", ":3.22-patched", "3.22-patched", "3.23-patched"),
    "a digest": ("alpine:3.22", "@{3.22-patched}", "3.22-patched", None),
    "tag and digest": ("alpine:3.22", ":3.22@{3.22-patched}", "3.22-patched", "3.23"),
}


@pytest.mark.parametrize("case", ASKED)
def test_a_mirror_is_asked_for_what_it_calls_the_base(
    tmp_path: Path, mirror: SmallRegistry, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    base, end, tag, newer = ASKED[case]
    end = end.replace("{3.22-patched}", mirror.tags["3.22-patched"])
    edge = _edge(tmp_path, base, base, f"docker-image://{mirror.name}{end}")
    found = _refreshed(edge, capsys)
    assert found["current"] == found["pinned"] == mirror.tags[tag]
    assert (tmp_path / "Dockerfile").read_text("utf-8") == f"FROM {base}@{mirror.tags[tag]}\n"
    assert found["newer"].get("minor") == newer
    # What is pinned is replaced by the same mirror.
    assert (
        _refreshed(
            _edge(
                tmp_path, f"{base}@{mirror.tags[tag]}", base, f"docker-image://{mirror.name}{end}"
            ),
            capsys,
        )["problems"]
        == found["problems"]
    )


@pytest.mark.parametrize("images", [0, 1])
def test_an_index_is_as_old_as_an_image_in_it(
    tmp_path: Path, mirror: SmallRegistry, capsys: pytest.CaptureFixture[str], images: int
) -> None:
    made = "2026-01-02T03:04:05+00:00"
    config = Document(json.dumps({"os": "linux", "created": made}).encode(), "")
    mirror.blobs[config.digest] = config.data
    image = mirror.keep({"config": {"digest": config.digest}, "layers": []}, MANIFEST)
    entry = {"digest": image, "platform": {"os": "linux", "architecture": "amd64"}}
    mirror.keep({"manifests": [entry] * images}, INDEX, "old")
    edge = _edge(tmp_path, "alpine:3.22", "alpine:3.22", f"docker-image://{mirror.name}:old")
    bases(edge, check=False, update=False, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)["bases"]
    assert found["created"] == (made if images else "")


def test_a_tag_that_a_mirror_lacks_is_named_with_the_key(
    tmp_path: Path, mirror: SmallRegistry
) -> None:
    edge = _edge(
        tmp_path, "alpine:3.22", "docker.io/library/alpine:3.22", f"docker-image://{mirror.name}:9"
    )
    with pytest.raises(InputError, match="has no tag 9") as caught:
        bases(edge, check=False, update=True, as_json=False)
    assert caught.value.why == "base-images names it in place of alpine:3.22"


@pytest.mark.parametrize("words", ["", "--check", "--update"])
def test_an_image_without_a_base_needs_no_attention(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    write_project(tmp_path, 'image = "thing"\n', "FROM scratch\nCOPY app /\n")
    edge = Edge(tmp_path, {}, dry=False, quiet=True)
    for as_json in (True, False):
        bases(edge, check="check" in words, update="update" in words, as_json=as_json)
    printed = capsys.readouterr().out
    assert '"bases": []' in printed
    assert printed.endswith("there is no external base image to look after\n")


def test_a_placeholder_whose_registry_is_out_of_reach_need_not_be_pinned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_registry() as gone:
        host = gone.name.partition("/")[0]
    base = f"{host}/alpine:3.22"
    text = 'image = "thing"\n[base-images]\n'
    source = f'{{ source = "oci-layout://{tmp_path}", stand-in = true }}'
    write_project(tmp_path, f'{text}"{base}" = {source}\n', f"FROM {base}\n")
    edge = Edge(tmp_path, {"DOCKER_CONFIG": str(tmp_path)}, dry=False, quiet=False)
    with pytest.raises(TransientError, match="in 1 attempt") as caught:
        bases(edge, check=False, update=True, as_json=False)
    assert caught.value.hint.startswith(f"{base} is a placeholder on this machine")
    assert "a test release does not need it pinned" in caught.value.hint
    assert "no answer" in capsys.readouterr().out
