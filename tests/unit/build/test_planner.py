from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from buildlib.build.argv import build_line, buildx_argv
from buildlib.build.planner import (
    BuildRequest,
    chosen_output,
    make_build_plan,
    normal_name,
    parse_build_args,
)
from buildlib.errors import InputError
from buildlib.git.facts import NoGit
from buildlib.image.labels import STAND_INS as STAND_INS_LABEL
from buildlib.image.platform import engine_platform
from buildlib.shell import shell_line

from fakes import REVISION, a_project, git_facts, words_after, write_project

BASE_NAME = "org.opencontainers.image.base.name"


def _argv(root: Path, request: BuildRequest, **options: object) -> tuple[str, ...]:
    project = a_project(root, **options)  # type: ignore[arg-type]
    return buildx_argv(make_build_plan(project, request, project.dockerfile()))


def test_the_default_build_is_exactly_this_command(tmp_path: Path) -> None:
    write_project(tmp_path, 'image = "me/thing"\ntitle = "Thing"\n')
    assert _argv(tmp_path, BuildRequest()) == (
        "docker",
        "buildx",
        "build",
        "--file",
        f"{tmp_path}/Dockerfile",
        "--tag",
        "me/thing:1.2.3",
        "--tag",
        "me/thing:latest",
        "--build-arg",
        "CREATED=2023-11-14T22:13:20Z",
        "--build-arg",
        f"REVISION={REVISION}",
        "--build-arg",
        "SOURCE_DATE_EPOCH=1700000000",
        "--build-arg",
        "VERSION=1.2.3",
        "--label",
        "buildlib.image=me/thing",
        "--label",
        "org.opencontainers.image.base.name=docker.io/library/alpine:3.22",
        "--label",
        "org.opencontainers.image.created=2023-11-14T22:13:20Z",
        "--label",
        f"org.opencontainers.image.revision={REVISION}",
        "--label",
        "org.opencontainers.image.title=Thing",
        "--label",
        "org.opencontainers.image.version=1.2.3",
        "--provenance=false",
        "--load",
        str(tmp_path),
    )


def test_two_images_of_one_name_do_not_take_each_others_tags(tmp_path: Path) -> None:
    write_project(tmp_path, 'image = "me/thing"\n[tags]\nsuffix = "-slim"\n')
    argv = _argv(tmp_path, BuildRequest(tags=("mine",)))
    tags = ["me/thing:1.2.3-slim", "me/thing:latest-slim", "me/thing:mine"]
    assert words_after(argv, "--tag") == tags
    owner = "buildlib.image=me/thing:latest-slim"
    assert owner in words_after(argv, "--label")


def test_every_option_has_its_place(tmp_path: Path) -> None:
    write_project(tmp_path)
    overrides = {
        "builder": "b",
        "cache-from": ("type=registry,ref=r/c",),
        "cache-to": ("type=inline",),
        "progress": "plain",
    }
    request = BuildRequest(
        platforms=("amd64", "arm64"),
        tags=("extra", "ghcr.io/me/other:1"),
        build_args=("A=b=c", "FROM_ENV"),
        secrets=("id=x,env=X",),
        target="compile",
        no_cache=True,
        pull=True,
        output="oci",
    )
    project = a_project(tmp_path, overrides=overrides)
    plan = make_build_plan(
        project,
        request,
        project.dockerfile(),
        metadata_file=Path("/m.json"),
    )
    argv = buildx_argv(plan)
    assert words_after(argv, "--platform") == ["linux/amd64,linux/arm64"]
    assert words_after(argv, "--tag")[2:] == ["thing:extra", "ghcr.io/me/other:1"]
    assert {"A=b=c", "FROM_ENV"} <= set(words_after(argv, "--build-arg"))
    assert words_after(argv, "--secret") == ["id=x,env=X"]
    assert words_after(argv, "--target") == ["compile"]
    assert words_after(argv, "--builder") == ["b"]
    assert words_after(argv, "--cache-from") == ["type=registry,ref=r/c"]
    assert words_after(argv, "--cache-to") == ["type=inline"]
    assert words_after(argv, "--output") == [
        f"type=oci,rewrite-timestamp=true,dest={tmp_path}/dist/thing-1.2.3.oci.tar.part"
    ]
    assert words_after(argv, "--metadata-file") == ["/m.json"]
    assert words_after(argv, "--progress") == ["plain"]
    assert {"--no-cache", "--pull"} <= set(argv)


