"""An image that takes files from one on placeholders stands on them as well."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from buildlib.build.build_image import build_image
from buildlib.build.inherited_labels import inherited_stand_ins
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.errors import InputError, TimedOutError
from buildlib.executor import Completed
from buildlib.image.labels import STAND_INS
from buildlib.project import Project

from fakes import FakeDocker, a_console, a_project, words_after, write_project

OWN, LOOPBACK = "own:1", "127.0.0.1:5000/own:1"
ON = {STAND_INS: "alpine:3.22 golang:1.24"}
NAMES = ("alpine:3.22", "golang:1.24")
TAKES = {
    "a copy": "FROM scratch\nCOPY --from={base} /x /x\n",
    "a mount": "FROM scratch\nRUN --mount=type=bind,from={base},target=/x cp /x /y\n",
    "a stage that is left behind": "FROM {base} AS made\nFROM scratch\nCOPY --from=made /x /x\n",
    "a base": "FROM {base}\nCOPY app /x\n",
}


class Docker(FakeDocker):
    """Has an image with labels, by name; a registry has another."""

    def __init__(self, **labels: dict[str, str]) -> None:
        super().__init__()
        self.labels = {OWN: labels.get("engine", {})}
        self.platforms: object = {"linux/amd64": {"config": {"Labels": labels.get("registry")}}}

    def _answer(self, argv: Sequence[str]) -> Completed:
        if argv[1:3] == ("image", "inspect") and "{{json .Config.Labels}}" in argv:
            self.asked.append(tuple(argv))
            found = [self.labels[name] for name in argv[5:] if name in self.labels]
            return Completed(code=1, stdout="\n".join(map(json.dumps, found)) + "\nnull\n")
        if "imagetools" in argv:
            self.asked.append(tuple(argv))
            return Completed(code=0, stdout=json.dumps(self.platforms))
        return super()._answer(argv)


def _project(root: Path, dockerfile: str, config: str = "") -> Project:
    return a_project(write_project(root, f'image = "thing"\n{config}', dockerfile))


def _plan(project: Project) -> BuildPlan:
    return make_build_plan(project, BuildRequest(), project.dockerfile())


@pytest.mark.parametrize("base", [OWN, LOOPBACK])
@pytest.mark.parametrize("takes", TAKES.values(), ids=TAKES)
def test_each_way_of_taking_something_is_seen(tmp_path: Path, takes: str, base: str) -> None:
    project = _project(tmp_path, takes.format(base=base))
    docker = Docker(**{"registry" if base == LOOPBACK else "engine": ON})
    console, _, err = a_console()
    result = build_image(project, BuildRequest(), docker, console)
    assert result.stand_ins == NAMES
    (line,) = [argv for argv in docker.asked if argv[1:3] == ("buildx", "build")]
    assert f"{STAND_INS}=alpine:3.22 golang:1.24" in words_after(line, "--label")
    assert (
        "built on placeholders for alpine:3.22, golang:1.24: not for publishing" in err.getvalue()
    )
    request = BuildRequest(push=True, tags=("r.example/thing:1",))
    with pytest.raises(InputError, match="built on placeholders can't be pushed"):
        build_image(project, request, docker, console)


def test_an_image_on_real_bases_stays_as_it_was(tmp_path: Path) -> None:
    docker = Docker(engine={"other": "label"}, registry={})
    project = _project(tmp_path, f"FROM scratch\nCOPY --from={OWN} /x /x\n")
    assert build_image(project, BuildRequest(), docker, a_console()[0]).stand_ins == ()
    (line,) = [argv for argv in docker.asked if argv[1:3] == ("buildx", "build")]
    assert STAND_INS not in " ".join(line)


def test_what_is_replaced_is_asked_where_it_comes_from(tmp_path: Path) -> None:
    config = f'[base-images]\n"a:1" = "docker-image://{LOOPBACK}"\n"b:1" = "docker-image://{OWN}"\n'
    project = _project(tmp_path, "FROM a:1 AS a\nFROM b:1\nCOPY --from=a /x /x\n", config)
    docker = Docker(engine={STAND_INS: "x:1"}, registry={STAND_INS: "y:1"})
    assert inherited_stand_ins(_plan(project), docker) == ("x:1", "y:1")
    (asked,) = [argv for argv in docker.asked if argv[1] == "image"]
    assert sorted(asked[5:]) == [LOOPBACK, OWN]


def test_a_registry_elsewhere_is_not_asked(tmp_path: Path) -> None:
    project = _project(tmp_path, "FROM r.example/own:1\n")
    docker = Docker(registry=ON)
    assert inherited_stand_ins(_plan(project), docker) == ()
    assert [argv[1] for argv in docker.asked] == ["image"]


@pytest.mark.parametrize("answer", [None, [], {"config": None}, {"config": {"Labels": "{"}}, 7])
def test_answers_of_another_form_say_nothing(tmp_path: Path, answer: object) -> None:
    docker = Docker()
    docker.platforms = answer
    project = _project(tmp_path, f"FROM {LOOPBACK}\n")
    assert inherited_stand_ins(_plan(project), docker) == ()
    docker.platforms = {"config": {"Labels": ON}}
    assert inherited_stand_ins(_plan(project), docker) == NAMES


def test_a_registry_that_hangs_is_the_build_s_to_report(tmp_path: Path) -> None:
    class Hanging(Docker):
        def _answer(self, argv: Sequence[str]) -> Completed:
            if "imagetools" in argv:
                raise TimedOutError("docker did not answer within 30 s")
            return super()._answer(argv)

    assert inherited_stand_ins(_plan(_project(tmp_path, f"FROM {LOOPBACK}\n")), Hanging()) == ()


def _write(folder: Path, document: object) -> dict[str, object]:
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def _layout(folder: Path) -> str:
    """Write a layout of two images, one tagged `on` an index on placeholders; return its digest."""
    entries = []
    for tag, labels in (("on", ON), ("off", {})):
        config = _write(folder, {"config": {"Labels": labels}})
        manifest = _write(folder, {"config": config, "layers": []})
        index = _write(folder, {"manifests": [manifest]})
        entries.append({**index, "annotations": {"org.opencontainers.image.ref.name": tag}})
    (folder / "index.json").write_text(json.dumps({"manifests": entries}), encoding="utf-8")
    return str(entries[0]["digest"])


@pytest.mark.parametrize(
    ("which", "found"),
    [("", NAMES), (":on", NAMES), (":off", ()), ("@DIGEST", NAMES), (":on@DIGEST", NAMES)],
)
def test_a_layout_is_read_for_the_image_that_is_meant(
    tmp_path: Path, which: str, found: tuple[str, ...]
) -> None:
    place = tmp_path / "layouts" / "own"
    place.mkdir(parents=True)
    which = which.replace("DIGEST", _layout(place))
    config = f'[base-images]\n"own:1" = "oci-layout://{place}{which}"\n'
    project = _project(tmp_path, "FROM scratch\nCOPY --from=own:1 /x /x\n", config)
    docker = Docker()
    assert inherited_stand_ins(_plan(project), docker) == found
    assert docker.asked == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"manifests": [1, {"digest": "sha256:x"}]}'])
def test_a_layout_that_is_none_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text, encoding="utf-8")
    config = f'[base-images]\n"own:1" = "oci-layout://{tmp_path}"\n'
    project = _project(tmp_path, "FROM own:1\n", config)
    assert inherited_stand_ins(_plan(project), Docker()) == ()
