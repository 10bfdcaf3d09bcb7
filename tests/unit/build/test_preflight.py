from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from buildlib.build import preflight
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.docker.engine import Builder, EngineFacts, inspect_engine
from buildlib.dockerfile.ignore import DockerIgnore
from buildlib.errors import BuildlibError, EngineError, InputError, ToolError
from buildlib.executor import Completed
from buildlib.image.platform import parse_platforms
from buildlib.project import Checkout

from fakes import GOOD, FakeExecutor, a_project, write_project


def _plan(root: Path, request: BuildRequest | None = None) -> BuildPlan:
    project = a_project(root)
    return make_build_plan(project, request or BuildRequest(), project.dockerfile())


def _texts(problems: list[BuildlibError]) -> str:
    return "\n".join(map(str, problems))


def test_a_good_engine_has_no_problem() -> None:
    assert preflight.check_engine(GOOD) == []


@pytest.mark.parametrize(
    ("facts", "kind", "message"),
    [
        pytest.param(replace(GOOD, buildx=""), ToolError, "buildx not found", id="no buildx"),
        pytest.param(replace(GOOD, buildx="v0.12.9"), ToolError, "too old", id="an old buildx"),
        pytest.param(
            replace(GOOD, server="", problem="Cannot connect"),
            EngineError,
            "'default' does not answer",
            id="no engine",
        ),
        pytest.param(
            replace(GOOD, server="", problem="Host key verification failed."),
            EngineError,
            "ssh does not know the host of the Docker engine at context 'default'",
            id="a new host",
        ),
        pytest.param(
            replace(GOOD, server="", problem="dial unix /x: connect: permission denied"),
            EngineError,
            "no permission",
            id="no permission",
        ),
        pytest.param(
            replace(
                GOOD, server="", problem='unable to resolve: context "x": context not found: y'
            ),
            EngineError,
            "current context does not exist",
            id="a context that is not there",
        ),
        pytest.param(
            EngineFacts(client="1", buildx="9", problem="x"),
            EngineError,
            "the current",
            id="no context",
        ),
    ],
)
def test_an_engine_that_will_not_do(
    facts: EngineFacts, kind: type[BuildlibError], message: str
) -> None:
    (problem,) = preflight.check_engine(facts)
    assert isinstance(problem, kind)
    assert message in str(problem)
    assert problem.hint


@pytest.mark.parametrize("buildx", ["v0.13.0", "0.13.1+ds1", "v0.29.0-desktop.1", "unknown"])
def test_a_buildx_that_will_do(buildx: str) -> None:
    facts = replace(GOOD, buildx=buildx)
    assert (preflight.check_engine(facts), preflight.unknown_buildx(facts)) == ([], [])


# What `docker buildx create --help` prints; 0.12.1 by its commands/create.go.
HELP = """\
Create a new builder instance

Usage:  docker buildx create [OPTIONS] [CONTEXT|ENDPOINT]

Options:
      --bootstrap            Boot builder after creation
{}
      --use                  Set the current builder instance
"""
OF_0_12 = HELP.format(
    "      --buildkitd-flags string   Flags for buildkitd daemon\n"
    "      --config string        BuildKit config file"
)
OF_0_13 = HELP.format(
    "      --buildkitd-config string   BuildKit daemon config file\n"
    "      --buildkitd-flags string    BuildKit daemon flags"
)
OF_0_38 = OF_0_13.replace("Options:", "Flags:") + "\nGlobal Flags:\n  -D, --debug   Enable debug\n"
NAMELESS = [
    *("v0.0.0+unknown", "0.0.0", "v0.0.0-20260820161649-9c4b5ef0a1b2", "(devel)", ""),
    *("0a1b2c3", "9c4b5ef0a1b2c3d4e5f60718293a4b5c6d7e8f90", "1234567", "ds1-3"),
]


def _inspected(version: str, answer: Completed) -> tuple[EngineFacts, FakeExecutor]:
    """Return what is known of an engine whose buildx is of a version, and prints a help."""
    info = {
        "ServerVersion": "26.1.5",
        "ClientInfo": {"Version": "26.1.5", "Plugins": [{"Name": "buildx", "Version": version}]},
    }
    docker = FakeExecutor(
        {
            ("docker", "info"): Completed(code=0, stdout=json.dumps(info)),
            ("docker", "buildx", "create", "--help"): answer,
        }
    )
    return inspect_engine(docker), docker


