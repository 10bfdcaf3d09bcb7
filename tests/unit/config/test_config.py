from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from buildlib.config.load import known_keys, load_config
from buildlib.config.tables import BaseImage
from buildlib.config.toml_lines import lines_of
from buildlib.config.variables import BASE_IMAGES, OTHERS
from buildlib.errors import InputError, ProblemsError, exit_code_of
from buildlib.registry.open import chosen_registries


def _write(root: Path, text: str, name: str = "buildlib.toml") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root


def test_defaults_serve_where_only_the_image_is_named(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, 'image = "thing"\n'), {})
    assert (config.dockerfile, config.tag_prefix, config.platforms) == ("Dockerfile", "v", ())
    assert str(config.source_of("dockerfile")) == "default"
    assert str(config.source_of("image")) == "file (buildlib.toml)"


def test_each_layer_wins_over_the_one_below(tmp_path: Path) -> None:
    root = _write(tmp_path, 'image = "file"\nbuilder = "file"\ntitle = "file"\n')
    env = {"BUILDLIB_BUILDER": "env", "BUILDLIB_TITLE": "env"}
    config = load_config(root, env, {"title": "cli", "builder": ""})
    assert (config.image, config.builder, config.title) == ("file", "env", "cli")
    assert str(config.source_of("builder")) == "environment (BUILDLIB_BUILDER)"
    assert str(config.source_of("title")) == "command line (--title)"


def test_the_nearest_file_upwards_is_the_root(tmp_path: Path) -> None:
    _write(tmp_path, '[tool.buildlib]\nimage = "thing"\n', "pyproject.toml")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    _write(tmp_path / "a", "[project]\n", "pyproject.toml")
    assert load_config(below, {}).root == tmp_path


