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
    "config.variables",
    "interrupts",
    "streams",
    "files",
    "background",
    "image.platform",
    "image.reference",
    "version_schemes",
    "config.parse",
    "findings.secrets",
    "config.tag_rules",
    "findings.suppressions",
    "config.expectations",
    "config.containers",
    "image.runtime_config",
    "findings.policy_rules",
    "findings.policy_finding",
    "config.policy",
    "findings.vulnerability",
    "config.scan",
    "config.bases",
    "config.goreleaser",
    "config.publish",
    "config.signing",
    "config.tables",
    "config.builders",
    "config.toml_lines",
    "config.config",
    "config.schema",
    "containers.health",
    "git.command",
    "git.hidden_changes",
    "git.facts",
    "versioning.version",
    "versioning.local_tags",
    "versioning.preconditions",
    "versioning.tag_plan",
    "git.history",
    "versioning.next_tag",
    "versioning.explain",
    "versioning.placeholders",
    "build.labels",
    "dockerfile.variables",
    "dockerfile.lines",
    "dockerfile.parser",
    "dockerfile.ignore",
    "project",
    "build.plan",
    "build.argv",
    "builders.commands",
    "build.context",
    "build.planner",
    "executor",
    "docker.engine",
    "build.preflight",
    "build.progress",
    "console",
    "build.result",
    "tempfiles",
    "removal",
    "build.included_files",
    "build.lfs",
    "git.repository",
    "build.checkout",
    "image.elf",
    "image.limits",
    "image.tar_header",
    "image.tar_stream",
    "image.documents",
    "image.docker_archive",
    "image.layer",
    "image.root_filesystem",
    "image.blobs",
    "image.archive",
    "registry.limits",
    "registry.headers",
    "registry.connection",
    "registry.credentials",
    "registry.address",
    "registry.response",
    "registry.request",
    "registry.transport",
    "registry.repository",
    "registry.claim",
    "registry.tags",
    "registry.transfer",
    "registry.pull",
    "bases.end_of_life",
    "bases.newer_tags",
    "dockerfile.pins",
    "bases.check",
    "image.size",
    "image.unknown_packages",
    "image.sbom",
    "image.size_record",
    "findings.sarif",
    "image.user_and_shell",
    "policy.secret_checks",
    "policy.image_checks",
    "policy.dockerfile_checks",
    "policy.report",
    "policy.sarif",
    "scan.scanner",
    "scan.grype",
    "scan.trivy",
    "scan.report",
    "scan.sarif",
    "scan.check",
    "build.builder_check",
    "build.inherited_labels",
    "build.build_image",
    "policy.build_checks",
    "policy.check",
    "reproduce.variations",
    "reproduce.context_copy",
    "reproduce.diff",
    "reproduce.timestamps",
    "reproduce.cache_mounts",
    "reproduce.report",
    "reproduce.rebuild",
    "docker.http",
    "docker.endpoint",
    "docker.ping",
    "containers.plan",
    "containers.inspect",
    "containers.port",
    "containers.health_probe",
    "containers.services",
    "containers.leftovers",
    "containers.container",
    "containers.data_places",
    "containers.data_directory",
    "containers.runner",
    "smoke.report",
    "smoke.junit",
    "smoke.processes",
    "smoke.sandbox",
    "smoke.services",
    "smoke.socket_relay",
    "smoke.server",
    "smoke.checks",
    "smoke.load_image",
    "smoke.runner",
    "smoke.check_names",
    "sign.cosign",
    "sign.signer",
    "sign.version_check",
    "publish.plan",
    "publish.dry_run",
    "publish.receipt",
    "publish.fingerprint",
    "publish.checks",
    "publish.progress",
    "publish.tagger",
    "publish.buildkit_provenance",
    "publish.attestations",
    "publish.gates",
    "publish.provenance",
    "publish.signing",
    "publish.publisher",
    "publish.report",
    "publish.rollback",
    "goreleaser.templates",
    "goreleaser.config_block",
    "builders.ownership",
    "builders.probe",
    "builders.manager",
    "doctor",
    "tasks.session",
    "commands.build",
    "tasks.build",
    "commands.version",
    "tasks.project",
    "commands.info",
    "tasks.info",
    "tasks.clean",
    "commands.connect",
    "commands.smoke",
    "commands.policy",
    "tasks.smoke",
    "commands.size",
    "commands.login",
    "commands.registries",
    "commands.scan",
    "tasks.check",
    "tasks.reproduce",
    "commands.run",
    "tasks.run",
    "commands.goreleaser",
    "tasks.goreleaser",
    "commands.bases",
    "tasks.bases",
    "commands.publish",
    "tasks.release",
    "commands.sign",
    "tasks.signing",
    "commands.builder",
    "tasks.builder",
    "tasks.options",
    "tasks.collection",
]
# Who may touch what is outside of this interpreter.
PROCESSES = {"executor", "git.command"}
ENVIRONMENT = {"tasks.session", "git.command"}


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
    calls = [ast.unparse(node.func) for node in _nodes("git.command") if isinstance(node, ast.Call)]
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