@pytest.mark.parametrize("version", NAMELESS)
@pytest.mark.parametrize("stdout", [OF_0_13, OF_0_38], ids=["0.13", "0.38"])
def test_a_buildx_without_a_version_is_used_with_a_warning(version: str, stdout: str) -> None:
    facts, _ = _inspected(version, Completed(code=0, stdout=stdout))
    assert preflight.check_engine(facts) == []
    (warning,) = preflight.unknown_buildx(facts)
    assert (version or "unknown") in warning


@pytest.mark.parametrize("version", NAMELESS)
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Completed(code=0, stdout=OF_0_12), id="0.12"),
        pytest.param(Completed(code=1, stderr="exec format error"), id="it does not start"),
    ],
)
def test_a_buildx_without_a_version_that_lacks_what_is_needed_is_refused(
    version: str, answer: Completed
) -> None:
    facts, _ = _inspected(version, answer)
    (problem,) = preflight.check_engine(facts)
    assert "too old" in problem.what
    assert "--buildkitd-config" in problem.why
    assert preflight.unknown_buildx(facts) == []


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("0.13.1+ds1-3", False),
        ("v0.38.2", False),
        ("1.0", False),
        ("v0.29.0-desktop.1", False),
        ("v0.12.1-10-g9c4b5ef", True),
        ("0.11.2-0ubuntu1", True),
    ],
)
def test_a_buildx_that_says_its_version_is_believed(version: str, *, old: bool) -> None:
    facts, docker = _inspected(version, Completed(code=1))
    assert [problem.what for problem in preflight.check_engine(facts)] == (
        [f"docker buildx {version} is too old, 0.13 is the oldest that does"] if old else []
    )
    assert preflight.unknown_buildx(facts) == []
    assert docker.asked == [("docker", "info", "--format", "{{json .}}")]


def test_no_permission_never_suggests_chmod() -> None:
    (problem,) = preflight.check_engine(replace(GOOD, server="", problem="permission denied"))
    assert "chmod" not in str(problem)
    assert "group" in problem.hint


def test_an_endpoint_from_the_environment_is_named() -> None:
    problems = preflight.check_engine(replace(GOOD, server=""), endpoint="tcp://10.0.0.1:2375")
    assert "tcp://10.0.0.1:2375" in _texts(problems)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(preflight.check_engine(EngineFacts(client="1"))) == 2


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD",
        "DB_PASSWORD",
        "github_token",
        "API_KEY",
        "APIKEY",
        "NPM_AUTH",
        "AWS_SECRET_ACCESS_KEY",
        "SSH_PRIVATE_KEY",
        "CREDENTIALS",
    ],
)
def test_a_name_of_a_secret_is_seen(name: str) -> None:
    (problem,) = preflight.check_build_args([(name, "a1b2c3")], {})
    assert f"--secret id={name},env={name}" in problem.hint
    assert f'allow-names = ["{name}"]' in problem.hint
    assert "a1b2c3" not in str(problem)
    assert len(preflight.check_build_args([(name, None)], {name: "a1b2c3"})) == 1
    assert preflight.check_build_args([(name, None)], {name: "true"}) == []
    assert preflight.check_build_args([(name, "a1b2c3")], {}, [name]) == []


@pytest.mark.parametrize(
    "name", ["VERSION", "CACHE_KEY", "TOKENIZER", "AUTHOR", "PASSAGE", "COMPASS"]
)
def test_a_harmless_name_is_left_alone(name: str) -> None:
    assert preflight.check_build_args([(name, "a1b2c3")], {}) == []


def test_a_proxy_s_password_is_not_ours_to_refuse() -> None:
    given = {"HTTPS_PROXY": "http://me:hunter2@proxy"}
    assert preflight.check_build_args([("HTTPS_PROXY", None)], given) == []


@pytest.mark.parametrize(
    "text",
    [
        *("id=x", "id=x,env=X", "ID=x,SRC=/a", "id=x,source=/a", "id=x,type=env,src=HOME"),
        *("type=file,id=x,src=/a", 'id=x,"src=/a,b"', "id=x,src=/a=b", "id=x,src=/a,env=X"),
    ],
)
def test_a_secret_that_buildx_takes_is_taken(text: str) -> None:
    assert preflight.check_secrets([text]) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hunter2", "not a list of key=value"),
        ("id=x,hunter2", "not a list of key=value"),
        ("hunter2==", "its keys are not all of env, id, source, src, type"),
        ("id=x, env=X", "its keys are not all of"),
        ("id=x,type=hunter2", "neither file nor env"),
        ("env=HUNTER", "it has no id"),
        ("id=,env=X", "it has no id"),
        ('id=x,"src=/a', "unexpected end"),
        ("", "it has no id"),
    ],
)
def test_a_secret_that_buildx_would_refuse_is_refused_and_not_shown(text: str, why: str) -> None:
    (problem,) = preflight.check_secrets([text])
    assert isinstance(problem, InputError)
    assert why in problem.what
    assert "hunter" not in str(problem).lower()
    assert problem.hint == "give id=NAME,env=NAME or id=NAME,src=FILE"


