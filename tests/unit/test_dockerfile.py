from __future__ import annotations

import pytest

from buildlib.dockerfile import Place, parse_dockerfile
from buildlib.dockerignore import DockerIgnore

TEXT = """\
# syntax is a comment here
ARG GO=1.24
ARG BASE
FROM --platform=$BUILDPLATFORM golang:${GO}-alpine AS Build
ARG VERSION=dev REVISION
COPY --chmod=0755 app/ go.mod \\
     # a comment inside
     ./
COPY ["two words", "/dst"]
RUN --mount=type=bind,from=tools,source=/x,target=/x true
COPY <<EOF /hello
FROM not-a-stage
EOF
from scratch as export
COPY --from=build /out /
FROM ${BASE:-alpine:3.22}
ADD https://example.org/x local.txt /
COPY --from=0 /out /
COPY "quoted name" /
"""


def test_stages_bases_and_sources_are_read() -> None:
    found = parse_dockerfile(TEXT)
    assert [stage.name for stage in found.stages] == ["Build", "export", ""]
    assert found.stages[0].sources == ("app/", "go.mod", "two words")
    assert found.stages[0].uses == (Place("tools", (9, 10), option=True),)
    assert found.stages[2].sources == ("local.txt", "quoted name")


def test_args_are_read_with_their_defaults() -> None:
    found = parse_dockerfile(TEXT)
    assert found.args == {"GO": "1.24", "BASE": None, "VERSION": "dev", "REVISION": None}
    assert found.global_args == {"GO": "1.24", "BASE": None}


def test_bases_follow_stages_and_expand_args() -> None:
    found = parse_dockerfile(TEXT)
    assert found.bases("export") == ("golang:1.24-alpine", "tools")
    assert found.bases("build", {"GO": "1.25"}) == ("golang:1.25-alpine", "tools")
    assert found.bases("", {"BASE": "alpine:3.20"}) == (
        "alpine:3.20",
        "golang:1.24-alpine",
        "tools",
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        pytest.param("COPY --from=alpine:3.22 /x /", ("alpine:3.22",), id="an image"),
        pytest.param("copy --chown=1 --from='a/b@sha256:1' /x /", ("a/b@sha256:1",), id="a digest"),
        pytest.param("COPY --from=BUILD /x /", (), id="a stage, case aside"),
        pytest.param("COPY --from=0 /x /", (), id="a stage by its number"),
        pytest.param("COPY --from=9 /x /", (), id="a number is never an image"),
        pytest.param("COPY --from=scratch / /", (), id="nothing"),
        pytest.param("COPY --from=$X /x /", (), id="a variable, which BuildKit refuses"),
        pytest.param("RUN --mount=type=bind,from=a,target=/x true", ("a",), id="a mount"),
        pytest.param("RUN --mount=from=a --mount=type=cache,from=b x", ("a", "b"), id="mounts"),
        pytest.param("RUN --mount=type=bind,from=build,target=/x true", (), id="a stage's mount"),
        pytest.param("RUN --mount=source=/from=a,target=/x true", (), id="a path of that look"),
        pytest.param("RUN --network=none tool --from=alpine x,from=b", (), id="a command's own"),
        pytest.param("ADD --from=alpine /x /", (), id="ADD has no such option"),
    ],
)
def test_images_that_files_are_taken_from_are_bases(line: str, found: tuple[str, ...]) -> None:
    dockerfile = parse_dockerfile(f"FROM scratch AS build\nFROM scratch\n{line}\n")
    assert dockerfile.bases() == found
    assert tuple(name for _, name in dockerfile.external({})) == found


