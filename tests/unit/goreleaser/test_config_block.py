from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import yaml

from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.config.goreleaser import GoReleaser
from buildlib.config.key_types import parse_table
from buildlib.config.tag_rules import DEFAULT_RULES, TagRule, VersionKind, parse_rules
from buildlib.errors import InputError
from buildlib.goreleaser.config_block import BEGIN, END, make_block, with_block
from buildlib.goreleaser.templates import escape, tag_template

from fakes import a_project, write_project

DOCKERFILE = """\
ARG HOW=compile
FROM golang:1.24 AS compile
ARG VERSION
COPY app/ ./
FROM scratch AS ready
ARG TARGETPLATFORM
COPY $TARGETPLATFORM/program /program
FROM ${HOW} AS program
FROM alpine:3.22
COPY scripts/start.sh LICENSE /
COPY --from=program /program /
"""
CONFIG = """
image = "thing"
title = "A {{ thing }}"
source = "https://example.org/thing"
platforms = ["linux/amd64", "linux/arm64"]
[registries.one]
repository = "one.example/thing"
[registries.two]
repository = "two.example/thing"
"""
HELD = '(envOrDefault "BUILDLIB_HELD_BACK" "")'


def a_block(root: Path, config: str = CONFIG, **env: str) -> str:
    write_project(root, config, DOCKERFILE)
    project = a_project(root, env=env)
    request = BuildRequest(platforms=("all",), build_args=("HOW=ready",), output="oci")
    return make_block(project, make_build_plan(project, request, project.dockerfile()))


def test_the_default_rules_are_templates_of_releases() -> None:
    version, minor, major, latest, edge, short = map(tag_template, DEFAULT_RULES)
    assert version == '{{ $tag := printf "%v" (replace .Version "+" "-") }}{{ $tag }}'
    assert minor.startswith('{{ $tag := printf "%v.%v" .Major .Minor }}{{ if and ')
    assert "(ne .Major 0)" not in minor
    assert "(ne .Major 0)" in major
    assert latest.startswith('{{ $tag := "latest" }}')
    for floating in (minor, major, latest):
        assert '(eq .Prerelease "")' in floating
        assert '(isEnvSet "BUILDLIB_HELD_BACK")' in floating
        assert f'(not (contains (printf " %s " {HELD}) (printf " %s " $tag)))' in floating
    assert (edge, short) == ("", "")


@pytest.mark.parametrize(
    ("rule", "template"),
    [
        pytest.param(
            TagRule(template="{version}", on=(VersionKind.PRERELEASE,), suffix="-alpine"),
            '{{ $tag := printf "%v-alpine" (replace .Version "+" "-") }}'
            '{{ if and (not .IsSnapshot) (ne .Prerelease "") }}{{ $tag }}{{ end }}',
            id="of prereleases alone, with a suffix",
        ),
        pytest.param(
            TagRule(
                template="{major}.{minor}.{patch}", on=(VersionKind.RELEASE, VersionKind.PRERELEASE)
            ),
            '{{ $tag := printf "%v.%v.%v" .Major .Minor .Patch }}'
            "{{ if (not .IsSnapshot) }}{{ $tag }}{{ end }}",
            id="of both, and never of a snapshot",
        ),
    ],
)
def test_a_rule_becomes_a_template(rule: TagRule, template: str) -> None:
    assert tag_template(rule) == template


def test_what_goreleaser_can_not_know_is_refused() -> None:
    (rule,) = parse_rules({"rules": [{"template": "{branch}", "on": ["release"]}]})
    with pytest.raises(InputError) as caught:
        tag_template(rule, "registries.one.tags")
    assert "registries.one.tags: {branch} has {branch}" in str(caught.value)


def test_text_that_looks_like_a_template_is_none() -> None:
    assert escape("a {{ b }} {c}") == 'a {{ "{{" }} b }} {c}'


def test_facts_of_the_commit_are_templates_and_the_rest_is_as_configured(tmp_path: Path) -> None:
    block = a_block(tmp_path)
    assert block.startswith(BEGIN)
    assert block.endswith(f"{END}\n")
    lines = [line.strip() for line in block.splitlines()]
    expected = [
        "- 'one.example/thing'",
        "- 'two.example/thing'",
        "- 'linux/arm64'",
        "'org.opencontainers.image.version': '{{ .Version }}'",
        "'org.opencontainers.image.revision': '{{ .FullCommit }}'",
        "'org.opencontainers.image.created': '{{ .CommitDate }}'",
        "'org.opencontainers.image.title': 'A {{ \"{{\" }} thing }}'",
        "'HOW': 'ready'",
        "'VERSION': '{{ .Version }}'",
        "'SOURCE_DATE_EPOCH': '{{ .CommitTimestamp }}'",
    ]
    assert [line for line in expected if line not in lines] == []
    assert "stand-in" not in block
    assert lines.count("- id: 'one'") == 1
    assert "- id: 'two'" not in lines