def test_an_undeclared_build_arg_is_named_with_those_that_are(tmp_path: Path) -> None:
    write_project(tmp_path)
    plan = _plan(tmp_path, BuildRequest(build_args=("VERISON=1", "HTTP_PROXY=x", "TARGETARCH=x")))
    dockerfile = a_project(tmp_path).dockerfile()
    (sentence,) = preflight.undeclared(plan, dockerfile)
    assert "no ARG VERISON" in sentence
    assert "VERSION" in sentence


def test_another_version_in_the_program_is_told(tmp_path: Path) -> None:
    write_project(tmp_path)
    plan = _plan(tmp_path, BuildRequest(build_args=("VERSION=9.9.9",)))
    dockerfile = a_project(tmp_path).dockerfile()
    (sentence,) = preflight.other_version(plan, dockerfile, "VERSION")
    assert "VERSION is 9.9.9, and tag and label say 1.2.3: --version" in sentence
    for args in ((), ("VERSION=1.2.3",), ("VERSION",)):
        plan = _plan(tmp_path, BuildRequest(build_args=args))
        assert preflight.other_version(plan, dockerfile, "VERSION") == ()
    assert preflight.other_version(plan, dockerfile, "") == ()


def test_a_dockerfile_without_args_says_so(tmp_path: Path) -> None:
    write_project(tmp_path, dockerfile="FROM scratch\n")
    plan = _plan(tmp_path, BuildRequest(build_args=("X=1",)))
    assert "declares none" in preflight.undeclared(plan, a_project(tmp_path).dockerfile())[0]


@pytest.mark.parametrize(
    ("sources", "ignore", "told"),
    [
        ((".",), "", ".git, dist"),
        (("../..",), "", ".git, dist"),
        (("app/..",), "", ".git, dist"),
        (("./", "app"), "dist\n", ".git"),
        (("/",), ".git\ndist\n", ""),
        ((".",), "*\n!app\n", ""),
        (("dist/program", "app"), "", ""),
    ],
)
def test_what_is_no_source_is_told_where_the_whole_context_is_copied(
    tmp_path: Path, sources: tuple[str, ...], ignore: str, told: str
) -> None:
    write_project(tmp_path)
    for name in (".git", "dist"):
        (tmp_path / name).mkdir()
    (tmp_path / ".dockerignore").write_text(ignore, encoding="utf-8")
    plan = replace(_plan(tmp_path), sources=sources)
    found = preflight.unwanted_files(plan, (".git", "dist", "data"))
    assert [text.startswith(f"the image gets {told},") for text in found] == (
        [True] if told else []
    )
    # The files of a commit hold none of that.
    made = Checkout(folder=tmp_path, top=tmp_path)
    assert preflight.unwanted_files(replace(plan, checkout=made), (".git",)) == ()


def test_context_and_dockerfile_that_are_missing_are_both_told(tmp_path: Path) -> None:
    write_project(tmp_path)
    plan = replace(_plan(tmp_path), context=tmp_path / "no", dockerfile=tmp_path / "No")
    assert [type(p) for p in preflight.check_files(plan)] == [InputError, InputError]


def test_a_target_that_is_not_there_is_guessed(tmp_path: Path) -> None:
    write_project(tmp_path)
    dockerfile = a_project(tmp_path).dockerfile()
    for target, hint in (("compil", "did you mean compile?"), ("x", "known: compile")):
        plan = replace(_plan(tmp_path), target=target)
        (problem,) = preflight.check_dockerfile(plan, dockerfile, DockerIgnore(()))
        assert problem.hint == hint


def test_a_dockerfile_without_from_is_refused(tmp_path: Path) -> None:
    write_project(tmp_path, dockerfile="RUN true\n")
    (problem,) = preflight.check_dockerfile(
        _plan(tmp_path), a_project(tmp_path).dockerfile(), DockerIgnore(())
    )
    assert "has no FROM" in problem.what
    assert not problem.hint


