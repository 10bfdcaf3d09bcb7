"""The shape that docs/architecture.md draws, held against the imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from sources import MODULES, PACKAGE, nodes

import buildlib
from buildlib import errors
from buildlib.goreleaser.config_block import BEGIN
from buildlib.tasks.collection import TASKS

pytestmark = pytest.mark.unmeasured
# Modules beside the packages, from the ground up; every package may use them.
GROUND = [
    "errors",
    "distribution",
    "interrupts",
    "files",
    "background",
    "retry",
    "tempfiles",
    "shell",
    "program",
    "version_schemes",
    "executor",
    "terminal",
]
# From the ground up: a package imports only what is listed before it.
PACKAGES = [
    "git",
    "findings",
    "image",
    "docker",
    "dockerfile",
    "config",
    "versioning",
    "project",
    "builders",
    "registry",
    "sign",
    "records",
    "build",
    "containers",
    "bases",
    "goreleaser",
    "policy",
    "scan",
    "reproduce",
    "smoke",
    "diff",
    "publish",
    "doctor",
    "adopt",
    "commands",
    "tasks",
    "nox",
    "__main__",
]
ORDER = [*GROUND, *PACKAGES]
# Who may touch what is outside of this interpreter.
PROCESSES = {"executor", "git.command"}
ENVIRONMENT = {"tasks.session", "git.command", "nox"}


@cache
def _modules() -> dict[str, Path]:
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in MODULES}
    return {name: path for name, path in names.items() if not name.endswith("__init__")}


def _nodes(name: str) -> tuple[ast.AST, ...]:
    return nodes(_modules()[name])


@cache
def _imports(module: str) -> set[str]:
    names: set[str] = set()
    for node in _nodes(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _package(module: str) -> str:
    return module.partition(".")[0]


@cache
def _below(package: str) -> set[str]:
    """Return the packages that one imports anything of."""
    modules = [name for name in _modules() if _package(name) == package]
    names = {name for module in modules for name in _imports(module)}
    inside = {name.removeprefix("buildlib.") for name in names if name.startswith("buildlib.")}
    return {_package(name) for name in inside} & set(ORDER) - {package}


def test_every_module_has_its_place() -> None:
    assert {_package(name) for name in _modules()} == set(ORDER)


@pytest.mark.parametrize("package", ORDER)
def test_packages_import_only_what_is_below(package: str) -> None:
    assert _below(package) <= set(ORDER[: ORDER.index(package)])


def test_no_modules_import_each_other() -> None:
    known = {f"buildlib.{name}": name for name in _modules()}
    found = {name: {known[one] for one in _imports(name) & known.keys()} for name in _modules()}
    TopologicalSorter(found).prepare()  # a circle raises CycleError, which lists its modules


def _picture() -> list[str]:
    """Return an arrow for each import that no longer way through other packages says as well."""
    arrows = {name: _below(name) - set(GROUND) for name in PACKAGES}
    reached: dict[str, set[str]] = {}
    for name in PACKAGES:
        reached[name] = arrows[name].union(*(reached[one] for one in arrows[name]))
    return [
        f"    {name} --> {one}"
        for name in reversed(PACKAGES)
        for one in PACKAGES
        if one in arrows[name] and not any(one in reached[other] for other in arrows[name])
    ]


def test_the_picture_of_the_documentation_is_current() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = page.partition("```mermaid\n")[2].partition("```")[0]
    assert picture.splitlines() == ["flowchart TD", *_picture()]


def test_the_documentation_lists_every_package() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", page, re.MULTILINE)
    assert listed == [*reversed(PACKAGES), *reversed(GROUND)]


@cache
def _names(module: str) -> set[str]:
    return {
        f"{node.value.id}.{node.attr}"
        for node in _nodes(module)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def test_only_the_executor_and_git_start_processes() -> None:
    ways = {"subprocess", "plumbum", "os.system", "os.popen", "os.execvp", "os.fork"}
    assert {name for name in _modules() if (_imports(name) | _names(name)) & ways} == PROCESSES


def test_git_is_started_by_gitpython_alone() -> None:
    calls = [ast.unparse(node.func) for node in _nodes("git.command") if isinstance(node, ast.Call)]
    assert "self._git.execute" in calls
    assert not [call for call in calls if call.startswith("subprocess.")]


def test_only_the_session_and_git_read_the_environment() -> None:
    ways = {"os.environ", "os.getenv", "os.putenv"}
    assert {name for name in _modules() if _names(name) & ways} == ENVIRONMENT


def _calls(module: str) -> set[str]:
    return {
        node.func.id
        for node in _nodes(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_only_the_console_prints() -> None:
    found = {name for name in _modules() if _calls(name) & {"print", "input"}}
    assert found <= {"terminal.console"}


def _endless_waits(module: str) -> set[str]:
    """Return the calls that block until something ends, whatever signal comes just before."""
    blocking = {"wait", "join", "communicate", "acquire", "select"}
    return {
        ast.unparse(node.func)
        for node in _nodes(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in blocking
        and not (node.args or node.keywords)
    }


def test_every_wait_is_made_of_short_ones() -> None:
    found = {name: waits for name in _modules() if (waits := _endless_waits(name))}
    # Of these, `Background` waits in turns.
    assert found == {
        "terminal.activity": {"self._running.wait"},
        "background": {"self.wait"},
        "build.farm": {"each.wait"},
        "publish.gates": {"other.wait"},
        # Of a process that was killed.
        "interrupts": {"process.wait"},
        # On a thread that nothing waits for.
        "smoke.socket_relay": {"back.join"},
    }


def test_nothing_of_this_repository_is_known() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert "dockerutilities" not in path.read_text(encoding="utf-8").lower()


def test_modules_and_functions_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 600, path
    for name in _modules():
        for node in _nodes(name):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.body[0].lineno + 1
                assert lines <= 60, f"{name}: {node.name} has {lines} lines"


def test_every_error_has_a_code_of_its_own() -> None:
    assert errors.BuildlibError.__subclasses__() == [errors.FailureError, errors.CancelledError]
    kinds: list[type[errors.BuildlibError]] = [errors.CancelledError]
    kinds += errors.FailureError.__subclasses__()
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


def _texts(module: str) -> Iterator[str]:
    """Yield the texts of a module, without its documentation."""
    documentation = {id(node.value) for node in _nodes(module) if isinstance(node, ast.Expr)}
    for node in _nodes(module):
        if isinstance(node, ast.Constant) and id(node) not in documentation:
            yield str(node.value)


def test_tasks_are_called_by_their_own_names() -> None:
    assert [task.name.replace("_", "-") for task in TASKS.values()] == [*TASKS]


def test_advice_names_the_program_that_runs() -> None:
    names = "|".join(TASKS)
    advice = re.compile(rf"\binvoke (?:{names})\b|^invoke$")
    # What `init` writes and translates is for the tasks.py that it makes.
    modules = [name for name in _modules() if _package(name) != "adopt"]
    texts = {text for name in modules for text in _texts(name) if advice.search(text)}
    found = texts - set(_texts("program")) - set(_texts("config.config"))
    # A line in a file, whoever writes it.
    assert found == {BEGIN}


def test_every_directory_of_tests_is_collected(pytestconfig: pytest.Config) -> None:
    passed_over = pytestconfig.getini("norecursedirs")
    found = {path.parent for path in Path(__file__).parent.parent.rglob("test_*.py")}
    names = {part for folder in found for part in folder.relative_to(pytestconfig.rootpath).parts}
    assert "build" in names
    assert [one for one in sorted(names) if any(fnmatch(one, bad) for bad in passed_over)] == []
