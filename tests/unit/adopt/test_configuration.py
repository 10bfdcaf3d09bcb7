from __future__ import annotations

import errno
import os
import re
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildlib.adopt.configuration import (
    AdoptedImage,
    Package,
    all_settings,
    configuration_text,
    image_names,
)
from buildlib.adopt.dockerfile_facts import read_facts
from buildlib.adopt.places import Repository
from buildlib.adopt.settings import Setting, found_settings, nested
from buildlib.adopt.toml_text import description, toml_text
from buildlib.config.load import check_table, load_config
from buildlib.config.toml_text import toml_value

PACKAGE = Package("https://docs.example", "https://docs.example/schema.json")
IMAGE = ("thing", "directory")
Given = Iterable[Setting]


def _image(text: str, *given: Setting, name: str = "") -> AdoptedImage:
    facts, folder = read_facts(text), name or "."
    settings = found_settings(facts, "Dockerfile", given)
    return AdoptedImage(
        name=name, dockerfile=f"{folder}/Dockerfile", context=folder, facts=facts, settings=settings
    )


def _settings(text: str, *given: Setting) -> dict[str, Any]:
    return nested(all_settings([_image(text, *given)], IMAGE))


def _written(
    text: str, image: tuple[str, str] = IMAGE, package: Package = PACKAGE, given: Given = ()
) -> str:
    images = [_image(text, *given)]
    return configuration_text(all_settings(images, image), images, package)


@pytest.mark.parametrize(
    ("text", "smoke"),
    [
        ("EXPOSE 8080", {"port": 8080, "health": "tcp"}),
        (
            "EXPOSE 9090 8080\nHEALTHCHECK CMD curl -f localhost http://localhost:8080/health",
            {"port": 8080, "health-path": "/health"},
        ),
        ("EXPOSE 80\nHEALTHCHECK CMD curl http://localhost/", {"port": 80}),
        (
            "HEALTHCHECK CMD wget -q http://127.0.0.1:81/x",
            {"port": 81, "health-path": "/x"},
        ),
        (
            'EXPOSE 5432\nHEALTHCHECK CMD ["pg_isready"]',
            {"port": 5432, "health-command": ["pg_isready"]},
        ),
        (
            'EXPOSE 443\nHEALTHCHECK CMD ["curl", "https://localhost/"]',
            {"port": 443, "health-command": ["curl", "https://localhost/"]},
        ),
        (
            'EXPOSE 80\nHEALTHCHECK CMD ["curl", "http://localhost:81/"]',
            {"port": 80, "health-command": ["curl", "http://localhost:81/"]},
        ),
        ('HEALTHCHECK CMD ["x"]', {"health-command": ["x"]}),
        ('HEALTHCHECK CMD ["x", "--password=hunter2secret"]', None),
        ("", None),
    ],
)
def test_health_is_asked_as_the_dockerfile_does(text: str, smoke: dict[str, Any] | None) -> None:
    assert _settings(f"FROM x\n{text}").get("smoke") == smoke


def test_what_was_given_comes_before_the_dockerfile() -> None:
    given = (
        Setting(("run", "port"), 3000, "Makefile:3"),
        Setting(("image",), "other", "Makefile:1"),
    )
    found = _settings("FROM x\nEXPOSE 8080\n", *given)
    assert found["image"] == "other"
    assert found["smoke"] == {"port": 3000, "health": "tcp"}
    assert "run" not in found
    healthy = Setting(("run", "health"), "running", "Makefile:3")
    assert _settings("FROM x\nEXPOSE 80\n", healthy)["smoke"] == {"port": 80}


@pytest.mark.parametrize(
    ("mounts", "run"),
    [
        (["notes:/data"], {"mounts": ["notes:/data"]}),
        (["/srv/notes:/data"], {"mounts": ["/srv/notes:/data"]}),
        (["./conf:/etc/x"], {"data-path": "/data", "mounts": ["./conf:/etc/x"]}),
    ],
)
def test_data_is_mounted_once(mounts: list[str], run: dict[str, Any]) -> None:
    given = Setting(("run", "mounts"), mounts, "Makefile:3")
    assert _settings("FROM x\nVOLUME /data\n", given)["run"] == run


