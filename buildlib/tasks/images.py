"""Tasks of a project with several images: `--only NAME`, and what a task does with all of them."""

from __future__ import annotations

import inspect
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from buildlib.commands.session import Batch, Chosen
from buildlib.errors import (
    NOT_BEGUN,
    BuildlibError,
    InputError,
    collected,
    in_image,
    raise_problems,
)
from buildlib.tasks.session import (
    answer,
    choosing,
    complain,
    edge,
    environment,
    refusal,
    refused,
    start_of,
)

# Of one image: a second one would overwrite it, or is not what is meant.
_SINGLE: Final = (
    "image",
    "expect_version",
    "junit",
    "sarif",
    "index",
    "keep",
    "name",
    "old",
    "new",
)
# Of docker-build.
_OF_ONE_BUILD: Final = ("call", "check", "file", "iidfile", "metadata_file")
_INTERRUPTED: Final = 130
_FILES: Final = ("buildlib.toml", "pyproject.toml")
_EACH: Final = "image of several, as in [images.NAME]; repeat it; default: all"
_ONE: Final = "image of several, as in [images.NAME]"
_SMOKE: Final = "docker_smoke"
_CHECKS: Final = "--check NAME runs only the checks of that name"
_GOING: Final = "go on with the other images if one fails"
_CHANGED: Final = (
    "only images that differ from a commit; default: where HEAD left the default branch, "
    "or the last tag"
)
# Beside docker-build: what is done for the images that were changed.
_BUILDING: Final = ("docker_smoke", "docker_publish")


class Scope(Enum):
    """What a task works on, in a project with several images."""

    EACH = "one image after the other"
    ONE = "the image that is named"
    TAG = "the images whose versions have the same git tags"
    PROJECT = "the project"
    NOTHING = "a project that may have no configuration yet"
    TOGETHER = "all of them at once"
    BUILD = "all of them, as it knows how"


