"""What a build is given: whose ARGs are filled with what, secrets, frontends, fixed platforms."""

from __future__ import annotations

from pathlib import Path

import pytest
from characters import ANY
from hypothesis import given
from hypothesis import strategies as st

from buildlib.bases.check import BaseStatus, missing_platforms, new_pins
from buildlib.build import preflight
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, known_args, make_build_plan, unused_bases
from buildlib.dockerfile.parser import parse_dockerfile
from buildlib.dockerfile.pins import BUILDER, Base, read_bases, repin
from buildlib.errors import InputError
from buildlib.versioning.placeholders import NAMES, fill

from fakes import REVISION, a_project, git_facts, write_project

DIGEST = "sha256:" + "1" * 64
IMAGE = 'image = "thing"\n'


def _plan(root: Path, dockerfile: str, config: str = "", *args: str) -> BuildPlan:
    project = a_project(write_project(root, IMAGE + config, dockerfile))
    return make_build_plan(project, BuildRequest(build_args=args), project.dockerfile())


# -- ARGs of a FROM

CHOOSING = {
    "plain": ("ARG VERSION=1\nFROM base:$VERSION\n", {"VERSION"}),
    "in braces": ("ARG VERSION=1\nFROM base:${VERSION}\n", {"VERSION"}),
    "with a default": ("ARG VERSION\nFROM base:${VERSION:-1}\n", {"VERSION"}),
    "within a default": ("ARG VERSION=1\nFROM ${OTHER:-base:${VERSION}}\n", {"VERSION", "OTHER"}),
    "through another": ("ARG VERSION=1\nARG B=x:$VERSION\nFROM $B\n", {"VERSION", "B"}),
    "as a platform": ("ARG VERSION=linux/amd64\nFROM --platform=$VERSION x\n", {"VERSION"}),
    "of a later stage": ("FROM a\nFROM b:$REVISION\n", {"REVISION"}),
    "BuildKit's own": ("FROM --platform=$BUILDPLATFORM x:$TARGETARCH\n", set()),
    "of a stage alone": ("FROM x\nARG VERSION=1\nRUN echo $VERSION\n", set()),
}


@pytest.mark.parametrize(("text", "names"), CHOOSING.values(), ids=CHOOSING)
def test_the_variables_by_which_a_from_chooses(text: str, names: set[str]) -> None:
    assert parse_dockerfile(text).choosing() == names


@pytest.mark.parametrize("name", ["VERSION", "REVISION", "CREATED"])
def test_an_arg_by_which_a_from_chooses_is_not_filled_with_ours(tmp_path: Path, name: str) -> None:
    text = f"ARG {name}=1\nFROM base:${{{name}}}\nARG {name}\n"
    plan = _plan(tmp_path, text)
    assert name not in dict(plan.build_args)
    assert plan.bases == ("base:1",)
    project = a_project(tmp_path)
    assert known_args(project, project.dockerfile()).get(name) is None


def test_that_it_is_not_filled_is_told_until_somebody_sets_it(tmp_path: Path) -> None:
    text = "ARG VERSION=1\nFROM base:$VERSION\n"
    dockerfile = parse_dockerfile(text)
    (said,) = preflight.other_version(_plan(tmp_path, text), dockerfile, "VERSION")
    assert 'inject = { VERSION = "…" }' in said
    config = '[build-args]\nVERSION = "3.22"\n'
    plan = _plan(tmp_path, text, config)
    assert plan.bases == ("base:3.22",)
    assert preflight.other_version(plan, dockerfile, "VERSION") == ()


def test_every_task_reads_the_dockerfile_with_the_same_values(tmp_path: Path) -> None:
    text = "ARG LINE=1\nARG VERSION\nFROM base:$LINE\n"
    plan = _plan(tmp_path, text, '[build-args]\nLINE = "{version}"\n')
    project = a_project(tmp_path)
    bases = read_bases(text, known_args(project, project.dockerfile()))
    assert [base.reference for base in bases] == ["base:1.2.3"] == list(plan.bases)


# -- inject

INJECT = {
    "by default": ("", {"VERSION": "1.2.3", "REVISION": REVISION}),
    "renamed": (
        'inject = { VERSION = "APP_VERSION" }\n',
        {"APP_VERSION": "1.2.3", "REVISION": REVISION},
    ),
    "turned off": ("inject = { VERSION = false }\n", {"REVISION": REVISION}),
    "all turned off": ("inject = false\n", {}),
    "to what is not declared": ('inject = { VERSION = "NO" }\n', {"REVISION": REVISION}),
}


