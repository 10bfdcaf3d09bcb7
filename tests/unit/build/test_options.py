"""Further options of buildx: from the command line and the configuration to the command."""

from __future__ import annotations

import json
from dataclasses import replace
from os.path import normpath
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.build.argv import build_line, buildx_argv, call_argv, check_argv
from buildlib.build.build_image import build_image, handed_over
from buildlib.build.checked_plan import plan_build
from buildlib.build.option_checks import check_buildkit, check_versions
from buildlib.build.options import anchored, given_options
from buildlib.build.plan import BuildPlan
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.build.preflight import needs_builder
from buildlib.config.build_options import CHECKS
from buildlib.config.buildx_options import GIVEN
from buildlib.docker.engine import Builder, Node
from buildlib.errors import BuildlibError, EngineError, InputError, ToolError
from buildlib.executor import Completed
from buildlib.project import Checkout, Project
from buildlib.shell import csv_fields

from fakes import GOOD, FakeDocker, a_console, a_project, words_after, write_project

SAMPLES = {
    "add-host": "db=10.0.0.2",
    "allow": "network.host",
    "annotation": "org.example=x",
    "attest": "type=sbom",
    "build-context": "extra=docker-image://alpine:3.24",
    "cgroup-parent": "/build",
    "iidfile": "/iid",
    "label": "org.example=x",
    "metadata-file": "/metadata.json",
    "network": "none",
    "no-cache-filter": "compile",
    "policy": "filename=/p.rego",
    "resource": "memory=2g",
    "shm-size": "64m",
    "ssh": "default",
    "ulimit": "nofile=1024:2048",
}
# They become another option, or are no option of the build itself; tests below and of tasks.
OTHERS = {"call", "check", "file", "provenance", "sbom"}
CONFIG = """\
[build]
add-hosts = ["db:10.0.0.2"]
allow = ["network.host"]
cgroup-parent = "/build"
network = "none"
no-cache-filter = ["compile"]
resources = ["memory=2g"]
shm-size = "64m"
ssh = ["default", "key=id_ed25519"]
ulimits = ["nofile=1024:2048"]
policy = ["filename=p.rego"]
attest = ["type=sbom"]

[build.annotations]
"org.example" = "{version}"
"index,manifest:both" = "x"
"index:one" = "x"

[build.contexts]
extra = "app"
"""


def _plan(root: Path, config: str = "", **request: object) -> BuildPlan:
    project = a_project(write_project(root, f'image = "thing"\n{config}'))
    wanted = BuildRequest(**request)  # type: ignore[arg-type]
    return make_build_plan(project, wanted, project.dockerfile(), metadata_file=Path("/m.json"))


def _options(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"options": given_options(pairs, Path("/here")), "attests": True}


@pytest.mark.parametrize("name", [option.name for option in GIVEN if option.name not in OTHERS])
def test_each_option_reaches_buildx(tmp_path: Path, name: str) -> None:
    argv = buildx_argv(_plan(tmp_path, **_options((name, SAMPLES[name]))))
    assert SAMPLES[name] in words_after(argv, f"--{name}")


@pytest.mark.parametrize("call", ["outline", "check,format=json"])
def test_a_call_is_given_what_is_read_and_nothing_of_the_image(tmp_path: Path, call: str) -> None:
    given = _options(*SAMPLES.items())
    argv = call_argv(_plan(tmp_path, target="compile", platforms=("linux/arm64",), **given), call)
    assert words_after(argv, "--call") == [call]
    assert words_after(argv, "--progress") == ["quiet"]
    assert words_after(argv, "--platform") == ["linux/arm64"]
    assert words_after(argv, "--build-context") == [SAMPLES["build-context"]]
    unwanted = {"--tag", "--label", "--annotation", "--attest", "--iidfile", "--metadata-file"}
    assert not unwanted.union({"--load", "--output"}) & set(argv)


def test_the_configuration_gives_every_build_its_options(tmp_path: Path) -> None:
    plan = _plan(tmp_path, CONFIG)
    assert plan.options == (
        ("add-host", "db=10.0.0.2"),
        ("allow", "network.host"),
        ("annotation", "manifest:both=x"),
        ("annotation", "org.example=1.2.3"),
        ("cgroup-parent", "/build"),
        ("network", "none"),
        ("no-cache-filter", "compile"),
        ("policy", f"filename={tmp_path}/p.rego"),
        ("resource", "memory=2g"),
        ("shm-size", "64m"),
        ("ssh", "default"),
        ("ssh", f"key={tmp_path}/id_ed25519"),
        ("ulimit", "nofile=1024:2048"),
    )
    assert plan.build_contexts == (("extra", f"{tmp_path}/app"),)
    assert "--provenance=false" in buildx_argv(plan)


