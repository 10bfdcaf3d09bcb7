"""Finds what a repository builds and runs with docker, by reading; no code of it is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from posixpath import basename, normpath
from typing import Any, Final

from buildlib.adopt.bake import bake_lines, bake_targets, target_names
from buildlib.adopt.compose import compose_lines
from buildlib.adopt.evidence import DockerLine
from buildlib.adopt.goreleaser_images import goreleaser_lines
from buildlib.adopt.makefile import Makefile
from buildlib.adopt.shell_text import Command, shell_commands
from buildlib.adopt.text_files import read_text
from buildlib.adopt.yaml_text import Node, read_yaml
from buildlib.errors import BuildlibError
from buildlib.executor import Runner

# In the order in which make looks for them.
_MAKEFILES: Final = ("GNUmakefile", "makefile", "Makefile")
_COMPOSE: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_GORELEASER: Final = (".goreleaser.yaml", ".goreleaser.yml", "goreleaser.yaml", "goreleaser.yml")
_BAKE: Final = ("docker-bake.json", "docker-bake.hcl")
_SCRIPT_FOLDERS: Final = ("", "scripts", "script", "hack", "ci", "docker", "bin", "build", "tools")
_SCRIPTS: Final = ("build*.sh", "docker*.sh", "push*.sh", "publish*.sh", "release*.sh", "run*.sh")
# What stands before a program, and how many of its words may begin with a dash.
_BEFORE: Final = {"sudo", "env", "exec", "command", "nice", "nohup", "time", "doas", "@"}
_ENGINES: Final = {"docker", "podman", "nerdctl", "buildah", "docker-compose", "docker-buildx"}
# What runs a command that it is given.
_RUNNERS: Final = {"ssh", "sh", "bash", "zsh", "su", "xargs", "parallel", "watch"}
_GIVEN: Final = re.compile(
    r"(?:^|[\s;&|(/])((?:docker|podman|nerdctl|buildah)(?:-compose|-buildx)?"
    r"(?:\s+[a-z]+(?![\w=/-]))?)(?=\s|$)"
)
_VARIABLE: Final = re.compile(
    r"\$[({]?\w*(?:DOCKER|CONTAINER|ENGINE|PODMAN|BUILDX|COMPOSE|OCI)\w*(?:[:?-][^)}]*)?[)}]?",
    re.IGNORECASE,
)
_MAKE_FOLDER: Final = {"-C", "--directory"}
_DEEPEST: Final = 4


def docker_lines(root: Path, runner: Runner | None = None) -> list[DockerLine]:
    """Return every command of docker that a repository has, file by file.

    Args:
        root: the repository.
        runner: starts `docker buildx bake --print`, which reads HCL and runs nothing; None: a
            bake file in HCL is only named.
    """
    return [
        *_makefile_lines(root, ".", 0),
        *_compose_files(root),
        *_bake_files(root, runner),
        *_goreleaser_files(root),
        *_scripts(root),
    ]


def _makefile_lines(root: Path, folder: str, depth: int) -> Iterator[DockerLine]:
    base = root / folder
    path = next((base / name for name in _MAKEFILES if (base / name).is_file()), None)
    if path is None or depth > _DEEPEST:
        return
    makefile = Makefile(base)
    makefile.read(path)
    below = set[str]()
    for recipe in makefile.recipes:
        if "$" not in recipe.text and not re.search(
            r"docker|podman|buildah|nerdctl|make", recipe.text
        ):
            continue
        for command in shell_commands(recipe.text, {}, folder):
            name = normpath(f"{folder}/{recipe.file}")
            place = (name, recipe.line + command.line)
            where = f"target {recipe.target}"
            yield from _found(command, place, where, recipe.condition)
            below |= _submakes(command, folder)
    for one in sorted(below):
        yield from _makefile_lines(root, one, depth + 1)


def _submakes(command: Command, folder: str) -> set[str]:
    """Return the directories in which a command runs make again."""
    words = command.words
    if basename(words[0]) != "make":
        return set()
    named = {words[n + 1] for n, word in enumerate(words[:-1]) if word in _MAKE_FOLDER}
    named |= {word[2:] for word in words if word.startswith("-C") and len(word) > len("-C")}
    found = {normpath(f"{command.folder}/{name}") for name in named}
    if not named and command.folder != folder:
        found.add(command.folder)
    return {one for one in found if not one.startswith(("/", "..", "$", "~")) and one != folder}


def _found(
    command: Command, place: tuple[str, int], where: str, condition: str
) -> Iterator[DockerLine]:
    argv, done = _docker_words(command.words)
    if not argv:
        if text := _given_on(command.words):
            why = "another program runs it, such as on another machine"
            yield DockerLine(
                file=place[0], line=place[1], argv=(), where=where, left=((text, why),)
            )
        return
    left = list[tuple[str, str]]()
    if command.inside and not condition:
        condition = "in a condition, a loop or a function"
    if command.stdin:
        left.append((f"< {command.stdin}", "a task reads no standard input"))
    for name, value in command.env:
        kit = name == "DOCKER_BUILDKIT"
        why = "BuildKit is always used" if kit else "set it in the environment of the task"
        (done if kit else left).append((f"{name}={value}", why))
    yield DockerLine(
        file=place[0],
        line=place[1],
        argv=argv,
        folder=command.folder,
        where=where,
        condition=condition,
        left=tuple(left),
        done=tuple(done),
    )


def _docker_words(words: Iterable[str]) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Return a command as docker's own; nothing where it is another's."""
    rest = list(words)
    left = list[tuple[str, str]]()
    while rest and rest[0] in _BEFORE:
        before = rest.pop(0)
        while rest and (rest[0].startswith("-") or re.match(r"\w+=", rest[0])):
            before = f"{before} {rest.pop(0)}"
        left.append((before, "docker is started by the task, as it is configured on the machine"))
    if not rest:
        return (), []
    program, rest = rest[0], rest[1:]
    name = basename(program)
    if _VARIABLE.fullmatch(program):
        left.append((program, "the task starts docker"))
        return ("docker", *_of_variable(program), *rest), left
    if name not in _ENGINES:
        return (), []
    if name in {"docker-compose", "docker-buildx"}:
        return ("docker", name.removeprefix("docker-"), *rest), left
    if name != "docker":
        left.append((name, "the task starts docker"))
    if name == "buildah":
        rest = ["build" if word == "bud" and not at else word for at, word in enumerate(rest)]
    return ("docker", *rest), left