NAMES = [
    *("#x", "yes", "no", "null", "~", "1e3", "0x1f", "*x", "&x", "!t", "|", ">", "-", "?", "[a]"),
    *("{a}", "@x", "`x`", "%x", "a: b", "a #b", "'", '"', "\\", "{{.Env.X}}", "{{", "2001-01-01"),
    *("\x7f", "\x85", "\u2028", "\ufeff", "\u00a0", "\x1b", "\t", "\U0001f600", "<<", "...", "---"),
]


SEED = 16


def _applied(template: str) -> str:
    """Return what GoReleaser makes of text in which nothing is a template of its own."""
    parts = template.split('{{ "{{" }}')
    assert not any("{{" in part for part in parts), template
    return "{{".join(parts)


def test_names_and_values_of_labels_stay_what_they_are(tmp_path: Path) -> None:
    chars = [*map(chr, range(1, 0x100)), *"\u2028\u2029\ufeff\ufffe\U0001f600'\"\\{{}}#:-"]
    chance = random.Random(SEED)

    def text(least: int) -> str:
        return "".join(chance.choices(chars, k=chance.randint(least, 12)))

    words = [*NAMES, *(text(1) for _ in range(300))]
    labels = {re.sub(r"[\s=]", "_", word): word for word in words}
    table = "\n".join(f"{_toml(name)} = {_toml(value)}" for name, value in labels.items())
    (entry,) = yaml.safe_load(a_block(tmp_path, f"{CONFIG}[labels]\n{table}\n"))["dockers_v2"]
    told = {_applied(name): value for name, value in entry["labels"].items()}
    assert {name: _applied(told[name]) for name in labels} == labels, SEED