@pytest.mark.parametrize(
    ("dockerfile", "ignore", "message"),
    [
        pytest.param("FROM scratch\nCOPY app/ /\n", "*\n", "keeps out", id="an ignored source"),
        pytest.param("FROM scratch\nCOPY gone /\n", "", "does not have", id="a missing source"),
        pytest.param("FROM scratch\nCOPY ../app/ /\n", "", "", id="a path above is one within"),
        pytest.param(
            'FROM scratch\nCOPY ["app/../../app/main.go", "/"]\n', "", "", id="and one that turns"
        ),
        pytest.param(
            "FROM scratch\nCOPY ../app/ /\n", "app\n", "line !app to", id="one above is ignored"
        ),
        pytest.param("FROM scratch\nCOPY ../gone /\n", "", "does not have", id="one above is gone"),
        pytest.param("FROM scratch\nCOPY app/ /\n", "*\n!app\n", "", id="an allowed source"),
        pytest.param(
            "FROM scratch\nCOPY app/ /\n", "**\n!**/*.go\n", "", id="one by an exception anywhere"
        ),
        pytest.param("FROM scratch\nCOPY *.x $Y /\n", "*\n", "", id="patterns are the builder's"),
        pytest.param(
            "# escape=`\nFROM scratch\nCOPY a\\b /\n", "*\n", "", id="and so are other separators"
        ),
        pytest.param(
            "FROM scratch\nCOPY app/main.go/x /\n", "", "does not have", id="one below a file"
        ),
        pytest.param(
            f"FROM scratch\nCOPY {'a' * 300} a\0b /\n", "", "", id="what can't be looked at"
        ),
        pytest.param(
            "\ufeffFROM scratch\nCOPY app/ /\n", "\ufeffapp\r\n", "keeps out", id="byte order marks"
        ),
        pytest.param(
            "FROM scratch AS unused\nCOPY gone /\nFROM scratch\nCOPY app /\n",
            "",
            "",
            id="a stage that is not built does not count",
        ),
    ],
)
def test_sources_that_the_context_will_not_have(
    tmp_path: Path, dockerfile: str, ignore: str, message: str
) -> None:
    write_project(tmp_path, dockerfile=dockerfile)
    (tmp_path / ".dockerignore").write_text(ignore, encoding="utf-8")
    plan = _plan(tmp_path)
    problems = preflight.check_dockerfile(
        plan, a_project(tmp_path).dockerfile(), preflight.read_ignore(plan)
    )
    assert [message in str(p) for p in problems] == ([True] if message else [])


@pytest.mark.parametrize(
    ("dockerfile", "missing", "likely"),
    [
        pytest.param(
            "FROM alpine\nARG TARGETARCH\nCOPY out/thing-$TARGETARCH app /\n",
            ["out/thing-arm64"],
            [],
            id="the platform, each",
        ),
        pytest.param(
            'ARG NAME="thing"\nFROM scratch\nARG NAME\nARG END=x-${NAME}\nCOPY ${END} /\n',
            ["x-thing"],
            [],
            id="defaults",
        ),
        pytest.param(
            "FROM python:3.12\nARG PYTHON_VERSION=3\nCOPY lib-$PYTHON_VERSION /\n",
            [],
            ["lib-3"],
            id="the base image may set it",
        ),
        pytest.param(
            "FROM scratch AS a\nENV NAME=there OTHER=x\nFROM a\nARG NAME=gone\nARG OTHER=y\n"
            "COPY $NAME $OTHER /\n",
            [],
            [],
            id="an ENV wins",
        ),
        pytest.param(
            "ARG G=x\nFROM scratch\nARG NONE\nCOPY $G ${NONE} $TARGETARCH /\nARG G\n",
            [],
            [],
            id="not declared in the stage, or without a value",
        ),
        pytest.param(
            "FROM scratch\nARG BUILDARCH\nCOPY gone-$BUILDARCH /\n",
            [],
            ["gone-"],
            id="that of the builder",
        ),
        pytest.param("FROM scratch\nARG X=app\nCOPY $X *.$X /\n", [], [], id="there"),
    ],
)
def test_a_source_with_variables_is_looked_for(
    tmp_path: Path, dockerfile: str, missing: list[str], likely: list[str]
) -> None:
    write_project(tmp_path, dockerfile=dockerfile)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thing-amd64").touch()
    project = a_project(tmp_path)
    plan = make_build_plan(
        project, BuildRequest(platforms=("linux/amd64", "linux/arm64")), project.dockerfile()
    )
    ignore = preflight.read_ignore(plan)
    problems = preflight.check_dockerfile(plan, project.dockerfile(), ignore)
    warnings = preflight.likely_missing(plan, ignore)
    for found, names in (([one.what for one in problems], missing), (list(warnings), likely)):
        assert len(found) == len(names)
        assert all(f"copies {name}" in text for text, name in zip(found, names, strict=True))
    # Without a platform it is not known which one it will be.
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    problems = preflight.check_dockerfile(plan, project.dockerfile(), ignore)
    assert bool(problems) == (bool(missing) and "TARGETARCH" not in dockerfile)