HEREDOCS = {
    "a shift is none": "RUN echo $((1<<2))\n",
    "a here-string is none": "RUN bash -c 'cat <<<text'; cat <<<text\n",
    "nor is what is quoted": "RUN echo \"no << EOF, no <<EOF\" '<<X'\n",
    "a word before it makes it none": "RUN cat<<EOF\n",
    "one of an ARG's value is none": "ARG TEXT=<<EOF\n",
    "its body is skipped": "RUN cat <<EOF\nFROM no\nEOF\n",
    "with its name in quotes": "RUN cat <<'E O F' > x\nFROM no\nE O F\n",
    "with tabs before its end": "RUN cat <<-EOF\nFROM no\n\tEOF\n",
    "its end stands alone": "RUN cat <<EOF\nFROM no\n EOF\nFROM no\nEOF\n",
    "two on one line": "COPY <<one <<two /x/\nFROM no\none\nFROM no\ntwo\n",
    "one with a number": "RUN 3<<EOF cat /dev/fd/3\nFROM no\nEOF\n",
    "one that waits": "ONBUILD RUN cat <<EOF\nFROM no\nEOF\n",
    "over several lines": "RUN true \\\n && cat <<EOF\nFROM no\nEOF\n",
}


@pytest.mark.parametrize("lines", HEREDOCS.values(), ids=HEREDOCS)
def test_here_documents_hide_their_bodies_and_nothing_else(lines: str) -> None:
    found = parse_dockerfile(f"FROM one\n{lines}FROM two\nCOPY here /\n")
    assert [stage.base for stage in found.stages] == ["one", "two"]
    assert [stage.sources for stage in found.stages] == [(), ("here",)]


@pytest.mark.parametrize(
    ("base", "build_args", "expanded"),
    [
        pytest.param("${BASE:-alpine:3.22}", {}, "alpine:3.22", id="a default"),
        pytest.param("${BASE-alpine:3.22}", {}, "alpine:3.22", id="one without a colon"),
        pytest.param("${BASE:-alpine:3.22}", {"BASE": "x:1"}, "x:1", id="a value before it"),
        pytest.param("${BASE:-alpine:${V}}", {}, "alpine:3", id="a default with a variable"),
        pytest.param("${BASE:-alpine:${V:-9}}", {}, "alpine:3", id="with a default of its own"),
        pytest.param("alpine:${V:+4}", {}, "alpine:4", id="another word where there is one"),
        pytest.param("alpine${BASE:+:4}", {}, "alpine", id="and none where there is none"),
        pytest.param("alpine:$V", {"V": "5"}, "alpine:5", id="without braces"),
    ],
)
def test_the_words_of_a_from_line(base: str, build_args: dict[str, str], expanded: str) -> None:
    found = parse_dockerfile(f"ARG V=3\nARG BASE\nFROM {base}\n")
    assert found.bases("", build_args) == (expanded,)


def test_any_blank_ends_the_instruction() -> None:
    found = parse_dockerfile("FROM\talpine\tAS\tone\nCOPY\tapp /\n")
    assert [(stage.base, stage.name, stage.sources) for stage in found.stages] == [
        ("alpine", "one", ("app",))
    ]


def test_what_is_fetched_is_no_source() -> None:
    lines = "ADD git@github.com:me/x.git /x\nADD https://example.org/x.git#v1 me@home /y\n"
    (stage,) = parse_dockerfile(f"FROM scratch\n{lines}").stages
    assert stage.sources == ("me@home",)


def test_a_base_may_be_another_stage() -> None:
    found = parse_dockerfile("FROM alpine AS one\nFROM one AS two\nFROM two\n")
    last = found.stage()
    assert last is not None
    assert found.base_of(last) == "alpine"


def test_a_stage_may_be_chosen_by_a_build_arg() -> None:
    found = parse_dockerfile(
        "ARG HOW=compile\nFROM golang AS compile\nCOPY app .\nFROM scratch AS ready\nCOPY made .\n"
        "FROM ${HOW} AS program\nFROM alpine\nCOPY --from=program /x /\n"
    )
    assert found.bases() == ("alpine", "golang")
    assert [stage.name for stage in found.needed()] == ["", "program", "compile"]
    assert found.bases("", {"HOW": "ready"}) == ("alpine",)
    assert [stage.sources for stage in found.needed("", {"HOW": "ready"})][-1] == ("made",)


