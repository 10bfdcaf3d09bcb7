"""`[images.NAME]`: what an image of several inherits, and what it has of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.config.load import ConfigFile, check_table, load_config, load_images
from buildlib.errors import BuildlibError, InputError, ProblemsError

SHOP = """\
image = "ghcr.io/acme/shop"
platforms = ["linux/amd64"]
labels = { team = "blue", tier = "back" }

[run]
memory = "1g"
port = 8080

[images.api]
context = "services/api"
labels = { tier = "front" }
base-images = { "base" = "image:base" }
tag-prefix = "api/v"

[images.api.run]
port = 9090

[images.base]
dockerfile = "base/Dockerfile"
"""


def _write(root: Path, text: str, name: str = "buildlib.toml") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root


def test_an_image_inherits_what_it_does_not_set(tmp_path: Path) -> None:
    base, api = load_images(_write(tmp_path, SHOP), {})
    assert (base.name, api.name) == ("base", "api")
    assert base.images == api.images == ("base", "api")
    assert (base.image, api.image) == ("ghcr.io/acme/shop/base", "ghcr.io/acme/shop/api")
    assert (base.run.memory, base.run.port) == ("1g", 8080)
    # A table is merged key by key.
    assert (api.run.memory, api.run.port) == ("1g", 9090)
    assert api.labels == (("team", "blue"), ("tier", "front"))
    assert [str(one) for one in api.platforms] == ["linux/amd64"]
    assert (base.tag_prefix, api.tag_prefix) == ("v", "api/v")
    assert api.images_below() == ("base",)


def test_the_dockerfile_is_in_the_context_that_an_image_names(tmp_path: Path) -> None:
    base, api = load_images(_write(tmp_path, SHOP), {})
    assert (api.context, api.dockerfile) == ("services/api", "services/api/Dockerfile")
    assert (base.context, base.dockerfile) == (".", "base/Dockerfile")
    text = 'dockerfile = "Dockerfile.all"\n[images.a]\ncontext = { path = "a" }\n'
    assert load_config(_write(tmp_path, text), {}, image="a").dockerfile == "Dockerfile.all"


def test_each_image_knows_where_a_value_came_from(tmp_path: Path) -> None:
    _, api = load_images(_write(tmp_path, SHOP), {"BUILDLIB_BUILDER": "farm"})
    assert str(api.source_of("platforms")) == "file (buildlib.toml)"
    assert str(api.source_of("run")) == "file (buildlib.toml, images.api)"
    assert str(api.source_of("image")) == "file (buildlib.toml, images.api)"
    assert (api.builder, str(api.source_of("builder"))) == (
        "farm",
        "environment (BUILDLIB_BUILDER)",
    )
    assert api.table("smoke") == "[images.api.smoke]"


def test_what_an_image_writes_is_apart_from_the_others(tmp_path: Path) -> None:
    text = '[registries.main]\nrepository = "r.example/shop"\n[run]\ndata-path = "/data"\n'
    text += '[smoke]\nport = 8080\nsize-record = "kept/sizes.json"\n'
    text += '[images.a]\n[images.b]\nsmoke.size-record = "b.json"\n'
    text += 'registries.main.repository = "r.example/other"\n'
    a, b = load_images(_write(tmp_path, text), {})
    assert (a.smoke.size_record, b.smoke.size_record) == ("kept/sizes-a.json", "b.json")
    assert (a.smoke.port, b.smoke.port) == (8080, 8080)
    assert (a.folder("dist"), b.folder("dist")) == ("dist/a", "dist/b")
    assert (a.run.data_dir, b.run.data_dir) == ("data/a", "data/b")
    assert a.registries[0].repository == "r.example/shop/a"
    assert b.registries[0].repository == "r.example/other"
    # Without a repository of the file, an image is called after its table.
    assert (a.image, b.image) == ("a", "b")


def test_a_project_of_one_image_is_as_it_was(tmp_path: Path) -> None:
    root = _write(tmp_path, 'image = "thing"\n')
    (config,) = load_images(root, {})
    assert config == load_config(root, {})
    assert (config.name, config.images, config.folder("dist")) == ("", (), "dist")


def test_the_variable_for_the_image_counts_for_the_file(tmp_path: Path) -> None:
    found = load_images(_write(tmp_path, SHOP), {"BUILDLIB_IMAGE": "r.example/x"})
    assert [one.image for one in found] == ["r.example/x/base", "r.example/x/api"]


def test_the_order_is_that_of_the_file_after_what_each_is_based_on(tmp_path: Path) -> None:
    images = {"c": "b", "b": "a", "a": "", "d": ""}
    text = "".join(
        f'[images.{name}]\nimage = "{name}"\n'
        + (f'base-images."{below}" = "image:{below}"\n' if below else "")
        for name, below in images.items()
    )
    root = _write(tmp_path, text)
    assert [one.name for one in load_images(root, {})] == ["a", "b", "c", "d"]
    assert [one.name for one in load_images(root, {}, only=["c", "a"])] == ["a", "c"]


def test_two_images_may_be_told_apart_by_their_tags(tmp_path: Path) -> None:
    tags = 'tags = { suffix = "-slim" }'
    text = f'[images.a]\nimage = "x"\n[images.b]\nimage = "x"\n{tags}\n'
    assert [one.image for one in load_images(_write(tmp_path, text), {})] == ["x", "x"]


def test_a_table_that_is_about_to_be_written_has_no_image_twice() -> None:
    images = {"web": {}, "api": {"image": "shop/web"}}
    assert not check_table({"image": "store", "images": images})
    (problem,) = check_table({"image": "shop", "images": images}).values()
    assert problem.what == "images.api.image is that of images.web, with the same tags"


def test_many_that_are_based_on_two_others_are_ordered_at_once(tmp_path: Path) -> None:
    names = [f"a{number}" for number in range(64)]
    text = "".join(
        f"[images.{name}.base-images]\n"
        + "".join(f'"{one}" = "image:{one}"\n' for one in names[max(0, number - 2) : number])
        for number, name in reversed([*enumerate(names)])
    )
    assert ConfigFile(_write(tmp_path, text), {}).names == tuple(names)


def test_all_of_it_works_in_pyproject_toml(tmp_path: Path) -> None:
    text = '[tool.buildlib]\nimage = "x"\n[tool.buildlib.images.a]\ntitle = "A"\n'
    config = load_config(_write(tmp_path, text, "pyproject.toml"), {}, image="a")
    assert (config.image, config.title) == ("x/a", "A")
    assert config.table("run") == "[tool.buildlib.images.a.run]"


CIRCLE = """\
[images.a.base-images]
"b" = "image:b"
[images.b.base-images]
"a" = { source = "image:a" }
"""


REGISTRY = """\
[registries.main]
repository = "r/shop"
[images.web]
[images.api.registries.main]
repository = "r/shop/web"
"""


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (CIRCLE, "images are based on each other: a → b → a", "remove one of these base-images"),
        (
            '[images.api.base-images]\n"b" = "image:apo"\n',
            "images.api.base-images.\"b\": there is no image 'apo'",
            "did you mean api?",
        ),
        (
            '[images.api]\nplatform = "x"\n',
            "unknown configuration key images.api.platform",
            "did you mean images.api.platforms?",
        ),
        ("[images.api]\nbuilders = {}\n", "unknown configuration key images.api.builders", ""),
        (
            '[images.api]\n[base-images]\n"b" = "image:api"\n',
            'base-images."b" can\'t be image:api here',
            "set it in the table of each image that is based on it: [images.NAME.base-images]",
        ),
        (
            'images = { a = { image = "x" }, b = { image = "x" } }\n',
            "images.b.image is that of images.a, with the same tags",
            "give each one of its own, or tags with a suffix",
        ),
        (
            'image = "r/shop"\n[images.web]\n[images.api]\nimage = "r/shop/web"\n',
            "images.api.image is that of images.web, with the same tags",
            "give each one of its own, or tags with a suffix",
        ),
        (
            REGISTRY,
            "images.api.registries.main.repository is that of images.web, with the same tags",
            "give each one of its own, or tags with a suffix",
        ),
        ("[images.API]\n", "images.API from file (buildlib.toml) must be", ""),
        ("images = 1\n", "images from file (buildlib.toml) must be a table of tables", ""),
        (
            "[images.api.run]\nport = -1\n",
            "run.port from file (buildlib.toml, images.api) must be a port",
            "",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_table_it_is_in(
    tmp_path: Path, text: str, said: str, hint: str
) -> None:
    with pytest.raises(BuildlibError) as caught:
        load_images(_write(tmp_path, text), {})
    error = caught.value
    first = error.problems[0] if isinstance(error, ProblemsError) else error
    assert first.exit_code == 2
    assert first.what.startswith(said)
    assert not hint or first.hint == hint
    assert first.why.startswith("buildlib.toml") or text == CIRCLE


def test_a_problem_of_an_image_is_on_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_config(_write(tmp_path, "[run]\nport = 1\n[images.a.run]\nport = -1\n"), {}, image="a")
    assert caught.value.why == "buildlib.toml, line 4"


@pytest.mark.parametrize(
    ("text", "image", "said"),
    [
        (SHOP, "", "this project has several images: base, api"),
        (SHOP, "apy", "there is no image 'apy'"),
        ('image = "x"\n', "api", "there is no image 'api'"),
    ],
)
def test_one_of_several_has_to_be_named(tmp_path: Path, text: str, image: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(_write(tmp_path, text), {}, image=image)
    assert caught.value.what == said