def test_a_pattern_that_is_none_is_told_with_its_file(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "Dockerfile.dockerignore").write_text("app\n[z-a]\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2 of Dockerfile\.dockerignore is not a pattern"):
        preflight.read_ignore(_plan(tmp_path))


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    write_project(tmp_path)
    plan = replace(_plan(tmp_path), context=tmp_path / ("a" * 300), dockerfile=tmp_path / "No")
    first, second = preflight.check_files(plan)
    assert first.what.startswith("build context can't be looked at")
    assert first.why == "File name too long"
    assert "Dockerfile not found" in second.what


def test_a_dockerfile_outside_of_the_context_has_its_own_ignore_file_beside_it(
    tmp_path: Path,
) -> None:
    root, outer = tmp_path / "project", tmp_path / "outer"
    root.mkdir()
    write_project(root, 'image = "thing"\ndockerfile = "../outer/File"\n')
    outer.mkdir()
    (outer / "File").write_text("FROM scratch\nCOPY ../app /\n", encoding="utf-8")
    (root / ".dockerignore").write_text("", encoding="utf-8")
    plan, dockerfile = _plan(root), a_project(root).dockerfile()
    assert plan.dockerfile == outer / "File"
    assert preflight.check_files(plan) == []
    assert preflight.check_dockerfile(plan, dockerfile, preflight.read_ignore(plan)) == []
    (outer / "File.dockerignore").write_text("app\n", encoding="utf-8")
    plan = _plan(root)
    (problem,) = preflight.check_dockerfile(plan, dockerfile, preflight.read_ignore(plan))
    assert "File.dockerignore keeps out" in problem.what
    assert "to File.dockerignore" in problem.hint


def test_the_dockerfiles_own_ignore_file_wins(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / ".dockerignore").write_text("*\n", encoding="utf-8")
    (tmp_path / "Dockerfile.dockerignore").write_text("", encoding="utf-8")
    assert not preflight.read_ignore(_plan(tmp_path)).excludes("app")


CLASSIC = replace(GOOD, containerd_store=False)
DOCKER = Builder(name="default", driver="docker")
CONTAINER = Builder(name="b", driver="docker-container")


@pytest.mark.parametrize(
    ("facts", "builder", "request_", "message"),
    [
        pytest.param(
            GOOD, None, BuildRequest(platforms=("amd64", "arm64")), "", id="containerd holds many"
        ),
        pytest.param(CLASSIC, None, BuildRequest(), "", id="the classic store holds one"),
        pytest.param(
            CLASSIC,
            DOCKER,
            BuildRequest(platforms=("amd64", "arm64")),
            "can't hold",
            id="but not two",
        ),
        pytest.param(
            CLASSIC,
            CONTAINER,
            BuildRequest(platforms=("amd64", "arm64")),
            "can't hold",
            id="whoever builds",
        ),
        pytest.param(
            CLASSIC, DOCKER, BuildRequest(output="oci"), "OCI archive", id="no archive from docker"
        ),
        pytest.param(
            CLASSIC, CONTAINER, BuildRequest(output="oci"), "", id="an archive from a container"
        ),
        pytest.param(
            CLASSIC,
            DOCKER,
            BuildRequest(platforms=("amd64", "arm64"), output="cacheonly"),
            "more than one",
            id="two for nothing",
        ),
        pytest.param(
            replace(GOOD, server=""), None, BuildRequest(), "", id="no engine is told elsewhere"
        ),
        pytest.param(
            GOOD,
            Builder(name="b", driver="", error="no such"),
            BuildRequest(),
            "can't be used",
            id="a builder that is not there",
        ),
    ],
)
def test_what_store_and_driver_can_hold(
    tmp_path: Path,
    facts: EngineFacts,
    builder: Builder | None,
    request_: BuildRequest,
    message: str,
) -> None:
    write_project(tmp_path)
    problems = preflight.check_output(_plan(tmp_path, request_), facts, builder)
    assert [message in str(p) for p in problems] == ([True] if message else [])