@pytest.mark.parametrize(("config", "wanted"), INJECT.values(), ids=INJECT)
def test_what_a_build_is_told_can_be_renamed_or_turned_off(
    tmp_path: Path, config: str, wanted: dict[str, str]
) -> None:
    text = "FROM scratch\nARG VERSION\nARG APP_VERSION\nARG REVISION\n"
    given = dict(_plan(tmp_path, text, config).build_args)
    given.pop("SOURCE_DATE_EPOCH")
    assert given == wanted


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('inject = { VERSOIN = "X" }', "did you mean inject.VERSION"),
        ('inject = { VERSION = "a b" }', "inject.VERSION"),
        ("inject = true", "inject"),
        ("inject = { VERSION = true }", "inject.VERSION"),
    ],
)
def test_a_wrong_inject_is_refused(tmp_path: Path, config: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        a_project(write_project(tmp_path, f"{IMAGE}{config}\n"))
    assert said in f"{caught.value} {caught.value.hint}"


# -- templates

FACTS = {"version": "1.2.3", "revision": "abc", "created": "2024", "branch": "main"}
TEMPLATES = {
    "{version}": "1.2.3",
    "v{version}-{branch}": "v1.2.3-main",
    "{{version}}": "{version}",
    '{"a": 1}': '{"a": 1}',
    "${version}": "$1.2.3",
    "{versions} {Version} {}": "{versions} {Version} {}",
    "{{version}": "{1.2.3",
    "{version}}": "1.2.3}",
}


@pytest.mark.parametrize(("text", "wanted"), TEMPLATES.items())
def test_facts_stand_in_a_text(text: str, wanted: str) -> None:
    assert fill(text, FACTS) == wanted


@given(st.text(ANY), st.text(ANY), st.sampled_from(NAMES))
def test_whatever_stands_around_a_fact_stays(before: str, after: str, name: str) -> None:
    before, after = (text.replace("{", "<").replace("}", ">") for text in (before, after))
    assert fill(f"{before}{{{name}}}{after}", FACTS) == f"{before}{FACTS[name]}{after}"
    assert fill(f"{before}{{{{{name}}}}}{after}", FACTS) == f"{before}{{{name}}}{after}"
    assert fill(before + after, FACTS) == before + after


def test_build_args_and_labels_take_templates(tmp_path: Path) -> None:
    config = (
        '[build-args]\nACTIONLINT_VER = "{version}"\nWHERE = "{branch}@{revision}"\n'
        '[labels]\n"org.example.of" = "{version} of {created}"\n'
    )
    text = "FROM scratch\nARG ACTIONLINT_VER\nARG WHERE\n"
    project = a_project(write_project(tmp_path, IMAGE + config, text), git=git_facts(branch="main"))
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    assert dict(plan.build_args)["ACTIONLINT_VER"] == "1.2.3"
    assert dict(plan.build_args)["WHERE"] == f"main@{REVISION}"
    assert dict(plan.labels)["org.example.of"] == "1.2.3 of 2023-11-14T22:13:20Z"


# -- secrets

SECRETS = '[secrets]\nnpm = { env = "NPM_TOKEN" }\nrc = { file = "a, b.txt" }\n'


def test_configured_secrets_go_to_every_build_and_the_command_line_replaces_them(
    tmp_path: Path,
) -> None:
    write_project(tmp_path, IMAGE + SECRETS)
    project = a_project(tmp_path)
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    assert plan.secrets == ("id=npm,env=NPM_TOKEN", f'id=rc,"src={tmp_path}/a, b.txt"')
    assert preflight.check_secrets(plan.secrets) == []
    again = make_build_plan(project, BuildRequest(secrets=("id=npm,env=X",)), project.dockerfile())
    assert again.secrets == (f'id=rc,"src={tmp_path}/a, b.txt"', "id=npm,env=X")


def test_the_values_of_secrets_are_known_to_whoever_looks_for_them(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"of a file")
    texts = [f"id=a,src={tmp_path}/f", "id=b,env=B", "id=C", "id=gone,src=/no/such", "id=d,env=D"]
    found = preflight.secret_values(texts, {"B": "b", "C": "c"})
    assert found == (("a", b"of a file"), ("b", b"b"), ("C", b"c"))


@pytest.mark.parametrize(
    "table", ['npm = "env"', "npm = {}", 'npm = { env = "A", file = "b" }', 'npm = { env = "a b" }']
)
def test_a_secret_that_says_too_little_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(InputError, match=r"secrets\.npm"):
        a_project(write_project(tmp_path, f"{IMAGE}[secrets]\n{table}\n"))


# -- frontends

FRONTEND = f"# syntax=docker/dockerfile:1\nFROM alpine@{DIGEST}\n"


def test_the_image_that_reads_the_dockerfile_is_one_of_its_bases(tmp_path: Path) -> None:
    other = '[base-images]\n"docker/dockerfile:1" = "oci-layout:///layouts/frontend"\n'
    plan = _plan(tmp_path, FRONTEND, other)
    assert plan.bases == (f"alpine@{DIGEST}", "docker/dockerfile:1")
    assert plan.build_contexts == (("docker/dockerfile:1", "oci-layout:///layouts/frontend"),)


SYNTAX = {
    "# syntax=docker/dockerfile:1\nFROM x\n": "docker/dockerfile:1",
    "#syntax = docker/dockerfile:1.7-labs \nFROM x\n": "docker/dockerfile:1.7-labs",
    "# escape=`\n# SYNTAX=a/b:1 and words for it\nFROM x\n": "a/b:1",
    "\ufeff# syntax=a/b\nFROM x\n": "a/b",
    "# a comment\n# syntax=a/b\nFROM x\n": "",
    "\n# syntax=a/b\nFROM x\n": "",
    "FROM x\n# syntax=a/b\n": "",
}


@pytest.mark.parametrize(("text", "name"), SYNTAX.items())
def test_where_a_frontend_is_named(text: str, name: str) -> None:
    found = parse_dockerfile(text).syntax
    assert (found.name if found else "") == name
    bases = {base.reference: base.platforms for base in read_bases(text, {})}
    assert bases == {"x": ("",), **({name: (BUILDER,)} if name else {})}


def test_a_frontend_is_pinned_where_it_is_named_and_the_rest_stays() -> None:
    text = "# escape=`\n#\tsyntax = a/b:1 x\n# a/b:1\nFROM a/b:1\nRUN echo a/b:1\n"
    done = repin(text, {"a/b:1": DIGEST}, {})
    assert done == (
        f"# escape=`\n#\tsyntax = a/b:1@{DIGEST} x\n# a/b:1\nFROM a/b:1@{DIGEST}\nRUN echo a/b:1\n"
    )
    other = "sha256:" + "2" * 64
    assert repin(done, {"a/b:1": other}, {}) == done.replace(DIGEST, other)


def test_a_base_image_that_replaces_nothing_is_told(tmp_path: Path) -> None:
    config = '[base-images]\n"alpine:3" = "docker-image://m/a"\n"alpin:3" = "docker-image://m/b"\n'
    plan = _plan(tmp_path, "FROM alpine:3\n", config)
    (said,) = unused_bases(a_project(tmp_path), plan)
    assert "base-images has alpin:3, which this build does not use; it uses alpine:3" in said


def test_a_map_of_the_environment_may_have_more_than_one_project_uses(tmp_path: Path) -> None:
    images = tmp_path / "map.toml"
    images.write_text('[base-images]\n"x:1" = "docker-image://m/x"\n', encoding="utf-8")
    config = '[base-images]\n"alpin:3" = "docker-image://m/b"\n'
    plan = _plan(tmp_path, "FROM alpine:3\n", config)
    env = {"BUILDLIB_BASE_IMAGES": str(images)}
    (said,) = unused_bases(a_project(tmp_path, env=env), plan)
    assert "base-images has alpin:3" in said


# -- stages that are fixed to a platform

FIXED = {
    "FROM --platform=linux/amd64 tool:1\n": ("linux/amd64",),
    "FROM --platform=$BUILDPLATFORM tool:1\n": (BUILDER,),
    "FROM --platform=${BUILDPLATFORM} tool:1\n": (BUILDER,),
    "FROM --platform=$TARGETPLATFORM tool:1\n": ("",),
    "FROM tool:1\n": ("",),
    "ARG P=linux/arm64\nFROM --platform=$P tool:1\n": ("linux/arm64",),
    "FROM --platform=linux/amd64 tool:1 AS a\nFROM tool:1\n": ("linux/amd64", ""),
    "FROM x AS a\nCOPY --from=tool:1 / /\n": ("",),
}


@pytest.mark.parametrize(("text", "platforms"), FIXED.items())
def test_the_platforms_that_a_base_has_to_be_there_for(
    text: str, platforms: tuple[str, ...]
) -> None:
    found = {base.reference: base.platforms for base in read_bases(text, {})}
    assert found["tool:1"] == platforms


def test_one_that_lacks_a_platform_keeps_no_other_from_being_pinned() -> None:
    def report(name: str, *missing: str) -> BaseStatus:
        base = Base(reference=name, digests=("",), lines=(1,))
        return BaseStatus(base=base, current=DIGEST, platforms=("linux/amd64",), missing=missing)

    reports = [report("a:1"), report("b:1", "linux/arm64")]
    assert new_pins(reports) == {"a:1": DIGEST}
    (problem,) = missing_platforms(reports)
    assert "b:1 is not there for linux/arm64" in str(problem)


MOUNTS = {
    "RUN --mount=type=bind,target=. make": (".",),
    "RUN --mount=target=/src make": (".",),
    "RUN --mount=type=bind,source=app,target=/src make": ("app",),
    "RUN --mount=type=bind,src=/go.mod,target=/go.mod make": ("/go.mod",),
    "RUN --mount=type=bind,from=x,target=/src make": (),
    "RUN --mount=type=cache,target=/c --mount=type=secret,id=a make": (),
}


@pytest.mark.parametrize(("line", "sources"), MOUNTS.items())
def test_what_mounts_take_from_the_context(line: str, sources: tuple[str, ...]) -> None:
    assert parse_dockerfile(f"FROM x\n{line}\n").stages[0].sources == sources