def test_an_archive_gets_its_name_only_once_it_is_whole(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path))
    request = BuildRequest(output="oci", destination=Path("/a b/x.tar"))
    plan = make_build_plan(project, request, project.dockerfile())
    make, build, move = build_line(plan).split(" && ")
    assert make == "mkdir -p -- '/a b'"
    assert build == shell_line(buildx_argv(plan))
    assert move == "mv -f -- '/a b/x.tar.part' '/a b/x.tar'"
    loaded = make_build_plan(project, BuildRequest(), project.dockerfile())
    assert build_line(loaded) == shell_line(buildx_argv(loaded))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param(BuildRequest(push=True), ["--push"], id="push"),
        pytest.param(BuildRequest(output="push", push=True), ["--push"], id="push said twice"),
        pytest.param(BuildRequest(output="load"), ["--load"], id="load"),
        pytest.param(BuildRequest(output="cacheonly"), ["--output", "type=cacheonly"], id="cache"),
        pytest.param(
            BuildRequest(output="type=tar,dest=x"), ["--output", "type=tar,dest=x"], id="raw"
        ),
        pytest.param(
            BuildRequest(output='type=tar,"dest=a\nb"'),
            ["--output", 'type=tar,"dest=a\nb"'],
            id="a line's end in quotes",
        ),
        pytest.param(
            BuildRequest(output="local", destination=Path('/a,b"c')),
            ["--output", 'type=local,"dest=/a,b""c"'],
            id="a destination with a comma is quoted as CSV",
        ),
    ],
)
def test_output(tmp_path: Path, request_: BuildRequest, words: list[str]) -> None:
    write_project(tmp_path)
    assert shlex.join(words) in shell_line(_argv(tmp_path, request_))


def test_a_push_takes_the_names_with_a_registry_where_there_are_any(tmp_path: Path) -> None:
    write_project(tmp_path)
    argv = _argv(tmp_path, BuildRequest(push=True, tags=("ghcr.io/me/thing:1", "extra")))
    assert words_after(argv, "--tag") == ["ghcr.io/me/thing:1"]
    argv = _argv(tmp_path, BuildRequest(output="type=registry", tags=("ghcr.io/me/thing:1",)))
    assert words_after(argv, "--tag") == ["ghcr.io/me/thing:1"]
    argv = _argv(tmp_path, BuildRequest(push=True))
    assert words_after(argv, "--tag") == ["thing:1.2.3", "thing:latest"]


def test_local_and_cache_only_outputs_have_no_tags(tmp_path: Path) -> None:
    write_project(tmp_path)
    for output in ("local", "cacheonly"):
        assert "--tag" not in _argv(tmp_path, BuildRequest(output=output))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(BuildRequest(output="load", push=True), "contradicts", id="load and push"),
        pytest.param(BuildRequest(output="laod"), "did you mean load", id="a near miss"),
        pytest.param(BuildRequest(output="x"), "known: load", id="an unknown one"),
        pytest.param(BuildRequest(output="type=tar,dest=-"), "stdout", id="a build to stdout"),
        pytest.param(BuildRequest(output="type=tar,dest=a\nb"), "one line of CSV", id="two lines"),
        pytest.param(BuildRequest(output='type=tar,"dest=a'), "one line of CSV", id="half a field"),
    ],
)
def test_contradicting_or_unknown_outputs_are_refused(request_: BuildRequest, message: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen_output(request_)
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["context", "dockerfile"])
def test_a_path_that_can_not_be_is_refused(tmp_path: Path, key: str) -> None:
    write_project(tmp_path, f'image = "t"\n{key} = "a"\n')
    project = a_project(tmp_path)
    changed = {key: "a\0b"}
    project = replace(project, config=replace(project.config, **changed))  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        _ = (project.context, project.dockerfile_path)
    assert caught.value.what == f"{key} from file (buildlib.toml) can't be a path"


