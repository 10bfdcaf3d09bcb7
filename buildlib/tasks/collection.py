"""All tasks as one flat Invoke collection, and the list of them."""

from __future__ import annotations

import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import Task

from buildlib.errors import InputError
from buildlib.program import program_of
from buildlib.tasks.completion import Completion, completed_words
from buildlib.tasks.images import Scope, for_images
from buildlib.tasks.options import CommandLine, check_values, context_of, fresh
from buildlib.tasks.session import answer, environment, refusal
from buildlib.tasks.values import Values

# By the work that they are for, in the order in which it is done: each with the module that has it,
# as `module.function`.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "Build": (
        "build.docker_build",
        "build.docker_why",
        "build.docker_report",
        "build.binary",
        "build.docker_builder",
        "build.bake",
    ),
    "Run": (
        "run.docker_run",
        "run.docker_status",
        "run.docker_logs",
        "run.docker_shell",
        "run.docker_stop",
        "run.docker_clean",
    ),
    "Check": (
        "check.docker_smoke",
        "check.docker_policy",
        "check.docker_scan",
        "check.docker_size",
        "check.docker_sbom",
        "check.docker_diff",
        "check.docker_reproduce",
    ),
    "Release": (
        "release.docker_login",
        "project.tag",
        "release.docker_rehearse",
        "release.docker_publish",
        "release.docker_verify",
        "release.docker_rollback",
        "release.docker_promote",
        "release.docker_push",
        "release.docker_sign",
        "release.goreleaser_config",
    ),
    "Maintain": (
        "adopt.init",
        "project.doctor",
        "project.version",
        "project.config",
        "check.docker_bases",
        "project.clean",
        "project.completion",
    ),
}
# The others work on one image after the other, where a project has several.
_SCOPES: Final = {
    "build.docker_build": Scope.BUILD,
    "build.bake": Scope.TOGETHER,
    "build.docker_builder": Scope.PROJECT,
    "adopt.init": Scope.NOTHING,
    "project.completion": Scope.NOTHING,
    "project.tag": Scope.TAG,
    **dict.fromkeys(
        (
            *("build.docker_report", "run.docker_run", "run.docker_logs", "run.docker_shell"),
            *("release.docker_push", "release.docker_promote", "release.docker_rollback"),
            *("release.docker_sign", "release.docker_verify", "release.goreleaser_config"),
        ),
        Scope.ONE,
    ),
}


@cache
def _task(place: str) -> Task[Any]:
    """Load a task, with the options for several images."""
    module, _, function = place.partition(".")
    task: Task[Any] = getattr(import_module(f"buildlib.tasks.{module}"), function)
    return for_images(task, _SCOPES.get(place, Scope.EACH))