def test_a_stage_named_as_its_own_base_is_the_image() -> None:
    found = parse_dockerfile("FROM alpine AS alpine\n")
    assert found.bases() == ("alpine",)


@pytest.mark.parametrize(
    ("target", "base"),
    [
        pytest.param("build", "golang:${GO}-alpine", id="by name, case aside"),
        pytest.param("0", "golang:${GO}-alpine", id="by number"),
        pytest.param("", "${BASE:-alpine:3.22}", id="the last one by default"),
    ],
)
def test_a_target_is_found(target: str, base: str) -> None:
    stage = parse_dockerfile(TEXT).stage(target)
    assert stage is not None
    assert stage.base == base


def test_what_is_no_dockerfile_has_no_stages() -> None:
    found = parse_dockerfile("FROM\nCOPY 'open quote\nNONSENSE\n")
    assert found.stage("x") is None
    assert parse_dockerfile("").stage() is None
    assert parse_dockerfile("RUN true \\").bases() == ()


def test_a_file_is_no_way_to_anything() -> None:
    assert DockerIgnore(["*", "!*/src"]).excludes("LICENSE", directory=False)
    assert not DockerIgnore(["*", "!LICEN?E"]).excludes("LICENSE", directory=False)


@pytest.mark.parametrize(
    ("lines", "path", "excluded"),
    [
        pytest.param([], "app", False, id="nothing is excluded by nothing"),
        pytest.param(["*"], "app", True, id="a star takes the top"),
        pytest.param(["*"], ".", False, id="the context itself is always there"),
        pytest.param(["*", "!app"], "app/", False, id="an exception brings back"),
        pytest.param(["*", "!app"], "app/main.go", False, id="with all that is below"),
        pytest.param(["*", "!app/main.go"], "app", False, id="or the way to what is below"),
        pytest.param(["*", "!app", "app"], "app", True, id="the last line decides"),
        pytest.param(["**/*.md"], "a/b/c.md", True, id="two stars cross directories"),
        pytest.param(["**/*.md"], "c.md", True, id="and match none as well"),
        pytest.param(["*.md"], "a/c.md", False, id="one star does not cross"),
        pytest.param(["a/**"], "a/b/c", True, id="two stars at the end"),
        pytest.param(["te?t"], "test", True, id="a question mark is one character"),
        pytest.param(["[a-c]x"], "bx", True, id="a class"),
        pytest.param(["[^a-c]x"], "bx", False, id="a class turned round"),
        pytest.param(["\\*x"], "*x", True, id="an escape"),
        pytest.param(["# app", "", "  "], "app", False, id="comments and blanks count for nothing"),
        pytest.param(["/app/"], "./app", True, id="slashes at the ends do not matter"),
        pytest.param(
            ["**", "!**/*.go"], "app", False, id="an exception anywhere opens a directory"
        ),
        pytest.param(["*", "!*/src"], "app/", False, id="one below any directory does so too"),
        pytest.param(["*", "!*/src"], "app/x", True, id="and not what is beside it"),
        pytest.param(["*", "!docs/*.md"], "app", True, id="one elsewhere does not"),
        pytest.param(["*", "!*.md"], "app", True, id="nor one that reaches less deep"),
        pytest.param(["**", "!a?p/**/x"], "app/b/c", False, id="two stars reach any depth"),
        pytest.param(["!**/*.go", "*"], "app", True, id="a later line closes it again"),
        pytest.param(["app"], "apple", False, id="a name is matched whole"),
    ],
)
def test_dockerignore(lines: list[str], path: str, excluded: bool) -> None:  # noqa: FBT001
    assert DockerIgnore(lines).excludes(path) is excluded