def test_all_means_the_configured_platforms(tmp_path: Path) -> None:
    write_project(tmp_path, 'image = "t"\nplatforms = ["linux/amd64", "linux/s390x"]\n')
    argv = _argv(tmp_path, BuildRequest(platforms=("all",)))
    assert words_after(argv, "--platform") == ["linux/amd64,linux/s390x"]


def test_docker_s_own_default_platform_is_said_by_name(tmp_path: Path) -> None:
    write_project(tmp_path, 'image = "t"\nplatforms = ["linux/amd64"]\n')
    env = {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}
    assert words_after(_argv(tmp_path, BuildRequest(), env=env), "--platform") == ["linux/arm64"]
    for name in ("all", "linux/amd64"):
        argv = _argv(tmp_path, BuildRequest(platforms=(name,)), env=env)
        assert words_after(argv, "--platform") == ["linux/amd64"]
    with pytest.raises(InputError, match="platform"):
        _argv(tmp_path, BuildRequest(), env={"DOCKER_DEFAULT_PLATFORM": "linux/x"})


def test_all_without_configured_platforms_is_refused(tmp_path: Path) -> None:
    write_project(tmp_path)
    with pytest.raises(InputError, match="none is configured"):
        _argv(tmp_path, BuildRequest(platforms=("all",)))


VALUES = ["a,b", "a\nb", "a'\"b", "$HOME `x`", "ünïcödé ☃", "a=b=c", "", " "]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_build_arg_is_one_word_unchanged(tmp_path: Path, value: str) -> None:
    write_project(tmp_path)
    argv = _argv(tmp_path, BuildRequest(build_args=(f"X={value}",)))
    assert f"X={value}" in argv
    assert tuple(shlex.split(shell_line(argv))) == argv


@pytest.mark.parametrize("text", ["=x", "", "1A=x", "A B=x", "-A=x"])
def test_a_build_arg_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="without a usable name"):
        parse_build_args([text])


def test_only_declared_build_args_are_injected(tmp_path: Path) -> None:
    write_project(tmp_path, dockerfile="FROM scratch\nARG VERSION\n")
    names = [
        arg.partition("=")[0] for arg in words_after(_argv(tmp_path, BuildRequest()), "--build-arg")
    ]
    assert names == ["SOURCE_DATE_EPOCH", "VERSION"]


def test_a_given_build_arg_wins_over_the_configured_and_the_injected(tmp_path: Path) -> None:
    write_project(tmp_path, 'image = "t"\n[build-args]\nA = "file"\nVERSION = "file"\n')
    args = words_after(_argv(tmp_path, BuildRequest(build_args=("A=cli",))), "--build-arg")
    assert {"A=cli", "VERSION=file"} <= set(args)


def test_proxies_are_handed_on_by_name_alone(tmp_path: Path) -> None:
    write_project(tmp_path)
    env = {"HTTPS_PROXY": "http://user:hunter2@proxy.example:3128", "no_proxy": "localhost"}
    argv = _argv(tmp_path, BuildRequest(), env=env)
    assert {"HTTPS_PROXY", "no_proxy"} <= set(words_after(argv, "--build-arg"))
    assert "hunter2" not in shell_line(argv)


MAP = """\
image = "t"
[base-images]
"docker.io/library/alpine:3.22" = { source = "oci-layout:///a@sha256:1", stand-in = true }
"golang:1.24-alpine" = "docker-image://mirror.example/golang:1.24-alpine"
"unused:1" = "docker-image://mirror.example/unused"
"""


def test_base_images_are_replaced_under_the_name_that_the_dockerfile_uses(tmp_path: Path) -> None:
    write_project(tmp_path, MAP)
    argv = _argv(tmp_path, BuildRequest())
    assert words_after(argv, "--build-context") == [
        "alpine:3.22=oci-layout:///a@sha256:1",
        "golang:1.24-alpine=docker-image://mirror.example/golang:1.24-alpine",
    ]
    assert "buildlib.stand-ins=alpine:3.22" in words_after(argv, "--label")