def test_cache_export_needs_a_driver_that_can(tmp_path: Path) -> None:
    write_project(tmp_path)
    plan = replace(_plan(tmp_path), cache_to=("type=local,dest=x",))
    assert preflight.needs_builder(plan, CLASSIC)
    assert "cache export" in _texts(preflight.check_output(plan, CLASSIC, DOCKER))
    assert not preflight.needs_builder(replace(plan, cache_to=("type=inline",)), CLASSIC)
    assert not preflight.needs_builder(plan, GOOD)
    assert preflight.needs_builder(replace(plan, builder="b"), GOOD)


def test_base_images_as_layouts_need_a_store_that_reads_them(tmp_path: Path) -> None:
    write_project(tmp_path)
    plan = replace(_plan(tmp_path), build_contexts=(("alpine:3.22", "oci-layout:///a"),))
    assert preflight.needs_builder(plan, CLASSIC)
    assert "OCI layouts" in _texts(preflight.check_output(plan, CLASSIC, DOCKER))
    assert preflight.check_output(plan, CLASSIC, CONTAINER) == []
    mirror = replace(plan, build_contexts=(("alpine:3.22", "docker-image://mirror/alpine"),))
    assert not preflight.needs_builder(mirror, CLASSIC)


def test_two_platforms_need_the_builder_only_on_the_classic_store(tmp_path: Path) -> None:
    write_project(tmp_path)
    plan = replace(_plan(tmp_path), platforms=parse_platforms(["amd64", "arm64"]))
    assert preflight.needs_builder(plan, CLASSIC)
    assert not preflight.needs_builder(plan, GOOD)


def test_a_push_without_a_registry_is_refused(tmp_path: Path) -> None:
    write_project(tmp_path)
    plan = _plan(tmp_path, BuildRequest(push=True))
    assert "no registry is named" in _texts(preflight.check_push(plan, ["", ""]))
    assert preflight.check_push(plan, ["ghcr.io"]) == []
    stood_in = replace(plan, stand_ins=("alpine:3.22",))
    assert "can't be pushed: alpine:3.22" in _texts(preflight.check_push(stood_in, ["ghcr.io"]))
    assert preflight.check_push(_plan(tmp_path), [""]) == []


@pytest.mark.parametrize(
    ("output", "pushes"),
    [
        ("type=registry", True),
        ("type=image,push=true", True),
        ('type=image,"name=a,b", push=1', True),
        ("type=image,PUSH=True", True),
        ("type=image", False),
        ("type=image,push=false", False),
        ("type=registry,push=false", False),
        ("type=image,name=push", False),
        ("type=oci,dest=x,push=true", False),
    ],
)
def test_a_push_is_one_in_buildx_s_own_words_as_well(
    tmp_path: Path, output: str, *, pushes: bool
) -> None:
    write_project(tmp_path)
    plan = replace(_plan(tmp_path, BuildRequest(output=output)), stand_ins=("alpine:3.22",))
    assert bool(preflight.check_push(plan, ["ghcr.io"])) is pushes
    problems = _texts(preflight.check_push(replace(plan, stand_ins=()), [""]))
    assert (f"{output}, but no registry is named" in problems) is pushes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id=token,env=NOPE", ("the secret token has no value: NOPE is not set",)),
        ("ID=token,ENV=NOPE", ("the secret token has no value: NOPE is not set",)),
        ("id=token,env=SET", ()),
        # Set, and to nothing: somebody means it.
        ("id=token,env=NOTHING", ()),
        ("id=token,src=file", ()),
    ],
)
def test_a_secret_without_a_value_is_refused(text: str, said: tuple[str, ...]) -> None:
    found = preflight.unset_secrets([text], {"SET": "x", "NOTHING": ""})
    assert tuple(problem.what for problem in found) == said
    assert {problem.exit_code for problem in found} <= {2}


def test_a_source_that_the_commit_does_not_have_is_told_with_the_way_to_include_it(
    tmp_path: Path,
) -> None:
    made = Checkout(folder=tmp_path, top=tmp_path)
    project = a_project(write_project(tmp_path, dockerfile="FROM scratch\nCOPY gone /\n"))
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    problems = preflight.check_dockerfile(
        replace(plan, checkout=made), project.dockerfile(), DockerIgnore(())
    )
    assert "copies gone, which the commit does not have" in _texts(problems)
    assert "[context] include" in _texts(problems)