def test_an_index_is_annotated_where_there_is_one(tmp_path: Path) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    plan = _plan(tmp_path, CONFIG, output="oci", platforms=platforms)
    assert plan.values("annotation") == (
        "index,manifest:both=x",
        "index:one=x",
        "org.example=1.2.3",
    )


def test_attestations_are_for_archives_and_pushes_of_docker_build(tmp_path: Path) -> None:
    made = {
        output: _plan(tmp_path, CONFIG, output=output, attests=True) for output in ("oci", "load")
    }
    assert made["oci"].values("attest") == ("type=sbom",)
    assert made["load"].values("attest") == ()
    assert _plan(tmp_path, CONFIG, output="oci").values("attest") == ()
    asked = _plan(tmp_path, CONFIG, **_options(("provenance", "mode=max"), ("sbom", "false")))
    assert asked.values("attest") == ("type=provenance,mode=max", "type=sbom,disabled=true")
    assert not any(word.startswith("--provenance") for word in buildx_argv(asked))
    assert asked.attests
    assert not _plan(tmp_path, **_options(("provenance", "false"))).attests


def test_files_have_neither_annotations_nor_attestations(tmp_path: Path) -> None:
    given = _options(("annotation", "a=b"), ("attest", "type=sbom"), ("network", "host"))
    for output in ("local", "cacheonly", "type=local,dest=x", "type=tar,dest=x"):
        assert _plan(tmp_path, output=output, **given).options == (("network", "host"),)


def test_an_option_of_the_command_line_replaces_the_configured_one_of_its_name(
    tmp_path: Path,
) -> None:
    given = _options(
        ("add-host", "db:10.0.0.9"),
        ("add-host", "db:10.0.0.8"),
        ("add-host", "other:10.0.0.1"),
        ("network", "host"),
        ("network", "default"),
        ("ulimit", "nofile=1"),
        ("ssh", "key"),
        ("allow", "security.insecure"),
        ("annotation", "org.example=y"),
        ("build-context", "extra=docker-image://x"),
    )
    plan = _plan(tmp_path, CONFIG, **given)
    assert plan.values("add-host") == ("db=10.0.0.9", "db=10.0.0.8", "other=10.0.0.1")
    assert plan.values("network") == ("default",)
    assert plan.values("ulimit") == ("nofile=1",)
    assert plan.values("ssh") == ("default", "key")
    assert plan.values("allow") == ("network.host", "security.insecure")
    assert "org.example=y" in plan.values("annotation")
    assert "org.example=1.2.3" not in plan.values("annotation")
    assert plan.build_contexts == (("extra", "docker-image://x"),)


def test_no_stage_is_named_where_no_cache_is_used(tmp_path: Path) -> None:
    assert _plan(tmp_path, CONFIG, no_cache=True).values("no-cache-filter") == ()


def test_a_label_wins_over_a_configured_one(tmp_path: Path) -> None:
    given = _options(("label", "org.example=given"), ("label", "empty="), ("label", "bare"))
    plan = _plan(tmp_path, '[labels]\n"org.example" = "configured"\n', **given)
    labels = dict(plan.labels)
    assert (labels["org.example"], labels["empty"], labels["bare"]) == ("given", "", "")


DOCKERFILE = """\
FROM golang:1 AS compile
FROM notes AS second
FROM compile
COPY --from=extra / /
COPY --from=second / /
"""


def test_a_context_is_no_base_image_but_the_image_that_it_stands_for(tmp_path: Path) -> None:
    write_project(tmp_path, dockerfile=DOCKERFILE)
    project = a_project(tmp_path)
    given = given_options(
        [
            ("build-context", f"{name}={source}")
            for name, source in {
                "extra": "app",
                "compile": f"docker-image://alpine@sha256:{'1' * 64}",
                "notes": "https://example.org/notes.git",
            }.items()
        ],
        tmp_path,
    )
    plan = make_build_plan(project, BuildRequest(options=given), project.dockerfile())
    # The stage of that name is not built, and its base is not needed.
    assert plan.bases == (f"alpine@sha256:{'1' * 64}",)
    assert dict(plan.labels)["org.opencontainers.image.base.name"] == "docker.io/library/alpine"
    assert dict(plan.build_contexts)["extra"] == f"{tmp_path}/app"