def test_images_that_files_are_taken_from_are_replaced_as_well(tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    write_project(
        tmp_path,
        'image = "thing"\n[base-images]\n"tools:1" = "docker-image://mirror/tools:1"\n',
        f"FROM scratch\nCOPY --from=tools:1@{digest} /x /\n",
    )
    project = a_project(tmp_path)
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    source = f"docker-image://mirror/tools:1@{digest}"
    assert plan.build_contexts == ((f"tools:1@{digest}", source),)


BY_PLATFORM = """\
FROM alpine:3.20 AS base-amd64
COPY app /amd
FROM alpine:3.21 AS base-arm64
COPY app/main.go /arm
FROM base-${TARGETARCH}
"""
BY_BUILDER = "FROM a AS tool-amd64\nFROM b AS tool-arm64\nFROM tool-$BUILDARCH\n"
STAND_INS = """\
image = "t"
[base-images]
"alpine:3.20" = { source = "oci-layout:///a", stand-in = true }
"alpine:3.21" = { source = "oci-layout:///b", stand-in = true }
"""


@pytest.mark.parametrize(
    ("platforms", "bases", "sources", "base"),
    [
        pytest.param(("amd64",), ("alpine:3.20",), ("app",), "alpine:3.20", id="of one platform"),
        pytest.param(("arm64",), ("alpine:3.21",), ("app/main.go",), "alpine:3.21", id="another"),
        pytest.param(
            ("amd64", "arm64"),
            ("alpine:3.20", "alpine:3.21"),
            ("app", "app/main.go"),
            "",
            id="of both, which have no base in common",
        ),
    ],
)
def test_a_base_may_depend_on_the_platform(
    tmp_path: Path,
    platforms: tuple[str, ...],
    bases: tuple[str, ...],
    sources: tuple[str, ...],
    base: str,
) -> None:
    project = a_project(write_project(tmp_path, STAND_INS, BY_PLATFORM))
    plan = make_build_plan(project, BuildRequest(platforms=platforms), project.dockerfile())
    assert (plan.bases, plan.sources, plan.stand_ins) == (bases, sources, bases)
    assert [name for name, _ in plan.build_contexts] == [*bases]
    labels = dict(plan.labels)
    assert labels.get(BASE_NAME, "") == (f"docker.io/library/{base}" if base else "")
    assert labels[STAND_INS_LABEL] == " ".join(bases)


def test_where_no_platform_is_planned_it_is_this_machine_s_and_no_label_says_so(
    tmp_path: Path,
) -> None:
    own, other = engine_platform().arch, "s390x" if engine_platform().arch != "s390x" else "amd64"
    text = f"FROM one AS base-{own}\nFROM two AS base-{other}\nFROM base-${{TARGETARCH}}\n"
    project = a_project(write_project(tmp_path, dockerfile=text))
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    assert plan.bases == ("one",)
    # The engine may be elsewhere, and a label has to be right.
    assert BASE_NAME not in dict(plan.labels)
    project = a_project(write_project(tmp_path, dockerfile="FROM x:${TARGETOS:+1}\n"))
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    assert dict(plan.labels)[BASE_NAME] == "docker.io/library/x:1"


def test_on_which_builder_it_will_be_built_nobody_knows(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path, dockerfile=BY_BUILDER))
    request = BuildRequest(platforms=("linux/amd64",))
    plan = make_build_plan(project, request, project.dockerfile())
    assert BASE_NAME not in dict(plan.labels)
    given = replace(request, build_args=("BUILDARCH=arm64",))
    plan = make_build_plan(project, given, project.dockerfile())
    assert dict(plan.labels)[BASE_NAME] == "docker.io/library/b"
    assert plan.bases == ("b",)


def test_a_build_arg_by_name_has_its_value_in_a_from_alone(tmp_path: Path) -> None:
    text = "ARG V=3.22\nARG TOKEN\nFROM alpine:${V}\n"
    config = 'image = "t"\n[base-images]\n"alpine:3.19" = "docker-image://mirror.example/alpine"\n'
    write_project(tmp_path, config, text)
    env = {"V": "3.19", "TOKEN": "hunter2"}
    argv = _argv(tmp_path, BuildRequest(build_args=("V", "TOKEN", "NONE")), env=env)
    assert words_after(argv, "--build-arg") == [
        "NONE",
        "SOURCE_DATE_EPOCH=1700000000",
        "TOKEN",
        "V",
    ]
    assert words_after(argv, "--build-context") == [
        "alpine:3.19=docker-image://mirror.example/alpine"
    ]
    assert f"{BASE_NAME}=docker.io/library/alpine:3.19" in words_after(argv, "--label")
    assert "hunter2" not in shell_line(argv)
    argv = _argv(tmp_path, BuildRequest(build_args=("V",)))
    assert f"{BASE_NAME}=docker.io/library/alpine:3.22" in words_after(argv, "--label")