@pytest.mark.parametrize(
    ("text", "inject"),
    [
        ("ARG VERSION", None),
        ("ARG APP_VERSION\nARG GIT_COMMIT\nARG BUILD_DATE", {
            "VERSION": "APP_VERSION", "REVISION": "GIT_COMMIT", "CREATED": "BUILD_DATE"}),
        ("ARG version=dev", {"VERSION": "version"}),
        ("ARG APP_VERSION\nARG BUILD_VERSION", None),
        ("ARG APP_VERSION=2.1.0", None),
        ("ARG APP_VERSION\nRUN curl https://x.example/$APP_VERSION", None),
        ("ARG VERSION=2.1.0\nRUN curl https://x.example/$VERSION", {"VERSION": False}),
        ("ARG VERSION=0.0.0\nRUN curl https://x.example/${VERSION}", None),
    ],
)  # fmt: skip
def test_build_args_of_the_version_are_found(text: str, inject: dict[str, Any] | None) -> None:
    assert _settings(f"FROM x\n{text}").get("inject") == inject


def test_a_version_that_chooses_the_base_is_not_filled() -> None:
    assert _settings("ARG VERSION=3\nFROM x:$VERSION\n")["inject"] == {"VERSION": False}


def test_a_build_arg_with_a_value_of_its_own_gets_no_other() -> None:
    given = Setting(("build-args", "APP_VERSION"), "{version}", "Makefile:1")
    assert "inject" not in _settings("FROM x\nARG APP_VERSION\n", given)


def test_a_fixed_platform_is_the_only_one() -> None:
    assert _settings("FROM --platform=amd64 x\n")["platforms"] == ["linux/amd64"]
    for text in ("FROM --platform=$BUILDPLATFORM x\n", "FROM --platform=plan9 x\n", ""):
        assert _settings(text)["platforms"] == ["linux/amd64", "linux/arm64"]


def test_each_key_is_explained_and_what_is_open_is_a_comment() -> None:
    text = _written("FROM x\nARG COLOUR\nARG API_TOKEN\nEXPOSE 8080\n")
    assert text.startswith("#:schema https://docs.example/schema.json\n# All keys: https://docs")
    assert "\n# Repository of the image, with its registry if it has one.\nimage = " in text
    assert "\n# [run]\n# read-only = false\n" in text
    assert '\n# COLOUR = "…"' in text
    assert "TOKEN" not in text
    # Without its hash, every comment is what it says.
    opened = (
        text.replace("\n# [", "\n[").replace("\n# read-", "\nread-").replace("\n# COL", "\nCOL")
    )
    found = tomllib.loads(opened)
    assert (found["run"], found["build-args"]) == ({"read-only": False}, {"COLOUR": "…"})


def test_a_name_that_is_asked_for_comes_before_all() -> None:
    said = Setting(("image",), "acme/shop", "Makefile:1")
    images = [_image("FROM x\n", said)]
    assert nested(all_settings(images, IMAGE))["image"] == "acme/shop"
    assert nested(all_settings(images, ("mine", "--image")))["image"] == "mine"


def test_several_images_have_a_table_each() -> None:
    said = Setting(("platforms",), ["linux/arm64"], "Makefile:1")
    named = Setting(("image",), "acme/web", "Makefile:2")
    plain = Setting(("dockerfile",), "api/Dockerfile", "the file")
    images = [
        _image("FROM x\nEXPOSE 80\n", plain, name="api"),
        _image("FROM x\nUSER 7\n", said, named, name="web"),
    ]
    assert nested(all_settings(images, IMAGE)) == {
        "image": "thing",
        "platforms": ["linux/amd64", "linux/arm64"],
        "images": {
            "api": {"smoke": {"port": 80, "health": "tcp"}},
            "web": {"platforms": ["linux/arm64"], "image": "acme/web", "run": {"user": 7}},
        },
    }
    text = configuration_text(all_settings(images, IMAGE), images, PACKAGE)
    assert tomllib.loads(text)["images"].keys() == {"api", "web"}
    assert "\n[images.web.run]\n" in text


def test_a_name_that_several_images_have_is_what_theirs_begin_with() -> None:
    said = Setting(("image",), "acme/shop", "Makefile:1")
    other = Setting(("image",), "acme/job", "Makefile:3")
    images = [
        _image("FROM x\nUSER 7\n", said, name="api"),
        _image("FROM x\n", said, name="web"),
        _image("FROM x\n", other, name="job"),
    ]
    found = nested(all_settings(images, IMAGE))
    assert found["image"] == "acme/shop"
    assert found["images"] == {
        "api": {"run": {"user": 7}},
        "web": {"dockerfile": "web/Dockerfile"},
        "job": {"image": "acme/job"},
    }
    assert not check_table(found)
    assert nested(all_settings(images, ("mine", "--image")))["image"] == "mine"


def test_images_are_called_after_their_directories() -> None:
    assert image_names(["Dockerfile"]) == {"Dockerfile": ""}
    paths = ["a/api/Dockerfile", "b/Api/Dockerfile", "Dockerfile"]
    assert [*image_names(paths).values()] == ["api", "api-2", "root"]