class ImageTask(Task[Any]):
    """A task that knows of several images.

    Invoke runs equal calls once, and takes tasks of the same code for equal: not those of another
    collection, which is another project.
    """

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same one."""
        return self is other

    def __hash__(self) -> int:
        """Return what fits that."""
        return id(self)


def for_images(task: Task[Any], scope: Scope) -> Task[Any]:
    """Return a task with the options for several images."""
    options = _options(task, scope)
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, (default, _) in options.items()
    ]
    body = _over_images(task, scope)
    body.__name__, body.__doc__ = task.name, task.__doc__
    known = inspect.signature(task.body)
    body.__signature__ = known.replace(  # type: ignore[attr-defined]
        parameters=[*known.parameters.values(), *parameters]
    )
    return ImageTask(
        body,
        name=task.name,
        positional=list(task.positional),
        optional=(*task.optional, *({"changed"} & options.keys())),
        iterable=[*(task.iterable or ()), *({"only"} & options.keys())],
        auto_shortflags=False,
        help={**task.help, **{name.replace("_", "-"): text for name, (_, text) in options.items()}},
    )


def _options(task: Task[Any], scope: Scope) -> dict[str, tuple[object, str]]:
    """Return the options for several images, each with its default and its help."""
    if scope in {Scope.PROJECT, Scope.NOTHING}:
        return {}
    if scope in {Scope.ONE, Scope.TAG}:
        return {"only": (None, _ONE)}
    if scope is Scope.TOGETHER:
        return {"only": (None, _EACH)}
    found: dict[str, tuple[object, str]] = {"only": (None, _EACH), "keep_going": (False, _GOING)}
    if scope is Scope.BUILD:
        found["jobs"] = (1, "images at a time; default: 1")
    if scope is Scope.BUILD or task.name in _BUILDING:
        found["changed"] = ("", _CHANGED)
    return found


class _Given(NamedTuple):
    """The options for several images, as they were given."""

    only: tuple[str, ...]
    keep_going: bool
    jobs: int
    changed: str | None

    @classmethod
    def taken(cls, options: dict[str, Any]) -> _Given:
        """Take them from the options of a task, which does not know them."""
        changed = options.pop("changed", "")
        return cls(
            only=tuple(options.pop("only", None) or ()),
            keep_going=options.pop("keep_going", False),
            jobs=options.pop("jobs", 1) if "jobs" in options else 1,
            changed="" if changed is True else changed or None,
        )


def _over_images(task: Task[Any], scope: Scope) -> Callable[..., None]:
    own = _options(task, scope)

    def body(context: Context, *args: object, **options: object) -> None:
        given = _Given.taken({name: options.pop(name) for name in own if name in options})
        as_json = bool(options.get("json"))
        names = _chosen(task, scope, given.only, options, start_of(context))

        def run() -> None:
            task.body(context, *args, **options)

        together = scope is Scope.TOGETHER and bool(names)
        if together or (scope is Scope.BUILD and (names or given.changed is not None)):
            batch = Batch(names, given.jobs, given.keep_going, given.changed)
            with choosing(Chosen(batch=batch)):
                run()
            return
        several = bool(names)
        if given.changed is not None:
            names = _differing(context, names, given.changed, as_json=as_json)
            if not (several or names):
                if as_json:
                    _answer_for({})
                return
        if not several:
            run()
        elif scope is Scope.EACH:
            _each(run, names, as_json=as_json, keep_going=given.keep_going)
        else:
            with choosing(Chosen(image=names[0])):
                run()

    return body


def _chosen(
    task: Task[Any],
    scope: Scope,
    only: Sequence[str],
    options: Mapping[str, object],
    start: Path,
) -> tuple[str, ...]:
    """Return the images that a task works on; none: the project has one, without a table.

    Raises:
        Exit: there is no such image, or too many (code 2).
    """
    if scope is Scope.NOTHING:
        return ()
    try:
        names = _names(start, only) if only or _may_have_images(start) else ()
        meant = _meant(task, scope, names, options, start) if names else ()
        if scope is not Scope.PROJECT:
            _check_all(meant, start)
    except OSError as error:
        # The current directory may be gone.
        raise refusal(refused(error), sys.argv) from None
    except BuildlibError as error:
        if only and task.name == _SMOKE and not error.hint.startswith("did you mean"):
            error.hint = _CHECKS
        raise refusal(error, sys.argv) from None
    return meant


def _differing(
    context: Context, names: Sequence[str], ref: str, *, as_json: bool
) -> tuple[str, ...]:
    with edge(context, json=as_json) as run:
        from buildlib.commands.images import changed_names

        return changed_names(run, names, ref)


def _may_have_images(start: Path) -> bool:
    """Return whether a configuration may have `[images]`: most have not, and need not be read."""
    for folder in (start.resolve(), *start.resolve().parents):
        for name in _FILES:
            file = folder / name
            try:
                # Not of a pipe, which would wait; what reads the configuration reports it.
                text = file.read_bytes() if file.is_file() else b""
            except OSError:
                continue
            if b"images" in text:
                return True
            if name == _FILES[0]:
                return False
    return False


def _names(start: Path, only: Sequence[str]) -> tuple[str, ...]:
    from buildlib.config.load import ConfigFile

    return ConfigFile(start, {}).some(only)


def _check_all(names: Sequence[str], start: Path) -> None:
    """Raise what is wrong with the configuration of any image, before one is worked on.

    Raises:
        InputError: each problem names the image, where there are several (exit 2).
    """
    if not names[1:]:  # One alone is checked by its task.
        return
    from buildlib.config.load import ConfigFile

    file, problems = ConfigFile(start, environment()), list[BuildlibError]()
    for name in names:
        with collected(problems):
            try:
                file.config(name)
            except BuildlibError as error:
                in_image(error, name)
                raise
    raise_problems(problems)


def _meant(
    task: Task[Any],
    scope: Scope,
    names: tuple[str, ...],
    options: Mapping[str, Any],
    start: Path,
) -> tuple[str, ...]:
    """Return the images that a task works on.

    Raises:
        InputError: it is for one of them, and several are meant (exit 2).
    """
    called = task.name.replace("_", "-")
    hint = f"choose one: --only {names[0]}"
    if scope is Scope.PROJECT or len(names) == 1:
        return names[:1]
    if scope is Scope.TAG:
        if _share_tags(names, start):
            return names[:1]
        why = f"{', '.join(names)} have versions of their own"
        raise InputError(f"{called} makes a tag of one version", why=why, hint=hint)
    if scope is Scope.ONE:
        why = f"there are {', '.join(names)}"
        if task.name == "docker_run":
            why += "; containers side by side need a port each, so start them one by one"
        raise InputError(f"{called} is for one image at a time", why=why, hint=hint)
    own = _OF_ONE_BUILD if scope is Scope.BUILD else ()
    if option := _single_option(options, (*_SINGLE, *own)):
        raise InputError(
            f"{option} is for one image at a time",
            why=f"{called} works on {', '.join(names)}",
            hint=hint,
        )
    return names


def _single_option(options: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return an option whose value is of one image: a file, or a whole reference."""
    for name in names:
        if options.get(name):
            return f"--{name.replace('_', '-')}"
    tags, output = options.get("tag"), options.get("output")
    if isinstance(tags, list) and any({":", "/"} & set(tag) for tag in tags):
        return "--tag with a repository"
    return "--output with dest" if isinstance(output, str) and "dest=" in output else ""


def _share_tags(names: Sequence[str], start: Path) -> bool:
    from buildlib.config.load import ConfigFile

    file = ConfigFile(start, {})
    return len({file.config(name).naming for name in names}) == 1


def _each(
    run: Callable[[], None], names: Sequence[str], *, as_json: bool, keep_going: bool
) -> None:
    """Run a task for each image; as JSON, answer with all of their answers."""
    answers: dict[str, Any] = {name: {"error": NOT_BEGUN.as_dict()} for name in names}
    codes: list[int] = []
    try:
        for name in names:
            out = io.StringIO() if as_json else None
            try:
                with choosing(Chosen(image=name, several=len(names) > 1, out=out)):
                    run()
            except Exit as end:
                if not keep_going or end.code == _INTERRUPTED:
                    raise
                codes.append(end.code)
                complain(end.message or "")
            finally:
                if out:
                    answers[name] = json.loads(out.getvalue() or "null")
    finally:
        if as_json:
            _answer_for(answers)
    if codes:
        raise Exit(code=min(codes))


def _answer_for(answers: Mapping[str, Any]) -> None:
    from buildlib.terminal.text import to_json

    answer(to_json({"images": answers}))