def test_the_real_base_has_no_stand_in_label(tmp_path: Path) -> None:
    write_project(tmp_path)
    assert "stand-ins" not in shell_line(_argv(tmp_path, BuildRequest()))


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("library/alpine:3", "docker.io/library/alpine:3"),
        ("docker.io/library/alpine:3", "docker.io/library/alpine:3"),
        ("docker.io/alpine:3", "docker.io/library/alpine:3"),
        ("index.docker.io/me/x", "docker.io/me/x:latest"),
        ("me/x", "docker.io/me/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("x@sha256:1", "docker.io/library/x@sha256:1"),
    ],
)
def test_references_have_one_normal_name(name: str, normal: str) -> None:
    assert normal_name(name) == normal


@pytest.mark.parametrize(
    ("base", "label"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("me/x:1", "docker.io/me/x:1"),
        ("quay.example/x:1", "quay.example/x:1"),
        ("localhost/x:1", "localhost/x:1"),
    ],
)
def test_the_base_label_names_the_whole_reference(tmp_path: Path, base: str, label: str) -> None:
    write_project(tmp_path, dockerfile=f"FROM {base}\n")
    argv = _argv(tmp_path, BuildRequest())
    assert f"org.opencontainers.image.base.name={label}" in words_after(argv, "--label")


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://user:token@example.org/me/x.git", "https://example.org/me/x"),
        ("git@example.org:me/x.git", "https://example.org/me/x"),
        ("ssh://git@example.org/me/x.git", "https://example.org/me/x"),
        ("ssh://git@example.org:2222/me/x.git", "https://example.org/me/x"),
        ("git+ssh://git@example.org:22/me/x.git", "https://example.org/me/x"),
        ("git://[::1]:9418/me/x.git", "https://[::1]/me/x"),
        ("https://example.org:8443/me/x.git", "https://example.org:8443/me/x"),
    ],
)
def test_the_source_label_is_a_page_without_credentials(
    tmp_path: Path, remote: str, source: str
) -> None:
    write_project(tmp_path)
    argv = _argv(tmp_path, BuildRequest(), git=git_facts(remote=remote))
    assert f"org.opencontainers.image.source={source}" in words_after(argv, "--label")
    assert "token" not in shell_line(argv)


def test_a_path_as_remote_is_no_source(tmp_path: Path) -> None:
    write_project(tmp_path)
    argv = _argv(tmp_path, BuildRequest(), git=git_facts(remote="/srv/git/x.git"))
    assert "image.source" not in shell_line(argv)


def test_without_git_there_is_no_revision_label(tmp_path: Path) -> None:
    write_project(tmp_path)
    line = shell_line(_argv(tmp_path, BuildRequest(), git=NoGit(reason="x")))
    assert "image.revision" not in line
    assert "--build-arg REVISION= " in line


def test_an_archive_of_several_platforms_says_in_its_index_what_it_is(tmp_path: Path) -> None:
    write_project(tmp_path, 'image = "me/thing"\ndescription = "Does, things"\n')
    request = BuildRequest(platforms=("linux/amd64", "linux/arm64"), output="oci")
    notes = words_after(_argv(tmp_path, request), "--annotation")
    assert "index:org.opencontainers.image.description=Does, things" in notes
    assert "index:org.opencontainers.image.version=1.2.3" in notes
    # What is ours alone, or of one image, is nobody's business there.
    assert all(note.startswith("index:org.opencontainers.image.") for note in notes)
    single = BuildRequest(platforms=("linux/amd64",), output="oci")
    assert words_after(_argv(tmp_path, single), "--annotation") == []
    assert words_after(_argv(tmp_path, BuildRequest()), "--annotation") == []
