"""The shape that docs/architecture.md draws, held against the imports."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import buildlib
from buildlib import errors

PACKAGE = Path(buildlib.__file__).parent

# From the ground up: a module imports only what stands before it.
ORDER = [
    "errors",
    "variables",
    "interrupts",
    "streams",
    "files",
    "background",
    "platforms",
    "reference",
    "precedence",
    "values",
    "secrets",
    "tagrules",
    "ignores",
    "expectations",
    "surroundings",
    "imageconfig",
    "policy.rules",
    "policy.finding",
    "policy.settings",
    "scan.finding",
    "scan.settings",
    "bases.settings",
    "goreleaser.settings",
    "publish.settings",
    "sign.settings",
    "settings",
    "builders.settings",
    "places",
    "config",
    "schema",
    "health",
    "gitcommand",
    "hidden",
    "vcs",
    "version",
    "tags",
    "refusals",
    "tagplan",
    "lineage",
    "release",
    "explain",
    "templates",
    "labels",
    "expansion",
    "dockerlines",
    "dockerfile",
    "dockerignore",
    "project",
    "plan",
    "command",
    "builders.plan",
    "context",
    "planning",
    "executor",
    "engine",
    "preflight",
    "progress",
    "console",
    "report",
    "passing",
    "removal",
    "included",
    "lfs",
    "repository",
    "checkout",
    "elf",
    "limits",
    "tarheader",
    "tarstream",
    "documents",
    "dockerarchive",
    "layer",
    "rootfs",
    "blobs",
    "oci",
    "registry.limits",
    "registry.header",
    "registry.connection",
    "registry.credentials",
    "registry.address",
    "registry.answer",
    "registry.exchange",
    "registry.transport",
    "registry.client",
    "registry.claim",
    "registry.tags",
    "registry.push",
    "registry.pull",
    "bases.lifetime",
    "bases.newer",
    "bases.pins",
    "bases.flow",
    "size",
    "unknown",
    "sbom",
    "sizerecord",
    "sarif",
    "policy.commands",
    "policy.leaks",
    "policy.image",
    "policy.source",
    "policy.report",
    "policy.sarif",
    "scan.scanner",
    "scan.grype",
    "scan.trivy",
    "scan.report",
    "scan.sarif",
    "scan.flow",
    "builders.check",
    "inherited",
    "build",
    "policy.buildchecks",
    "policy.flow",
    "reproduce.variation",
    "reproduce.copy",
    "reproduce.compare",
    "reproduce.epoch",
    "reproduce.cache",
    "reproduce.result",
    "reproduce.flow",
    "run.call",
    "run.endpoint",
    "run.ping",
    "run.plan",
    "run.ask",
    "run.reach",
    "run.probe",
    "run.services",
    "run.leftovers",
    "run.container",
    "run.places",
    "run.data",
    "run.flow",
    "smoke.result",
    "smoke.junit",
    "smoke.observe",
    "smoke.lab",
    "smoke.services",
    "smoke.sockets",
    "smoke.server",
    "smoke.checks",
    "smoke.image",
    "smoke.flow",
    "smoke.names",
    "sign.cosign",
    "sign.flow",
    "sign.name",
    "publish.plan",
    "publish.script",
    "publish.receipt",
    "publish.fingerprint",
    "publish.checks",
    "publish.course",
    "publish.tagging",
    "publish.buildkit",
    "publish.attestations",
    "publish.gates",
    "publish.statement",
    "publish.signing",
    "publish.flow",
    "publish.report",
    "publish.rollback",
    "goreleaser.templates",
    "goreleaser.block",
    "builders.record",
    "builders.probe",
    "builders.flow",
    "doctor",
    "tasks.edge",
    "tasks.building",
    "tasks.docker",
    "tasks.telling",
    "tasks.version",
    "tasks.showing",
    "tasks.info",
    "tasks.clean",
    "tasks.connecting",
    "tasks.smoking",
    "tasks.judging",
    "tasks.smoke",
    "tasks.sizing",
    "tasks.login",
    "tasks.registries",
    "tasks.scanning",
    "tasks.image",
    "tasks.reproduce",
    "tasks.running",
    "tasks.run",
    "tasks.goreleasing",
    "tasks.goreleaser",
    "tasks.refreshing",
    "tasks.bases",
    "tasks.publishing",
    "tasks.publish",
    "tasks.signed",
    "tasks.signing",
    "tasks.making",
    "tasks.builder",
    "tasks.options",
    "tasks.collection",
]
# Who may touch what is outside of this interpreter.
PROCESSES = {"executor", "gitcommand"}
ENVIRONMENT = {"tasks.edge", "gitcommand"}


def _modules() -> dict[str, ast.Module]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not name.endswith("__init__"):
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = _modules()


@cache
def _nodes(name: str) -> list[ast.AST]:
    return list(ast.walk(MODULES[name]))


@cache
def _imports(module: str) -> set[str]:
    names: set[str] = set()
    for node in _nodes(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_has_its_place() -> None:
    assert set(MODULES) == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_one_way(name: str) -> None:
    known = {f"buildlib.{module}" for module in ORDER}
    below = {f"buildlib.{module}" for module in ORDER[: ORDER.index(name)]}
    assert (_imports(name) & known) <= below


@cache
def _names(module: str) -> set[str]:
    return {
        f"{node.value.id}.{node.attr}"
        for node in _nodes(module)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


@pytest.mark.parametrize("name", sorted(set(ORDER) - PROCESSES))
def test_only_the_executor_and_git_start_processes(name: str) -> None:
    assert not _imports(name) & {"subprocess", "plumbum"}
    assert not _names(name) & {"os.system", "os.popen", "os.execvp", "os.fork"}


def test_git_is_started_by_gitpython_alone() -> None:
    calls = [ast.unparse(node.func) for node in _nodes("gitcommand") if isinstance(node, ast.Call)]
    assert "self._git.execute" in calls
    assert not [call for call in calls if call.startswith("subprocess.")]


@pytest.mark.parametrize("name", sorted(set(ORDER) - ENVIRONMENT))
def test_only_the_edge_reads_the_environment(name: str) -> None:
    assert not _names(name) & {"os.environ", "os.getenv", "os.putenv"}


@pytest.mark.parametrize("name", sorted(set(ORDER) - {"console"}))
def test_only_the_console_prints(name: str) -> None:
    calls = {
        node.func.id
        for node in _nodes(name)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"print", "input"}


def test_nothing_of_this_repository_is_known() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert "dockerutilities" not in path.read_text(encoding="utf-8").lower()


def test_modules_and_functions_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 600, path
    for name in MODULES:
        for node in _nodes(name):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.body[0].lineno + 1
                assert lines <= 60, f"{name}: {node.name} has {lines} lines"


def test_every_error_has_a_code_of_its_own() -> None:
    kinds = errors.BuildlibError.__subclasses__()
    codes = {kind.__name__: kind.exit_code for kind in kinds if kind is not errors.ProblemsError}
    assert sorted(codes.values()) == [2, 3, 4, 5, 6, 7, 8, 130]
    assert len(set(codes.values())) == len(codes)


def test_one_problem_is_itself_and_many_are_one() -> None:
    errors.raise_problems([])
    with pytest.raises(errors.ToolError):
        errors.raise_problems([errors.ToolError("x")])
    with pytest.raises(errors.ProblemsError) as caught:
        errors.raise_problems([errors.EngineError("x"), errors.ToolError("y")])
    assert errors.exit_code_of(caught.value) == 3
    nested = errors.ProblemsError([caught.value, errors.GateError("z")])
    assert [problem.exit_code for problem in nested.problems] == [3, 4, 7]


def test_the_public_interface_is_what_it_says() -> None:
    for name in buildlib.__all__:
        assert getattr(buildlib, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = buildlib.nothing
    assert (PACKAGE / "py.typed").is_file()


def test_no_message_names_a_script_of_this_repository() -> None:
    own = ("scripts/", "bootstrap.sh", "standins.py", "gotools", "nox -s")
    said = {
        (path.name, name)
        for path in PACKAGE.rglob("*.py")
        for name in own
        if name in path.read_text(encoding="utf-8")
    }
    assert said == set()
