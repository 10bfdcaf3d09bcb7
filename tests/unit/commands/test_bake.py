"""The file for `docker buildx bake`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from buildlib.commands.bake import _with_those_below, bake
from buildlib.commands.session import Edge
from buildlib.errors import InputError

from fakes import git_facts

CONFIG = """\
image = "r.example/shop"
labels = { note = "${x} %{y} $z" }
build-args = { GREETING = "${NAME}" }
platforms = ["linux/amd64"]
secrets = { token = { env = "TOKEN" } }
[images."web.page"]
context = "web"
dockerfile = "Dockerfile.web"
base-images = { "base:local" = "image:base", "alpine:3" = "docker-image://mirror/alpine:3" }
[images.base]
context = "base"
target = "last"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("buildlib.project.read_git_facts", lambda *_, **__: git_facts())
    files = {
        "buildlib.toml": CONFIG,
        "web/page": "",
        "Dockerfile.web": "FROM base:local\nARG GREETING\nCOPY --from=alpine:3 /x /x\n",
        "base/Dockerfile": "FROM scratch AS last\nFROM last\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def _run(root: Path, *, dry: bool = False) -> Edge:
    return Edge(root, {"TOKEN": "x", "HTTP_PROXY": "http://p"}, dry=dry, quiet=False)


def _printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(json.loads(capsys.readouterr().out))


def test_a_target_is_what_docker_build_builds(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bake(_run(root), printed=True, output="")
    found = _printed(capsys)
    assert found["group"] == {"default": {"targets": ["base", "web_page"]}}
    web, base = found["target"]["web_page"], found["target"]["base"]
    assert (web["context"], web["dockerfile"]) == ("web", "../Dockerfile.web")
    assert (base["context"], base["dockerfile"], base["target"]) == ("base", "Dockerfile", "last")
    assert web["contexts"] == {
        "base:local": "target:base",
        "alpine:3": "docker-image://mirror/alpine:3",
    }
    # A value of the environment stays there, and nothing is a template.
    assert web["args"] == {"GREETING": "$${NAME}", "SOURCE_DATE_EPOCH": "1700000000"}
    assert web["labels"]["note"] == "$${x} %%{y} $z"
    assert web["secret"] == ["id=token,env=TOKEN"]
    assert web["tags"] == ["r.example/shop/web.page:1.2.3", "r.example/shop/web.page:latest"]
    assert web["output"] == [
        "type=oci,rewrite-timestamp=true,dest=dist/web.page/web.page-1.2.3.oci.tar"
    ]
    assert web["attest"] == ["type=provenance,disabled=true"]


def test_paths_below_the_project_are_relative_and_others_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CONFIG.replace('{ env = "TOKEN" }', '{ file = "token" }')
    for name in ("token", "key"):
        (root / name).write_text("x", encoding="utf-8")
    (root / "shared").mkdir()
    build = '[build]\nssh = ["default=key"]\ncontexts = { shared = "shared", all = "." }\n'
    caches = f'cache-from = ["type=local,src={root}/cache"]\n'
    caches += 'cache-to = ["type=local,dest=/var/c"]\n'
    (root / "buildlib.toml").write_text(f"{caches}{text}{build}", encoding="utf-8")
    bake(_run(root), printed=True, output="")
    out, err = capsys.readouterr()
    base = json.loads(out)["target"]["base"]
    assert base["contexts"] == {"shared": "./shared", "all": "."}
    assert base["secret"] == ["id=token,src=./token"]
    assert base["ssh"] == ["default=./key"]
    assert base["cache-from"] == ["type=local,src=./cache"]
    assert base["cache-to"] == ["type=local,dest=/var/c"]
    assert str(root) not in out
    where = "cache-to names a path outside the project, which other machines may not have"
    # Once for each target.
    assert err.count("names a path outside") == err.count(f"{where}: type=local,dest=/var/c") == 2


def test_a_project_of_one_image_has_one_target(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "buildlib.toml").write_text('image = "my-shop"\ncontext = "base"\n', encoding="utf-8")
    (root / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    bake(_run(root), printed=True, output="")
    found = _printed(capsys)
    assert found["group"] == {"default": {"targets": ["my-shop"]}}
    assert found["target"]["my-shop"]["dockerfile"] == "../Dockerfile"


def test_it_is_printed_or_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "docker-bake.json"
    with pytest.raises(InputError, match="--print or --output FILE"):
        bake(_run(root), printed=False, output="")
    bake(_run(root, dry=True), printed=False, output=str(path))
    printed = _printed(capsys)
    assert not path.exists()
    bake(_run(root), printed=False, output=str(path))
    assert json.loads(path.read_text(encoding="utf-8")) == printed
    assert capsys.readouterr().out == f"{path}\n"


def test_many_images_that_are_based_on_two_others_are_ordered_at_once() -> None:
    made: list[Any] = []
    for number in range(64):
        below = tuple((one.config.name, one) for one in made[-2:])
        made.append(SimpleNamespace(config=SimpleNamespace(name=f"a{number}"), below=below))
    assert _with_those_below(reversed(made)) == made


def test_two_images_are_never_one_target(root: Path) -> None:
    text = CONFIG.replace("images.base]", "images.web_page]").replace(
        "image:base", "image:web_page"
    )
    (root / "buildlib.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"web_page and web\.page would be one target of bake"):
        bake(_run(root), printed=True, output="")