class Tasks(Mapping[str, Task[Any]]):
    """Tasks by the names that they are called by; the module of one is loaded when it is taken."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Task[Any]:
        """Load a task."""
        return _task(self._places[name])

    def __contains__(self, name: object) -> bool:
        """Return whether there is one of that name, without loading it."""
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        """Yield every name."""
        return iter(self._places)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places)


def _called(place: str) -> str:
    return place.partition(".")[2].replace("_", "-")


_PLACES: Final = {_called(place): place for group in GROUPS.values() for place in group}
TASKS: Final = Tasks(_PLACES)
# In a collection of their own; the short name of docker-clean would be that of clean.
_SHORT: Final = Tasks(
    {
        name if name == "docker-clean" else name.removeprefix("docker-"): place
        for name, place in _PLACES.items()
    }
)
_NARROWEST: Final = 20
_FOOTER: Final = "{} TASK --help explains a task and its options."


def collection(
    root: Path | None = None, *, complete: bool = False, nested: bool = False, name: str = "image"
) -> Collection:
    """Return the tasks, to be mounted as `namespace` or added to a repository's own.

    Args:
        root: where the project's configuration is looked for, upwards; default: the directory
            that Invoke was started in.
        complete: the repository has no tasks but these: a name or an option that none of them has
            is refused with a suggestion, `invoke` and `invoke --list` list them by their work, and
            only those that the command line names are returned.
        nested: to be added to a namespace that has tasks of the same names: they are called
            `image.build`, `image.clean`, ….
        name: that comes before the dot.

    Raises:
        Exit: the command line has a word that no task knows, or an option of ours without its
            value (code 2); or it asked for what was printed here (code 0).
    """
    names: Mapping[str, Task[Any]] = _SHORT if nested else TASKS
    mounted = names
    # Here, as Invoke reads the options only after the tasks are known, and has no other place.
    if program_of(sys.argv[0]):
        if nested:
            names = {f"{name}.{called}": task for called, task in names.items()}
        complete = complete and not nested
        _complete(names, root, complete=complete)
        try:
            # A task that is not ours may have a name of ours, and options of its own.
            line = _answered(names) if complete else None
            if nested:
                CommandLine(sys.argv, names).check_first(f"{name}.")
            check_values(sys.argv, names)
            if line:
                line.check()
                # Invoke prepares and copies every option of every task that it is given.
                mounted = line.tasks
        except InputError as error:
            raise refusal(error, sys.argv) from None
    namespace = _mount(mounted, name if nested else "")
    if root:
        namespace.configure({"buildlib": {"root": str(root)}})
    return namespace


def _mount(tasks: Mapping[str, Task[Any]], name: str = "") -> Collection:
    namespace = Collection(name) if name else Collection()
    for called, task in tasks.items():
        namespace.add_task(fresh(task), name=called)
    return namespace


def _complete(names: Mapping[str, Task[Any]], root: Path | None, *, complete: bool) -> None:
    """Print what the last word can be, where the shell asks for it and Invoke does not know it.

    Raises:
        Exit: it was printed.
    """
    words = completed_words(sys.argv)
    if words is None:
        return
    values = Values(root or Path(), environment())
    found = Completion(names, values, complete=complete).candidates(words)
    if found:
        answer("\n".join(found))
    if found is not None:
        raise Exit


def _answered(names: Mapping[str, Task[Any]]) -> CommandLine:
    """Return the command line, unless it asks for what Invoke would print otherwise."""
    line = CommandLine(sys.argv, names)
    if line.wants_list:
        answer(task_list(program_of(sys.argv[0])))
        raise Exit
    if name := line.wants_help:
        answer(_help(name, names[name], program_of(sys.argv[0])))
        raise Exit
    return line


def _help(name: str, task: Task[Any], program: str) -> str:
    """Return what a task does, and its arguments and options; each line fits the terminal."""
    context = context_of(name, task)
    words = "".join(f" {str(one.name).upper()}" for one in context.positional_args)
    for option in context.flags.values():
        # Invoke gives a value only to those that are not repeated.
        option.kind = str if option.kind is list else option.kind
    rows = [(f"  {flags}  ", said or "") for flags, said in context.help_tuples()]
    indent = max((len(flags) for flags, _ in rows), default=0)
    columns = max(shutil.get_terminal_size().columns, indent + _NARROWEST)
    options = [
        textwrap.fill(
            said,
            columns,
            initial_indent=flags.ljust(indent),
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
        for flags, said in rows
    ]
    usage = f"Usage: {program} {name}{words}{' [OPTIONS]' if rows else ''}"
    listed = ["\n".join(["Options:", *options])] if rows else []
    lines = (inspect.getdoc(task) or "").splitlines()
    return "\n\n".join([usage, "\n".join(textwrap.fill(line, columns) for line in lines), *listed])


def task_list(program: str) -> str:
    """Return a line for each task, by its work; each fits the terminal."""
    columns = shutil.get_terminal_size().columns
    width = max(map(len, TASKS))
    parts = []
    for title, places in GROUPS.items():
        rows = [
            f"  {name:{width}}  {(TASKS[name].__doc__ or '').partition(chr(10))[0]}"
            for name in map(_called, places)
        ]
        parts.append("\n".join([title, *(_fit(row, columns) for row in rows)]))
    return "\n\n".join([*parts, _FOOTER.format(program)])


def _fit(row: str, columns: int) -> str:
    return row if len(row) <= columns else f"{row[: columns - 1].rpartition(' ')[0].rstrip()} …"