def _given_on(words: Sequence[str]) -> str:
    """Return the commands of docker that a program is given to run, without their options.

    Empty: there are none. The options may hold secrets, in quotes of quotes.
    """
    program = basename(words[0])
    found = _GIVEN.findall(" ".join(words[1:])) if program in _RUNNERS else []
    return f"{program} … {', '.join(found)}" if found else ""


def _of_variable(program: str) -> tuple[str, ...]:
    """Return what a program is called beside docker, by the name of its variable."""
    name = program.upper()
    return ("compose",) if "COMPOSE" in name else ("buildx",) if "BUILDX" in name else ()


def _unreadable(name: str, why: str) -> DockerLine:
    return DockerLine(file=name, line=1, argv=(), left=((name, why),))


def _compose_files(root: Path) -> Iterator[DockerLine]:
    default = next((name for name in _COMPOSE if (root / name).is_file()), None)
    others = {
        path.name
        for pattern in ("compose.*.y*ml", "docker-compose.*.y*ml")
        for path in root.glob(pattern)
    }
    for name in ([default] if default else []) + sorted(others):
        document = _yaml(root, name)
        if isinstance(document, DockerLine):
            yield document
        elif document:
            condition = "" if name == default else f"docker compose --file {name}"
            yield from compose_lines(document, name, condition)


def _yaml(root: Path, name: str) -> Node | DockerLine | None:
    text = read_text(root / name, root)
    if text is None:
        return None
    document = read_yaml(text)
    return document if isinstance(document, Node) else _unreadable(name, document)


def _goreleaser_files(root: Path) -> Iterator[DockerLine]:
    for name in _GORELEASER:
        document = _yaml(root, name)
        if isinstance(document, DockerLine):
            yield document
        elif document:
            yield from goreleaser_lines(document, name)


def _bake_files(root: Path, runner: Runner | None) -> Iterator[DockerLine]:
    for name in _BAKE:
        text = read_text(root / name, root)
        if text is None:
            continue
        if name.endswith(".json"):
            names, targets = [], bake_targets(text)
        else:
            names = target_names(text)
            targets = _printed(root / name, names, runner)
        if isinstance(targets, str):
            yield _unreadable(name, targets)
            continue
        numbers = {one: _line_of(text, one) for one in targets}
        yield from bake_lines(targets, name, numbers)


def _line_of(text: str, target: str) -> int:
    found = re.search(rf'^[^\n]*"{re.escape(target)}"\s*[:{{]', text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _printed(path: Path, names: list[str], runner: Runner | None) -> dict[str, Any] | str:
    """Return the targets of a bake file as buildx itself reads them, or why there are none."""
    if runner is None or not names:
        return "only docker buildx bake --print reads HCL" if names else "it has no target"
    argv = ("docker", "buildx", "bake", "--file", str(path), "--print", *names)
    try:
        done = runner.run(argv, timeout=30)
        targets = json.loads(done.stdout)["target"] if not done.code else None
    except (BuildlibError, ValueError, LookupError, TypeError) as error:
        return f"docker buildx bake --print failed: {' '.join(str(error).split())}"
    if not isinstance(targets, dict):
        return f"docker buildx bake --print failed: {' '.join(done.stderr.split())}"
    return targets


def _scripts(root: Path) -> Iterator[DockerLine]:
    paths = {
        path
        for folder in _SCRIPT_FOLDERS
        for pattern in _SCRIPTS
        for path in (root / folder).glob(pattern)
    }
    for path in sorted(paths):
        text = read_text(path, root)
        name = path.relative_to(root).as_posix()
        script = path.parent.relative_to(root).as_posix()
        for command in shell_commands(text or "", {}, ".", script):
            yield from _found(command, (name, command.line + 1), "", "")