def test_a_context_wins_over_another_source_of_a_base_image(tmp_path: Path) -> None:
    bases = '[base-images]\n"alpine:3.22" = "docker-image://mirror/alpine"\n'
    plan = _plan(tmp_path, bases, **_options(("build-context", "alpine:3.22=docker-image://mine")))
    assert plan.build_contexts == (("alpine:3.22", "docker-image://mine"),)


def test_the_image_of_a_context_may_have_another_source_as_a_base_has(tmp_path: Path) -> None:
    source = '{ source = "oci-layout:///bases/alpine", stand-in = true }'
    bases = f'[base-images]\n"alpine:3.24" = {source}\n'
    given = _options(
        ("build-context", "unused=docker-image://alpine:3.24"),
        ("build-context", "alpine:3.22=docker-image://alpine:3.24"),
    )
    plan = _plan(tmp_path, bases, **given)
    layout = "oci-layout:///bases/alpine"
    assert plan.build_contexts == (("alpine:3.22", layout), ("unused", layout))
    assert plan.stand_ins == ("alpine:3.24",)
    assert (
        _plan(tmp_path, bases, **_options(("build-context", SAMPLES["build-context"]))).stand_ins
        == ()
    )


def _of_commit(root: Path, config: str, tmp_path: Path) -> Project:
    project = a_project(write_project(root, f'image = "thing"\n{config}'))
    files = tmp_path / "checkout" / "files"
    files.mkdir(parents=True)
    write_project(files)
    return replace(project, checkout=Checkout(folder=tmp_path / "checkout", top=root))