def test_a_registry_of_the_name_is_offered() -> None:
    text = _written("FROM x\nUSER 1\n", ("ghcr.io/you/thing", "git remote"), Package())
    assert (
        '\n# For docker-publish:\n# [registries.ghcr]\n# repository = "ghcr.io/you/thing"\n' in text
    )
    assert text.endswith('\n# [verify]\n# key = "cosign.pub"\n')
    assert text.startswith("# A release needs these, as labels of the image:\n# description")
    label = "FROM x\nLABEL org.opencontainers.image.description=d\nUSER 1\n"
    text = _written(label, ("ghcr.io/you/thing", "git remote"), Package())
    assert "# description" not in text
    assert "# licenses" in text


PLAIN = st.booleans() | st.integers(-9, 99) | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.\"' é\n"), inner, max_size=3)
    ),
    max_leaves=9,
)


@given(st.dictionaries(st.text('ab-." é', min_size=1), VALUES, max_size=4))
@example({"a": {"b": {}, "c": {"d": 1}}})
@example({"a": {}, "b": '\x7f\\"'})
@example({"a": [{"b": {"c": [True, {}]}}]})
def test_what_is_written_is_read_again(settings: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(settings, [" head"], ["# tail"])) == settings


def test_a_table_of_names_is_described_by_the_key_that_has_it() -> None:
    assert description(("image",)).startswith("repository")
    assert description(("run", "port"))
    assert description(("registries", "x", "repository"))
    assert description(("nothing", "at", "all")) == ""
    assert toml_value(1.5) == "1.5"


WORDS = st.sampled_from(
    (
        *("8080", "$PORT", "${PORT:-80}", "80/udp", "99999", "-1", "/data", '["/a", "b"]'),
        *("CMD curl http://localhost:8080/x", 'CMD ["a", "\\ud800"]', "NONE", "CMD", "app"),
        *("1001:5", "VERSION", "APP_VERSION=1.2.3", "PORT=3000", "A='b", "<<EOF", "AS", "x", "'"),
        *("--platform=linux/arm/v7", "\\", "\x00", "\x7f", "=", "{version}", '"x y"', "\u2028"),
        *("https://x/$VERSION", "é"),
    )
)
NAMES = ("FROM", "ARG", "ENV", "EXPOSE", "USER", "VOLUME", "HEALTHCHECK", "RUN", "COPY", "", "#")
LINES = st.builds(
    lambda name, words: " ".join([name, *words]),
    st.sampled_from(NAMES),
    st.lists(WORDS | st.text(max_size=8), max_size=4),
)


@given(st.lists(LINES, max_size=12).map(lambda lines: "\n".join(["FROM x", *lines])) | st.text())
@example('FROM x\nHEALTHCHECK CMD ["a\\u0000"]')
@example("FROM x\nARG A\x7f\nARG vers\u0131on")
@example('FROM x\nENV 0"0')
@example("FROM x\nVOLUME /a\\\x00b")
@example("FROM x\nARG version\nARG VERSION\nENV VERSION=$VERSION")
def test_what_is_written_for_any_dockerfile_can_be_loaded(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "buildlib.toml")
        path.write_text(_written(text), encoding="utf-8")
        config = load_config(Path(folder), {})
    assert config.image == "thing"
    assert config.platforms


@pytest.mark.parametrize("text", ["", "USER 7\n", "ARG COLOUR\nEXPOSE 80\n"])
def test_what_is_a_comment_is_ready_to_be_used(text: str) -> None:
    image = ("127.0.0.1:5000/you/thing", "git remote")
    written = _written(f"FROM x\n{text}", image, Package())
    opened = re.sub(r"^# (?=\[\w|[\w-]+ = )", "", written, flags=re.MULTILINE)
    found = tomllib.loads(opened)
    assert found["registries"] == {"main": {"repository": "127.0.0.1:5000/you/thing"}}
    assert found["smoke"]["port"]
    assert found["run"] == ({"user": 7} if "USER" in text else ROOT_RUN)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "buildlib.toml").write_text(opened, encoding="utf-8")
        assert load_config(Path(folder), {}).registries


ROOT_RUN = {"read-only": False, "drop-capabilities": False}


def test_what_can_not_be_looked_at_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Dockerfile").touch()
    (tmp_path / "Forbidden").symlink_to("/proc/1/cwd")
    found = Repository(tmp_path, None, {}, None)
    stat = os.stat

    def refusing(path: str | Path, **more: bool) -> os.stat_result:
        if str(path).endswith("Forbidden"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(os, "stat", refusing)
    assert [*found.files()] == ["Dockerfile"]