def test_the_context_is_a_path_or_a_table(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, 'image = "t"\ncontext = "app"\n'), {})
    assert (config.context, config.context_include) == ("app", ())
    table = '[context]\npath = "app"\ninclude = ["gen", "a/**/*.js"]\n'
    config = load_config(_write(tmp_path, f'image = "t"\n{table}'), {})
    assert (config.context, config.context_include) == ("app", ("gen", "a/**/*.js"))
    assert str(config.source_of("context")) == "file (buildlib.toml)"
    # Another path leaves what is included.
    config = load_config(tmp_path, {"BUILDLIB_CONTEXT": "other"})
    assert (config.context, config.context_include) == ("other", ("gen", "a/**/*.js"))
    config = load_config(_write(tmp_path, 'image = "t"\n[context]\ninclude = ["gen"]\n'), {})
    assert (config.context, config.context_include) == (".", ("gen",))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("IMGAE", "IMAGE"),
        ("RELEASE_BRANCH", "RELEASE_BRANCHES"),
        ("PLATFORM", "PLATFORMS"),
        ("BASE_IMAGE", "BASE_IMAGES"),
    ],
)
def test_a_variable_that_is_nearly_one_of_ours_is_refused(
    tmp_path: Path, name: str, meant: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_config(_write(tmp_path, 'image = "thing"\n'), {f"BUILDLIB_{name}": "x"})
    assert caught.value.what == f"unknown variable BUILDLIB_{name}"
    assert caught.value.hint == f"did you mean BUILDLIB_{meant}?"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("RUN_PORT", "run"),
        ("RUN_PORTT", "run"),
        ("SMOKE_COMMAND", "smoke"),
        ("IMAGES_API_PLATFROMS", "images"),
        ("IMAGES_API_RUN_PORT", "images"),
        ("REGISTRIES_GHCR_REPOSITORY", "registries"),
    ],
)
def test_a_variable_for_a_key_of_a_table_is_refused(tmp_path: Path, name: str, table: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(_write(tmp_path, 'image = "thing"\n'), {f"BUILDLIB_{name}": "x"})
    assert caught.value.what == f"BUILDLIB_{name} can't be set: {table} is a table"


@pytest.mark.parametrize("folder", [".", "./", "./.", "/data", "a/../b"])
def test_the_data_is_in_a_directory_of_its_own(tmp_path: Path, folder: str) -> None:
    text = f'image = "thing"\nrun.data-dir = "{folder}"\n'
    with pytest.raises(InputError, match=r"run\.data-dir .* must be a directory below the project"):
        load_config(_write(tmp_path, text), {})


def test_variables_of_others_and_empty_ones_are_left_alone(tmp_path: Path) -> None:
    env = dict.fromkeys([*OTHERS - {BASE_IMAGES}, "BUILDLIB_RUN_ID", "BUILDLIB_TOKEN"], "x")
    root = _write(tmp_path, 'image = "thing"\n')
    assert load_config(root, {**env, "BUILDLIB_IMGAE": "", "BUILDIMAGE": "x"}).image == "thing"


def test_every_variable_that_scripts_and_code_read_is_known() -> None:
    places = ("buildlib/**/*.py", "scripts/**/*", "noxfile.py", ".github/**/*.yml")
    files = [path for place in places for path in ROOT.glob(place) if path.is_file()]
    texts = [path.read_text(encoding="utf-8", errors="ignore") for path in files]
    found = {name for text in texts for name in re.findall(r"BUILDLIB_[A-Z_]*[A-Z]", text)}
    keys = {f"BUILDLIB_{key.upper().replace('-', '_')}" for key in known_keys()}
    assert found <= OTHERS | keys


@pytest.mark.parametrize(
    ("name", "heading", "table"),
    [
        ("buildlib.toml", "", "[registries.NAME]"),
        ("pyproject.toml", "[tool.buildlib]\n", "[tool.buildlib.registries.NAME]"),
    ],
)
def test_hints_name_a_table_as_the_file_at_hand_has_it(
    tmp_path: Path, name: str, heading: str, table: str
) -> None:
    config = load_config(_write(tmp_path, f'{heading}image = "thing"\n', name), {})
    assert (config.file, config.table("registries.NAME")) == (name, table)
    with pytest.raises(InputError) as caught:
        chosen_registries(config, ())
    assert f"add {table} with" in caught.value.hint


def test_a_list_from_the_environment_splits_at_blanks(tmp_path: Path) -> None:
    env = {"BUILDLIB_PLATFORMS": "linux/amd64, linux/arm64", "BUILDLIB_CACHE_FROM": "a,b=c d"}
    config = load_config(_write(tmp_path, 'image = "thing"\n'), env)
    assert [str(p) for p in config.platforms] == ["linux/amd64", "linux/arm64"]
    assert config.cache_from == ("a,b=c", "d")


@pytest.mark.parametrize(
    "text", ["main,release/*", "main, release/*", "main release/*", " main\n,release/* ,"]
)
def test_release_branches_split_at_commas_as_well(tmp_path: Path, text: str) -> None:
    env = {"BUILDLIB_RELEASE_BRANCHES": text}
    config = load_config(_write(tmp_path, 'image = "thing"\n'), env)
    assert config.release_branches == ("main", "release/*")
    toml = f'image = "thing"\nrelease-branches = """{text}"""\n'
    assert load_config(_write(tmp_path, toml), {}).release_branches == ("main", "release/*")
    listed = 'image = "thing"\nrelease-branches = ["a,b"]\n'
    assert load_config(_write(tmp_path, listed), {}).release_branches == ("a,b",)


def test_an_upper_case_image_is_lower_cased(tmp_path: Path) -> None:
    assert (
        load_config(_write(tmp_path, 'image = "ghcr.io/Me/Thing"\n'), {}).image
        == "ghcr.io/me/thing"
    )


BAD = {
    "an unknown key suggests the one that was meant": (
        'image = "t"\nplatfroms = []\n',
        "did you mean platforms",
    ),
    "an unknown key without a neighbour lists all": ('image = "t"\nqqqqqq = 1\n', "known: image"),
    "an unknown smoke key too": ('image = "t"\n[smoke]\nprot = 1\n', "did you mean smoke.port"),
    "text where a list belongs": ('image = "t"\nplatforms = 3\n', "platforms from file"),
    "a list where text belongs": ("image = []\n", "must be text"),
    "a list with a number in it": ('image = "t"\ncache-from = [1]\n', "a list of texts"),
    "a table with a number in it": ('image = "t"\n[labels]\na = 1\n', "a table of texts"),
    "an unknown key of the context": ('image = "t"\n[context]\ndeny = 1\n', "key context.deny"),
    "a context that is a number": ('image = "t"\ncontext = 1\n', "context from file"),
    "a file from elsewhere in the context": (
        'image = "t"\n[context]\ninclude = ["../x"]\n',
        "context.include from file (buildlib.toml) must be a list of paths below the context",
    ),
    "an exception among what is included": (
        'image = "t"\n[context]\ninclude = ["!x"]\n',
        "paths below the context",
    ),
    "a label without a name": ('image = "t"\n[labels]\n"" = "v"\n', "'' is not a name"),
    "a label with a blank": ('image = "t"\n[labels]\n"a b" = "v"\n', "'a b' is not a name"),
    "a label with an equals sign": ('image = "t"\n[labels]\n"a=b" = "v"\n', "'a=b' is not a name"),
    "a build arg without a name": ('image = "t"\n[build-args]\n"" = "v"\n', "'' is not a name"),
    "a build arg with a dash": ('image = "t"\n[build-args]\na-b = "v"\n', "'a-b' is not a name"),
    "a progress that buildx has not": ('image = "t"\nprogress = "plan"\n', "did you mean plain"),
    "an absolute path to clean": ('image = "t"\nclean = ["/x"]\n', "paths below the project"),
    "a path to clean that leads out": ('image = "t"\nclean = ["x/../.."]\n', "paths below"),
    "the project itself to clean": ('image = "t"\nclean = ["."]\n', "paths below the project"),
    "a NUL": ('image = "t"\ndockerfile = "a\\u0000b"\n', "text without a NUL character"),
    "the repository to clean": ('image = "t"\nclean = ["a/.git"]\n', "outside of .git"),
    "nothing to clean": ('image = "t"\nclean = [""]\n', "paths below the project"),
    "the table of several images misspelt": (
        'image = "t"\n[image.a]\ncontext = "a"\n',
        "[images.NAME], not [image.NAME]",
    ),
    "an image with a tag": ('image = "t:1"\n', "without tag or digest"),
    "an unknown platform": ('image = "t"\nplatforms = ["linux/amd46"]\n', "linux/amd64"),
    "bad TOML names the line": ('image = "t"\nx = = 1\n', "line 2"),
    "no image at all": ('title = "t"\n', "no image is named"),
    "a base image with a bare path": ('image = "t"\n[base-images]\na = "/x"\n', "oci-layout://"),
    "which base image that is": (
        'image = "t"\n[base-images]\n"a:1" = { path = "/x" }\n',
        'base-images."a:1" from file (buildlib.toml) must be',
    ),
    "a base image with an odd key": (
        'image = "t"\n[base-images]\na = {source = "oci-layout:///x", b = 1}\n',
        "stand-in = true",
    ),
    "base images that are no table": ('image = "t"\nbase-images = 1\n', "a table of FROM"),
    "smoke that is no table": ('image = "t"\nsmoke = 1\n', "must be a table"),
    "smoke commands of plain text": (
        'image = "t"\n[smoke]\ncommands = ["x"]\n',
        "each a list of texts",
    ),
    "a smoke command without words": (
        'image = "t"\n[smoke]\ncommands = [{ code = 1 }]\n',
        "each a list of texts",
    ),
    "smoke commands that are no list": (
        'image = "t"\n[smoke]\ncommands = 1\n',
        "a list of commands",
    ),
    "an unknown key of a smoke command": (
        'image = "t"\n[smoke]\ncommands = [{ run = ["x"], exit = 1 }]\n',
        "unknown configuration key smoke.commands.exit",
    ),
    "a pattern that is none": (
        'image = "t"\n[smoke]\nlog-errors = "("\n',
        "must be a regular expression",
    ),
    "data that is written by GET": (
        'image = "t"\n[smoke]\ndata = { write = "GET /x", read = "/x" }\n',
        'write = "POST /path"',
    ),
    "data that is never read": (
        'image = "t"\n[smoke]\ndata = { write = "POST /x" }\n',
        'read = "/path"',
    ),
    "socket groups by name": (
        'image = "t"\n[smoke]\nsocket-groups = ["docker"]\n',
        "whole number",
    ),
    "one socket group": ('image = "t"\n[smoke]\nsocket-groups = 1\n', "a list of whole numbers"),
    "a negative port": (
        'image = "t"\n[run]\nport = -1\n',
        "run.port from file (buildlib.toml) must be a port, from 0 to 65535, not -1",
    ),
    "a port beyond the last": (
        'image = "t"\n[smoke]\nport = 99999\n',
        "smoke.port from file (buildlib.toml) must be a port",
    ),
    "a port that is true": ('image = "t"\n[smoke]\nport = true\n', "a port, from 0 to 65535"),
    "a registry that has a tag": (
        'image = "t"\n[registries.x]\nrepository = "127.0.0.1:5/x:1"\n',
        "registries.x.repository from file (buildlib.toml) must be a repository without tag",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_configuration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(_write(tmp_path, text), {})
    assert message in str(caught.value)


MANY = """\
# platfroms is written so only here
image = "t"
platfroms = ["linux/amd64"]
progress = "loud"
labels = { a = 1 }
[smoke]
  prot = 80
port = "x"
'start-timeout' = -1
data = { wirte = "POST /x" }
[tags]
rules = [
  "{vesion}",
  "{major}{minor}",
]
[registries.one]
repository = "x"
requierd = true
tags = { sufix = "-x" }
[registries.two]
repository = 1
[[policy.ignore]]
rule = "hadolint"
"""
WRONG = [
    ("unknown configuration key platfroms", 3, "did you mean platforms?"),
    ("unknown progress 'loud'", 4, ""),
    ("labels from file ({}) must be a table of texts, not dict", 5, ""),
    ("unknown configuration key smoke.prot", 7, "did you mean smoke.port?"),
    ("smoke.port from file ({}) must be a port", 8, ""),
    ("smoke.start-timeout from file ({}) must be a whole number", 9, ""),
    ("tags.rules[0].template: unknown name {{vesion}}", 11, "did you mean version?"),
    ("tags.rules[1]: '{{major}}{{minor}}' can't be read back", 11, ""),
    (
        "unknown configuration key registries.one.requierd",
        18,
        "did you mean registries.one.required?",
    ),
    ("unknown configuration key registries.one.tags.sufix", 19, ""),
    ("registries.two.repository from file ({}) must be text", 21, ""),
]


@pytest.mark.parametrize("name", ["buildlib.toml", "pyproject.toml"])
def test_all_that_is_wrong_is_told_at_once_with_its_line(tmp_path: Path, name: str) -> None:
    text, above = MANY, 0
    if name == "pyproject.toml":
        # What other tools have is not looked at, even where it is called alike.
        before = "[tool.other]\nplatfroms = 1\n[tool.buildlib]\n"
        text = before + re.sub(r"^(\[+)", r"\1tool.buildlib.", MANY, flags=re.MULTILINE)
        above = 3
    with pytest.raises(ProblemsError) as caught:
        load_config(_write(tmp_path, text, name), {"BUILDLIB_PLATFROMS": "x"})
    said = str(caught.value)
    for what, line, hint in WRONG:
        (found,) = (one for one in caught.value.problems if one.what.startswith(what.format(name)))
        assert f"{name}, line {line + above}" in found.why, what
        assert hint in found.hint
    assert "unknown variable BUILDLIB_PLATFROMS" in said
    assert exit_code_of(caught.value) == 2


def test_one_that_is_wrong_is_told_alone_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_config(_write(tmp_path, 'image = "t"\n\nimgae = "u"\n'), {})
    assert str(caught.value) == (
        "unknown configuration key imgae\n  buildlib.toml, line 3\n  did you mean image?"
    )


def test_a_configuration_that_is_a_directory_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").mkdir()
    with pytest.raises(InputError, match=r"buildlib\.toml can't be read"):
        load_config(tmp_path, {})


NAMES = st.sampled_from(["a", "b", "port", "a-b", '"x y"', "'q'"])
BODIES = st.sampled_from(["1", '"x = 1"', "[\n  1,\n  2,\n]", '"""\na = 1\n"""', "{ c = 1 }"])


@given(st.lists(st.tuples(st.lists(NAMES, max_size=2), NAMES, BODIES), max_size=8))
def test_the_line_of_every_key_is_found(parts: list[tuple[list[str], str, str]]) -> None:
    """Whatever stands before it: other tables, comments, values of several lines."""
    text, where = "# a = 1\n", dict[tuple[str, ...], int]()
    for table, name, body in parts:
        heading = f"[{'.'.join(table)}]\n" if table else ""
        more = f"{text}{heading}# {name}\n"
        try:
            tomllib.loads(f"{more}{name} = {body}\n")
        except tomllib.TOMLDecodeError:
            continue
        if not table and where:
            # After a heading it would be a key of that table.
            continue
        path = tuple(one.strip("\"'") for one in (*table, name))
        where[path] = more.count("\n") + 1
        text = f"{more}{name} = {body}\n"
    found = lines_of(text)
    assert {path: found[path] for path in where} == where
    assert set(found) == set(_paths(tomllib.loads(text)))


def _paths(found: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the way to everything that has a name; lists have none."""
    if isinstance(found, dict):
        for name, value in found.items():
            yield (*above, name)
            yield from _paths(value, (*above, name))
    for one in found if isinstance(found, list) else ():
        yield from _paths(one, above)


ODD = '''
"a.b" = """"quotes" \\""" = 1 """"" # c = 1
'x' . y = [ # [z]
  { p = 1, "q" = [ { r = {} } ] },
  "]", QQQ}QQQ,
  { late = { '=' = "," } } ]
[[ t . u ]]
k = { }
[[t.u]]
later = 1979-05-27 07:32:00
[t.u.deep]
k."" = 0x1
'''.replace("QQQ", "'" * 3)


def test_the_line_of_a_key_in_whatever_form_it_is_written() -> None:
    found = lines_of(ODD)
    assert set(found) == set(_paths(tomllib.loads(ODD)))
    lines = {".".join(path): line for path, line in found.items() if len(path) > 1}
    assert lines == {
        "x.y": 3,
        "x.y.p": 4,
        "x.y.q": 4,
        "x.y.q.r": 4,
        "x.y.late": 6,
        "x.y.late.=": 6,
        "t.u": 7,
        "t.u.k": 8,
        "t.u.later": 10,
        "t.u.deep": 11,
        "t.u.deep.k": 12,
        "t.u.deep.k.": 12,
    }


def test_a_file_is_read_once_for_all_that_is_wrong_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    loads = tomllib.loads

    def counted(text: str) -> dict[str, object]:
        parsed.append(len(text))
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", counted)

    def cost(number: int) -> int:
        entries = "".join(f'  {{ rulle = "r{one}" }},\n' for one in range(number))
        keys = "".join(f"unknown{one} = 1\n" for one in range(number))
        parsed.clear()
        with pytest.raises(ProblemsError) as caught:
            load_config(_write(tmp_path, f"{keys}[policy]\nignore = [\n{entries}]\n"), {})
        assert len(caught.value.problems) >= number
        return sum(parsed)

    # Ten times as much is wrong in a file that is ten times as long.
    assert cost(200) < 11 * cost(20)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").write_bytes(b'image = "\xff"')
    with pytest.raises(InputError, match="can't be read"):
        load_config(tmp_path, {})


def test_base_images_from_the_environment_are_laid_over_the_file(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        'image = "t"\n[base-images]\na = "docker-image://mirror/a"\nb = "docker-image://mirror/b"\n',
    )
    (tmp_path / "map.toml").write_text(
        '[base-images]\nb = { source = "oci-layout:///b", stand-in = true }\n', encoding="utf-8"
    )
    config = load_config(root, {BASE_IMAGES: str(tmp_path / "map.toml")})
    assert config.base_images == (
        ("a", BaseImage(source="docker-image://mirror/a")),
        ("b", BaseImage(source="oci-layout:///b", stand_in=True)),
    )
    assert str(config.source_of("base-images")) == f"environment ({BASE_IMAGES})"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(None, "can't be read", id="a map that is not there"),
        pytest.param("[bases]\n", "unknown configuration key", id="another table"),
        pytest.param('[base-images]\na = "x"\n', "environment", id="a source of no known kind"),
    ],
)
def test_a_bad_map_in_the_environment_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    root = _write(tmp_path, 'image = "t"\n')
    if text is not None:
        _write(tmp_path, text, "map.toml")
    with pytest.raises(InputError) as caught:
        load_config(root, {BASE_IMAGES: str(tmp_path / "map.toml")})
    assert message in str(caught.value)


def test_what_may_hold_a_key_is_not_repeated_where_it_is_of_another_kind(tmp_path: Path) -> None:
    cache = '[{ type = "s3", secret_access_key = "hunter2" }]'
    text = f'image = "thing"\ncache-to = {cache}\n'
    (tmp_path / "buildlib.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="must be a list of texts, not list") as caught:
        load_config(tmp_path, {})
    assert "hunter2" not in str(caught.value)


def test_a_pyproject_without_tables_of_tools_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("tool = 1\n", encoding="utf-8")
    assert load_config(tmp_path, {"BUILDLIB_IMAGE": "thing"}).image == "thing"


@pytest.mark.parametrize("name", ["BUILDLIB_SMOKE", "BUILDLIB_BUILD_ARGS"])
def test_a_table_is_not_set_by_a_variable_without_a_word(tmp_path: Path, name: str) -> None:
    root = _write(tmp_path, 'image = "thing"\n')
    with pytest.raises(InputError, match=f"{name} can't be set: .* is a table"):
        load_config(root, {name: "x"})


@pytest.mark.parametrize("name", ["buildlib.toml", "pyproject.toml", "map.toml"])
def test_a_file_of_an_editor_of_windows_is_read(tmp_path: Path, name: str) -> None:
    texts = {
        "buildlib.toml": 'image = "thing"\r\n',
        "pyproject.toml": '[tool.buildlib]\r\nimage = "thing"\r\n',
        "map.toml": '[base-images]\r\n"a:1" = "docker-image://b:1"\r\n',
    }
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + texts[name].encode())
    if name == "map.toml":
        _write(tmp_path, 'image = "thing"\n')
        config = load_config(tmp_path, {"BUILDLIB_BASE_IMAGES": str(tmp_path / name)})
        assert dict(config.base_images)["a:1"].source == "docker-image://b:1"
    else:
        assert load_config(tmp_path, {}).image == "thing"


@pytest.mark.parametrize("text", ["x = " + "[" * 3000 + "]" * 3000, "x = " + "9" * 5000])
@pytest.mark.parametrize("name", ["buildlib.toml", "pyproject.toml"])
def test_toml_that_python_refuses_is_reported(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not valid TOML"):
        load_config(tmp_path, {})


def test_a_pipe_in_the_place_of_the_configuration_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "buildlib.toml")
    with pytest.raises(InputError, match="can't be read"):
        load_config(tmp_path, {})