def test_a_release_takes_a_directory_from_the_commit(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    project = _of_commit(root, CONFIG, tmp_path)
    plan = make_build_plan(project, BuildRequest(), project.dockerfile())
    files = tmp_path / "checkout" / "files"
    assert plan.build_contexts == (("extra", f"{files}/app"),)
    assert plan.values("policy") == (f"filename={files}/p.rego",)
    assert 'extra="$CONTEXT"/files/app' in build_line(plan)


def test_a_release_takes_no_directory_outside_of_the_repository(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    project = _of_commit(root, '[build.contexts]\nextra = "../other"\n', tmp_path)
    with pytest.raises(InputError, match="is in no commit"):
        make_build_plan(project, BuildRequest(), project.dockerfile())


PROBLEMS = {
    "a label": (("label", "API_TOKEN=hunter2hunter2"), "label API_TOKEN looks like a secret"),
    "an annotation": (
        ("annotation", "index:API_TOKEN=hunter2hunter2"),
        "annotation API_TOKEN looks like a secret",
    ),
    "a stage": (("no-cache-filter", "compil"), "no stage 'compil'"),
    "a directory": (("build-context", "a=nowhere"), "the build context a is not a directory"),
    "a layout": (("build-context", "a=oci-layout://app"), "the build context a is not an OCI"),
    "an agent": (("ssh", "default"), "ssh default: no agent is running"),
    "a key": (("ssh", "x=hunter2"), "ssh x: a socket or key is not there"),
    "a policy": (("policy", "filename=p.rego"), "policy not found"),
    "a policy elsewhere": (("policy", "filename=../p.rego"), "is not in the build context"),
    "a folder": (("iidfile", "nowhere/iid"), "--iidfile"),
    "another folder": (("metadata-file", "app"), "--metadata-file"),
}


@pytest.mark.parametrize(("option", "said"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_wrong_is_said_before_the_build(
    tmp_path: Path, option: tuple[str, str], said: str
) -> None:
    root = tmp_path.resolve()
    project = a_project(write_project(root))
    request = BuildRequest(options=given_options([option], root))
    with pytest.raises(InputError) as caught:
        plan_build(project, request)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_id_needs_an_image(tmp_path: Path) -> None:
    project = a_project(write_project(tmp_path))
    options = (("iidfile", f"{tmp_path}/iid"),)
    for output in ("local", "cacheonly", f"type=tar,dest={tmp_path}/x"):
        with pytest.raises(InputError, match="--iidfile needs an image"):
            plan_build(project, BuildRequest(options=options, output=output))


def test_a_good_build_has_no_problem_and_writes_its_metadata_where_it_is_told(
    tmp_path: Path,
) -> None:
    root = tmp_path.resolve()
    project = a_project(write_project(root), env={"SSH_AUTH_SOCK": "/agent"})
    (root / "p.rego").touch()
    (root / "id").touch()
    given = [
        ("ssh", "default"),
        ("ssh", "other=id"),
        ("policy", "filename=p.rego,strict=true"),
        ("metadata-file", "m.json"),
        ("build-context", "a=app"),
        ("label", "API_TOKEN_URL=https://example.org"),
    ]
    docker = FakeDocker()
    docker.answers[("docker", "info")] = replace(
        docker.answers[("docker", "info")],
        stdout=docker.answers[("docker", "info")].stdout.replace("v0.13.1", "v0.31.0"),
    )
    docker.answers[("docker", "buildx", "inspect")] = Completed(code=0, stdout=INSPECTED)
    request = BuildRequest(options=given_options(given, root))
    result = build_image(project, request, docker, a_console()[0])
    assert result.digest == "sha256:d"
    assert json.loads((root / "m.json").read_text("utf-8")) == {"containerimage.digest": "sha256:d"}


INSPECTED = "Name: default\nDriver: docker\n\nNodes:\nName: default\nStatus: running\n"
VERSIONS = {
    "call": (("call", "check"), "0.14.1", "0.15.0", "--call and --check"),
    "policy": (("policy", "disabled=true"), "0.30.1", "0.31.0", "--policy"),
    "resource": (("resource", "memory=1g"), "0.34.0", "v0.35.0", "--resource"),
    "device": (("allow", "device=x"), "0.20.0", "0.21.0", "--allow device"),
    "delete": (("allow", "buildx.local.delete"), "0.34.9", "0.35.0", "--allow buildx.local.delete"),
}


@pytest.mark.parametrize(("option", "old", "new", "shown"), VERSIONS.values(), ids=VERSIONS)
def test_an_older_buildx_is_told_since_when_there_is_an_option(
    option: tuple[str, str], old: str, new: str, shown: str
) -> None:
    (problem,) = check_versions([option, option], replace(GOOD, buildx=old))
    assert isinstance(problem, ToolError)
    assert problem.what == f"docker buildx {old} is too old for {shown}"
    assert "it came with 0." in problem.why
    assert not check_versions([option], replace(GOOD, buildx=new))
    assert not check_versions([option], replace(GOOD, buildx="(devel)"))


@pytest.mark.parametrize(
    ("option", "old", "new"),
    [(("policy", "reset=true"), "v0.26.3", "v0.27.0"), (("resource", "memory=1g"), "0.30", "0.31")],
)
def test_an_option_that_an_older_buildkit_ignores_is_an_error(
    option: tuple[str, str], old: str, new: str
) -> None:
    nodes = (Node(name="a", buildkit=new), Node(name="b", buildkit=old))
    builder = Builder(name="x", driver="remote", nodes=nodes)
    (problem,) = check_buildkit([option, option], builder)
    assert problem.what == f"the builder's BuildKit {old} is too old for --{option[0]}"
    for version in (new, "unknown"):
        fine = replace(builder, nodes=(Node(name="a", buildkit=version),))
        assert not check_buildkit([option], fine)
    assert not check_buildkit([("network", "none")], builder)


def test_a_builder_is_asked_where_its_buildkit_matters(tmp_path: Path) -> None:
    assert needs_builder(_plan(tmp_path, **_options(("resource", "memory=1g"))), GOOD)
    assert not needs_builder(_plan(tmp_path, **_options(("network", "none"))), GOOD)


def test_an_older_buildx_does_not_apply_a_policy_without_a_warning(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    (root / "Dockerfile.rego").touch()
    result = build_image(a_project(root), BuildRequest(), FakeDocker(), a_console()[0])
    said = "docker buildx v0.13.1 does not apply Dockerfile.rego: policies came with 0.31"
    assert said in result.warnings
    (root / "Dockerfile.rego").unlink()
    assert not build_image(a_project(root), BuildRequest(), FakeDocker(), a_console()[0]).warnings


def test_all_older_options_are_those_of_the_oldest_supported_buildx() -> None:
    older = [(name, text) for name, text in SAMPLES.items() if name not in {"policy", "resource"}]
    assert not check_versions(older, GOOD)


def test_attestations_need_an_image_store_that_has_an_index(tmp_path: Path) -> None:
    docker = FakeDocker()
    info = json.loads(docker.answers[("docker", "info")].stdout) | {"DriverStatus": []}
    docker.answers[("docker", "info")] = replace(
        docker.answers[("docker", "info")], stdout=json.dumps(info)
    )
    docker.answers[("docker", "buildx", "inspect")] = Completed(code=0, stdout=INSPECTED)
    project = a_project(write_project(tmp_path))
    with pytest.raises(EngineError, match="can't do attestations"):
        build_image(
            project, BuildRequest(options=(("attest", "type=sbom"),)), docker, a_console()[0]
        )


@pytest.mark.parametrize(
    "message",
    [
        "granting entitlement network.host is not allowed by build daemon configuration",
        "failed to load LLB: network.host is not allowed",
    ],
)
def test_an_entitlement_that_is_refused_is_explained(tmp_path: Path, message: str) -> None:
    docker = FakeDocker(code=1)
    docker.lines = [f"ERROR: {message}"]
    with pytest.raises(EngineError, match=r"may not use network\.host") as caught:
        build_image(a_project(write_project(tmp_path)), BuildRequest(), docker, a_console()[0])
    assert "--allow-insecure-entitlement network.host" in caught.value.hint


def test_a_policy_goes_with_the_copy_of_the_dockerfile(tmp_path: Path) -> None:
    root = write_project(tmp_path / "", dockerfile="FROM scratch\nCOPY . .\n")
    (root / "Dockerfile.rego").write_text("package docker\n", encoding="utf-8")
    project = a_project(root)
    handover = tmp_path / "handover"
    plan = make_build_plan(project, BuildRequest(), project.dockerfile(), handover=handover)
    assert plan.handover
    assert f"cp -- {root}/Dockerfile.rego {handover}/Dockerfile.rego && " in build_line(plan)
    with handed_over(plan):
        assert (handover / "Dockerfile.rego").read_text("utf-8") == "package docker\n"
    assert not handover.exists()


def test_the_check_of_the_policy_knows_the_contexts(tmp_path: Path) -> None:
    argv = check_argv(_plan(tmp_path, CONFIG))
    assert words_after(argv, "--build-context") == [f"extra={tmp_path}/app"]


PATHS = {
    "iidfile": ("iid", "/here/iid"),
    "metadata-file": ("/m.json", "/m.json"),
    "ssh": ("x=a,/b", "x=/here/a,/b"),
    "build-context": ("x=../a", "x=/here/../a"),
    "policy": ('"filename=a,b",strict=true', '"filename=/here/a,b",strict=true'),
}


@pytest.mark.parametrize(("name", "texts"), PATHS.items(), ids=PATHS)
def test_a_path_is_relative_to_where_it_was_typed(name: str, texts: tuple[str, str]) -> None:
    assert given_options([(name, texts[0])], Path("/here")) == ((name, texts[1]),)


def test_a_layout_is_relative_too_and_an_address_is_not_a_path() -> None:
    assert anchored("build-context", "x=oci-layout://a:1", Path("/h")) == "x=oci-layout:///h/a:1"
    assert anchored("build-context", "x=git@h:a", Path("/h")) == "x=git@h:a"
    assert anchored("policy", "filename=cwd://a", Path("/h")) == "filename=cwd://a"


def test_a_key_below_a_directory_with_a_comma_can_not_be_handed_over() -> None:
    with pytest.raises(InputError, match="has a comma"):
        given_options([("ssh", "x=key")], Path("/here, it is"))


def test_a_value_that_is_no_path_is_refused_with_what_it_has_to_be() -> None:
    with pytest.raises(InputError, match="--network can't be 'bridge'") as caught:
        given_options([("network", "bridge")], Path())
    assert "one of default, none, host" in caught.value.hint
    with pytest.raises(BuildlibError):
        given_options([("sbom", '"')], Path())


NAMES = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1)


@given(NAMES)
def test_any_directory_survives_as_a_context(name: str) -> None:
    ((_, text),) = given_options([("build-context", f"extra=./{name}")], Path("/here"))
    # buildx cuts at the first sign alone.
    assert text.partition("=")[2] == str(Path("/here") / f"./{name}")


@given(NAMES)
def test_any_file_survives_as_a_policy(name: str) -> None:
    quoted = '"' + f"filename={name}".replace('"', '""') + '"'
    ((_, text),) = given_options([("policy", f"{quoted},strict=true")], Path("/here"))
    home = name == "~" or name.startswith("~/")
    place = normpath(Path("/here") / (Path(name).expanduser() if home else name))
    expected = name if name.startswith("cwd://") else place
    assert csv_fields(text) == [f"filename={expected}", "strict=true"]


@given(st.text(min_size=1))
def test_no_host_is_split_at_a_comma_by_buildx(text: str) -> None:
    try:
        hosts = CHECKS["add-host"](text)
    except Exception:  # noqa: BLE001 - what is refused is the other test's
        hosts = ("a=10.0.0.1",)
    assert all(csv_fields(host) == [host] for host in hosts)
