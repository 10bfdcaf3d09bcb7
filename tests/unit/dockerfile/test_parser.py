from __future__ import annotations

import pytest

from buildlib.dockerfile.parser import Place, parse_dockerfile
from buildlib.image.platform import Platform, parse_platforms

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
COPY "quoted" 'name' /
"""


def test_stages_bases_and_sources_are_read() -> None:
    found = parse_dockerfile(TEXT)
    assert [stage.name for stage in found.stages] == ["Build", "export", ""]
    assert found.stages[0].sources == ("app/", "go.mod", "two words")
    assert found.stages[0].uses == (Place("tools", (9, 10), option=True),)
    assert found.stages[2].sources == ("local.txt", "quoted", "name")


def test_args_are_read_with_their_defaults() -> None:
    found = parse_dockerfile(TEXT)
    assert found.args == {"GO": "1.24", "BASE": None, "VERSION": "dev", "REVISION": None}
    assert found.global_args == (("GO", "1.24"), ("BASE", None))


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
        pytest.param("RUN --mount=type=bind,From=a:1,target=/x true", ("a:1",), id="in any case"),
        pytest.param("RUN --mount=FROM=a --network=none true", ("a",), id="before other options"),
        pytest.param("RUN --mount=from=b,from=a true", ("a",), id="the last one of two"),
        pytest.param("RUN --mount='\"from=a\",target=/x' true", ("a",), id="in quotes of CSV"),
        pytest.param('RUN --mount="from=a",target="/x y" true', ("a",), id="in quotes"),
        pytest.param('RUN --mount="from=a true', (), id="which have to end"),
        pytest.param("RUN --mount='\"from=a\"b' true", (), id="in CSV as well"),
        pytest.param("RUN -- --mount=from=a true", (), id="none after the end of the options"),
        pytest.param("RUN --mount=from=0 true", ("0",), id="a number is an image to a mount"),
        pytest.param("COPY --from=+0 /x /", (), id="and a stage to COPY, with a sign as well"),
        pytest.param("COPY --from=00 /x /", (), id="and with more digits"),
        pytest.param('COPY --from=\'a\' ["/x y", "/"]', ("a",), id="before a list"),
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
        pytest.param("${NONE-alpine:3.22}", {}, "alpine:3.22", id="one without a colon"),
        pytest.param("${BASE-x}alpine", {}, "alpine", id="an ARG without a default is empty"),
        pytest.param("alpine${BASE+:4}", {}, "alpine:4", id="and there all the same"),
        pytest.param("alpine${BASE:+:4}", {}, "alpine", id="unless a colon says that"),
        pytest.param("alpine${BASE?none}", {}, "alpine", id="and may be wanted"),
        pytest.param("a${BASE:?none}", {}, "a${BASE:?none}", id="what has to have a value"),
        pytest.param("a${NONE?none}", {}, "a${NONE?none}", id="what has to be there"),
        pytest.param("${BASE:-alpine:3.22}", {"BASE": "x:1"}, "x:1", id="a value before it"),
        pytest.param("${BASE:-alpine:${V}}", {}, "alpine:3", id="a default with a variable"),
        pytest.param("${BASE:-alpine:${V:-9}}", {}, "alpine:3", id="with a default of its own"),
        pytest.param("alpine:${V:+4}", {}, "alpine:4", id="another word where there is one"),
        pytest.param("alpine${BASE:+:4}", {}, "alpine", id="and none where there is none"),
        pytest.param("alpine:$V", {"V": "5"}, "alpine:5", id="without braces"),
        pytest.param("${BASE-x}alpine", {"BASE": ""}, "alpine", id="an empty value is one"),
        pytest.param("${BASE:-x}alpine", {"BASE": ""}, "xalpine", id="unless a colon says other"),
        pytest.param("alpine${BASE+:4}", {"BASE": ""}, "alpine:4", id="for another word as well"),
        pytest.param("a:3${V:?none}", {}, "a:33", id="a value that has to be there"),
        pytest.param("a:${L%.*}", {}, "a:1.2", id="without the shortest end"),
        pytest.param("a:${L%%.*}", {}, "a:1", id="without the longest end"),
        pytest.param("a:${L#*.}", {}, "a:2.3", id="without the shortest beginning"),
        pytest.param("a:${L##*.}", {}, "a:3", id="without the longest beginning"),
        pytest.param("a:${L%x}", {}, "a:1.2.3", id="without an end that is not there"),
        pytest.param("a:${L/./-}", {}, "a:1-2.3", id="the first of something replaced"),
        pytest.param("a:${L//./-}", {}, "a:1-2-3", id="all of it replaced"),
        pytest.param("a:$V${NO}", {"NO": "5"}, "a:3", id="no ARG declares it"),
    ],
)
def test_the_words_of_a_from_line(base: str, build_args: dict[str, str], expanded: str) -> None:
    found = parse_dockerfile(f"ARG V=3\nARG BASE\nARG L=1.2.3\nFROM {base}\n")
    assert found.bases("", build_args) == (expanded,)


@pytest.mark.parametrize(
    ("args", "build_args", "expanded"),
    [
        pytest.param("ARG V=1\nARG I=go:${V}-x", {}, "go:1-x", id="sees those before it"),
        pytest.param("ARG V=1\nARG I=go:$V", {"V": "2"}, "go:2", id="with what is given for them"),
        pytest.param("ARG V=1\nARG I=go:$V", {"I": "x:$V"}, "x:$V", id="unless it is given itself"),
        pytest.param("ARG I=go:$V\nARG V=1", {}, "go:", id="and not those after it"),
        pytest.param("ARG V=1\nARG I=go:$V\nARG V=2", {}, "go:1", id="nor a later value"),
        pytest.param("ARG V=1 I=go:$V", {}, "go:1", id="on one line as well"),
        pytest.param('ARG V=1\nARG I="go:$V"', {}, "go:1", id="in double quotes"),
        pytest.param("ARG V=1\nARG I='go:$V'", {}, "go:$V", id="but not in single ones"),
        pytest.param("ARG V=1\nARG I=go:\\$V", {}, "go:$V", id="nor behind a backslash"),
        pytest.param("ARG V=1\nARG V=${V}.2\nARG I=go:$V", {}, "go:1.2", id="or its own before"),
        pytest.param("ARG V=1\nARG V\nARG I=go:$V", {}, "go:", id="or nothing, said again"),
    ],
)
def test_the_default_of_an_arg(args: str, build_args: dict[str, str], expanded: str) -> None:
    assert parse_dockerfile(f"{args}\nFROM $I\n").bases("", build_args) == (expanded,)


def test_what_can_t_be_replaced_is_no_runtime_base() -> None:
    found = parse_dockerfile("ARG V=1\nFROM alpine:${V^^}\n")
    assert found.runtime_base("", {}) == ""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeffFROM a\nCOPY b \\\n  c /", id="a byte order mark"),
        pytest.param("# escape=`\nFROM a\nCOPY b `\n  c /", id="another sign continues lines"),
        pytest.param("\ufeff# escape=`\nFROM a\nCOPY b `\n  c /", id="behind a byte order mark"),
        pytest.param(" #Escape = ` \nFROM a\nCOPY b `\n  c /", id="in any spelling"),
        pytest.param(
            "#syntax=x\n# escape=`\nFROM a\nCOPY b `\n  c /", id="below another directive"
        ),
        pytest.param("# escape=\\\nFROM a\nCOPY b \\\n  c /", id="the usual sign"),
        pytest.param("# told\n# escape=`\nFROM a\nCOPY b \\\n  c /", id="below a comment none is"),
        pytest.param("\n# escape=`\nFROM a\nCOPY b \\\n  c /", id="nor below a blank line"),
        pytest.param("#x=y\n# escape=`\nFROM a\nCOPY b \\\n  c /", id="nor below an unknown one"),
        pytest.param("FR\\\nOM a\nCO\\\n# no\n\n\\\nPY b c /", id="a word may be broken"),
        pytest.param("FROM a\nRUN x \\\\\nCOPY b c /", id="two signs continue nothing"),
    ],
)
def test_lines_are_joined_as_the_builder_does(text: str) -> None:
    (stage,) = parse_dockerfile(f"{text}\n").stages
    assert (stage.base, stage.sources) == ("a", ("b", "c"))


@pytest.mark.parametrize("sign", ["\v", "\f", "\x85", "\u2028", "\x1c", "\r"])
def test_only_a_line_feed_ends_a_line(sign: str) -> None:
    (stage,) = parse_dockerfile(f"FROM a\n# told{sign}COPY no /\nCOPY b{sign}c d /\n").stages
    assert len(stage.sources) in {2, 3}
    assert "no" not in stage.sources


def test_what_stands_between_an_instruction_and_its_words() -> None:
    found = parse_dockerfile("ARG\fNAME=1\nFROM\vx:$NAME\vAS\fone\r\nCOPY\r b\v/\n")
    assert found.args == {"NAME": "1"}
    (stage,) = found.stages
    assert (stage.base, stage.name, stage.sources) == ("x:$NAME", "one", ("b",))


@pytest.mark.parametrize(
    ("line", "sources"),
    [
        pytest.param('COPY --chown=1001 ["a", "/d"]', ("a",), id="behind an option"),
        pytest.param('ADD --chmod=755 --link ["a b","c","/d"]', ("a b", "c"), id="behind several"),
        pytest.param('COPY ["a", "/d"] more', ("a",), id="before something else"),
        pytest.param('COPY --chown="a b" c /d', ("c",), id="an option in quotes"),
        pytest.param("COPY a\\ b /d", ("a", "b"), id="a blank separates, escaped or not"),
        pytest.param('COPY ["\\u0061", "/d"]', ("a",), id="escaped as JSON is"),
        pytest.param("COPY [a] /d", ("[a]",), id="what is no list is words"),
        pytest.param("COPY [1, 2]", ("[1,",), id="nor is one of other things"),
    ],
)
def test_a_list_of_sources(line: str, sources: tuple[str, ...]) -> None:
    (stage,) = parse_dockerfile(f"FROM scratch\n{line}\n").stages
    assert stage.sources == sources


def test_with_another_sign_a_backslash_is_a_character() -> None:
    (stage,) = parse_dockerfile("# escape=`\nFROM a\nCOPY b\\c d` e /\n").stages
    assert stage.sources == ("b\\c", "d", "e")


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


@pytest.mark.parametrize(
    ("lines", "bases"),
    [
        pytest.param("FROM alpine AS alpine", ("alpine",), id="never itself"),
        pytest.param("FROM a AS b\nFROM b AS a", ("a",), id="nor one below it"),
        pytest.param("FROM a AS x\nFROM b AS X\nFROM x", ("b",), id="of two the nearer"),
        pytest.param("FROM a AS x\nFROM x AS x\nFROM x", ("a",), id="also one on top of another"),
        pytest.param("FROM a AS x\nFROM 0", ("0",), id="no number"),
    ],
)
def test_a_from_sees_the_stages_above_it(lines: str, bases: tuple[str, ...]) -> None:
    assert parse_dockerfile(f"{lines}\n").bases() == bases


def test_of_two_stages_with_one_name_the_last_is_meant_elsewhere() -> None:
    found = parse_dockerfile("FROM a AS x\nFROM b AS x\nFROM scratch\nCOPY --from=x /x /\n")
    assert found.bases() == ("b",)
    assert found.bases("x") == ("b",)


BY_PLATFORM = """\
ARG ON=${TARGETARCH}${TARGETVARIANT}
FROM one AS base-amd64
FROM two AS base-armv7
FROM base-${ON}
"""


@pytest.mark.parametrize(
    ("given", "target", "bases"),
    [
        pytest.param({}, "amd64", ("one",), id="one platform's"),
        pytest.param({}, "arm/v7", ("two",), id="another's, with its variant"),
        pytest.param({"TARGETARCH": "amd64"}, "s390x", ("one",), id="what is given wins"),
    ],
)
def test_a_from_sees_its_platform(
    given: dict[str, str], target: str, bases: tuple[str, ...]
) -> None:
    found = parse_dockerfile(BY_PLATFORM)
    (view,) = found.views(given, parse_platforms([target]), Platform(os="linux", arch="amd64"))
    assert found.bases("", view) == bases


def test_every_name_of_a_platform_can_be_seen() -> None:
    names = ("PLATFORM", "OS", "ARCH", "VARIANT")
    words = "/".join(f"${{{kind}{name}}}" for kind in ("BUILD", "TARGET") for name in names)
    found = parse_dockerfile(f"FROM {words}\n")
    (view,) = found.views({}, parse_platforms(["arm/v7"]), Platform(os="linux", arch="amd64"))
    assert found.bases("", view) == ("linux/amd64/linux/amd64//linux/arm/v7/linux/arm/v7",)


def test_where_no_platform_matters_there_is_one_view() -> None:
    found = parse_dockerfile("FROM --platform=$BUILDPLATFORM a:${V} AS TARGETARCH\nFROM BUILDOS\n")
    assert found.views({"V": "1"}) == [{"V": "1"}]
    assert len(parse_dockerfile("FROM a-$BUILDOS\n").views({})) > 1


def test_a_place_that_names_an_image_for_each_platform_is_no_external_image() -> None:
    found = parse_dockerfile(f"{BY_PLATFORM}FROM $TARGETARCH/three\nFROM ${{TARGETOS:+four}}\n")
    assert [name for _, name in found.external({})] == ["one", "two", "four"]


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
    assert parse_dockerfile("\\\n \\\n").stages == ()
    assert parse_dockerfile("FROM $NONE\n").bases() == ()