def _toml(text: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'


def test_files_are_those_that_this_way_of_building_copies(tmp_path: Path) -> None:
    block = a_block(tmp_path)
    files = block.partition("extra_files:\n")[2].partition("    labels:")[0]
    assert files.split() == ["-", "'scripts/start.sh'", "-", "'LICENSE'"]


def test_what_is_configured_wins_over_the_facts(tmp_path: Path) -> None:
    more = (
        '[labels]\n"org.opencontainers.image.version" = "it\'s fixed"\n'
        '[build-args]\nVERSION = "7"\nQUOTED = "a\\nb"\n'
    )
    block = a_block(tmp_path, CONFIG + more)
    (entry,) = yaml.safe_load(block)["dockers_v2"]
    assert entry["labels"]["org.opencontainers.image.version"] == "it's fixed"
    assert (entry["build_args"]["VERSION"], entry["build_args"]["QUOTED"]) == ("7", "a\nb")


def test_registries_with_other_tags_are_images_of_their_own(tmp_path: Path) -> None:
    block = a_block(tmp_path, CONFIG + '[registries.two.tags]\nrules = ["{version}"]\n')
    first, second = block.split("  - id: ")[1:]
    assert first.startswith("'one'")
    assert second.startswith("'two'")
    assert "latest" in first
    assert "latest" not in second
    assert "one.example" not in second


def test_a_proxy_of_this_machine_is_not_written(tmp_path: Path) -> None:
    assert "proxy" not in a_block(tmp_path, HTTP_PROXY="http://u:p@proxy:1").lower()


def test_options_of_buildx_are_flags(tmp_path: Path) -> None:
    table = '[build]\nnetwork = "none"\nssh = ["default"]\n'
    contexts = '[build.contexts]\ne = "docker-image://e"\n'
    (entry, *_) = yaml.safe_load(a_block(tmp_path, CONFIG + table + contexts))["dockers_v2"]
    expected = ["--build-context=e=docker-image://e", "--network=none", "--ssh=default"]
    assert entry["flags"] == expected


@pytest.mark.parametrize(
    "line", ['contexts = { extra = "app" }', 'ssh = ["a=key"]', 'policy = ["filename=a.rego"]']
)
def test_files_of_this_machine_are_no_flags(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match="names files of this machine"):
        a_block(tmp_path, f"{CONFIG}[build]\n{line}\n")


SOURCES = {
    "COPY /app/main.go /x": ["app/main.go"],
    "COPY ./app /x": ["app"],
    "COPY ../app/ /x": ["app"],
    "COPY app/*.go *.none /x": ["app/main.go"],
    "COPY b?d/[x-z] /x": [],
}


@pytest.mark.parametrize(("line", "files"), SOURCES.items())
def test_what_is_copied_is_named_as_goreleaser_can_copy_it(
    tmp_path: Path, line: str, files: list[str]
) -> None:
    project = a_project(write_project(tmp_path, CONFIG, f"FROM scratch\n{line}\n"))
    plan = make_build_plan(project, BuildRequest(platforms=("all",)), project.dockerfile())
    entry = yaml.safe_load(make_block(project, plan))["dockers_v2"][0]
    assert entry.get("extra_files", []) == files


@pytest.mark.parametrize("source", [".", "./", "/", "app/.."])
def test_the_whole_context_is_refused(tmp_path: Path, source: str) -> None:
    text = f"FROM scratch\nCOPY {source} /app\n"
    project = a_project(write_project(tmp_path, CONFIG, text))
    plan = make_build_plan(project, BuildRequest(platforms=("all",)), project.dockerfile())
    with pytest.raises(InputError, match="copies the whole build context"):
        make_block(project, plan)


def test_build_args_that_are_renamed_or_made_of_facts_stay_templates(tmp_path: Path) -> None:
    config = 'inject = { VERSION = "APP" }\n' + CONFIG + '[build-args]\nWHAT = "v{version}{{x}}"\n'
    text = "FROM scratch\nARG APP\nARG WHAT\n"
    project = a_project(write_project(tmp_path, config, text))
    plan = make_build_plan(project, BuildRequest(platforms=("all",)), project.dockerfile())
    args = yaml.safe_load(make_block(project, plan))["dockers_v2"][0]["build_args"]
    assert args["APP"] == "{{ .Version }}"
    assert args["WHAT"] == 'v{{ .Version }}{{ "{{" }}x}}'


def test_a_build_arg_that_is_configured_as_empty_stays_empty(tmp_path: Path) -> None:
    config = CONFIG + '[build-args]\nVERSION = ""\n'
    project = a_project(write_project(tmp_path, config, "FROM scratch\nARG VERSION\n"))
    plan = make_build_plan(project, BuildRequest(platforms=("all",)), project.dockerfile())
    args = yaml.safe_load(make_block(project, plan))["dockers_v2"][0]["build_args"]
    assert args["VERSION"] == ""


def test_other_base_images_and_a_target_are_flags(tmp_path: Path) -> None:
    more = 'target = "program"\n'
    base = '[base-images]\n"alpine:3.22" = "docker-image://mirror.example/alpine:3.22"\n'
    flag = "'--build-context=alpine:3.22=docker-image://mirror.example/alpine:3.22'"
    assert flag in a_block(tmp_path, CONFIG + base)
    assert "'--target=program'" in a_block(tmp_path, more + CONFIG)


@pytest.mark.parametrize("scheme", ["pep440", "calver", "any"])
def test_versions_that_goreleaser_does_not_take_are_refused(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(InputError, match=f'version-scheme is "{scheme}"'):
        a_block(tmp_path, f'version-scheme = "{scheme}"{CONFIG}')


def test_without_a_registry_there_is_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        a_block(tmp_path, CONFIG.partition("[registries")[0])
    assert "nowhere to publish" in str(caught.value)


BLOCK = f"{BEGIN}\nnew: 1\n{END}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", f"version: 2\n\n{BLOCK}", id="a file that is not there yet"),
        pytest.param("a: 1", f"a: 1\n\n{BLOCK}", id="one without a last newline"),
        pytest.param("a: 1\n", f"a: 1\n\n{BLOCK}", id="one without our part"),
        pytest.param(
            f"# me\na: 1 \n{BEGIN}\nold: 1\n{END}\n\nb:  2\n",
            f"# me\na: 1 \n{BLOCK}\nb:  2\n",
            id="ours is replaced, a person's stays to the byte",
        ),
        pytest.param(f"x\n{BLOCK}y\n", f"x\n{BLOCK}y\n", id="nothing new changes nothing"),
    ],
)
def test_our_part_has_its_place(before: str, after: str) -> None:
    assert with_block(before, BLOCK) == after


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{BEGIN}\na: 1\n", id="no end"),
        pytest.param(BLOCK + BLOCK, id="twice"),
        pytest.param(f"a: 1 {BEGIN}\n", id="not on a line of its own"),
    ],
)
def test_marks_that_are_not_in_order_are_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        with_block(text, BLOCK)
    assert "not in order" in str(caught.value)


def test_the_settings_are_read() -> None:
    read = parse_table(
        GoReleaser, {"file": "x.yaml", "build-args": {"B": "1", "A": "2"}}, "goreleaser"
    )
    assert read == GoReleaser(file="x.yaml", build_args=(("A", "2"), ("B", "1")))
    with pytest.raises(InputError) as caught:
        parse_table(GoReleaser, {"files": "x"}, "goreleaser")
    assert "did you mean goreleaser.file" in str(caught.value)
