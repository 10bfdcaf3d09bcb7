"""Dockerfiles for repositories that have none: Go, Python and Node."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from buildlib.adopt.image_name import name_of_directory
from buildlib.adopt.text_files import read_text
from buildlib.config.file import parse_toml
from buildlib.errors import InputError, did_you_mean

_MARKS: Final = {
    "go": ("go.mod",),
    "python": ("pyproject.toml", "requirements.txt", "setup.py"),
    "node": ("package.json",),
}
LANGUAGES: Final = tuple(_MARKS)
# Of the images that the templates name, the newest first.
_GO: Final = (1, 27)
_PYTHONS: Final = ("3.14", "3.13", "3.12", "3.11", "3.10")
_NODE: Final = "24"
# How much of a repository is looked at.
_MOST_FILES: Final = 500
_TESTS: Final = re.compile(r"(^|/)(tests?|testing|__tests__|spec)/|_test\.|\.test\.|\.spec\.|test_")


class _Server(NamedTuple):
    """By what a program is seen to serve, and where; both look into its source."""

    suffixes: tuple[str, ...]
    serves: re.Pattern[str]
    port: re.Pattern[str]
    usual: int


_SERVERS: Final = {
    "go": _Server(
        (".go",),
        re.compile(r"\bListenAndServe|\bnet\.Listen\(|\bhttp\.Serve\(|\.Listen\(|\.Run\(\":"),
        re.compile(r'"[\w.]*:([0-9]{2,5})"'),
        8080,
    ),
    "python": _Server(
        (".py",),
        re.compile(
            r"^\s*(?:from|import) (?:aiohttp|bottle|django|fastapi|flask|http\.server|sanic"
            r"|starlette|tornado|uvicorn)\b",
            re.MULTILINE,
        ),
        re.compile(r"\bport\s*=\s*([0-9]{2,5})\b|\(\s*[\"'][\w.]*[\"']\s*,\s*([0-9]{2,5})\s*\)"),
        8000,
    ),
    "node": _Server(
        (".js", ".mjs", ".cjs", ".ts"),
        re.compile(r"\.listen\("),
        re.compile(r"\.listen\(\s*([0-9]{2,5})|\bPORT\s*(?:\|\||\?\?)\s*[\"']?([0-9]{2,5})"),
        3000,
    ),
}
_HEALTH: Final = re.compile(r"[\"'`](/(?:api/)?(?:healthz?|livez|readyz|ready|ping))[\"'`]")


def find_language(root: Path, asked: str) -> str:
    """Return the language of a repository; empty: nothing says which.

    Raises:
        InputError: it is not one of those that there is a template for, the template has nothing
            to build, or there are several (exit 2).
    """
    found = [name for name, marks in _MARKS.items() if any((root / one).is_file() for one in marks)]
    if asked and asked not in LANGUAGES:
        raise InputError(f"unknown template {asked!r}", hint=did_you_mean(asked, LANGUAGES))
    if asked and asked not in found:
        raise InputError(
            f"the template {asked} needs {' or '.join(_MARKS[asked])}", why=f"{root} has none"
        )
    if len(found) > 1 and not asked:
        raise InputError(
            f"this repository has several languages: {', '.join(found)}",
            hint=f"name one of them: --template {found[0]}",
        )
    return asked or "".join(found)


def dockerfile_text(root: Path, language: str, sources: Iterable[str]) -> str:
    """Return a Dockerfile for a repository.

    Args:
        root: of the repository.
        language: one of LANGUAGES.
        sources: its files, relative to the root.

    Raises:
        InputError: nothing says what the image is to run (exit 2).
    """
    make: Mapping[str, Callable[[Path, Sequence[str]], dict[str, str]]] = {
        "go": _go,
        "python": _python,
        "node": _node,
    }
    paths = sorted(sources)
    values = make[language](root, paths) | _served(root, language, paths)
    text = files("buildlib.adopt").joinpath("templates", f"{language}.Dockerfile")
    return render(text.read_text(encoding="utf-8"), values)


def render(text: str, values: Mapping[str, str]) -> str:
    """Return a template with its values; what stands after `@if NAME` needs one, or none."""
    lines, kept = [], True
    for line in text.splitlines():
        if line.startswith("@if "):
            name = line.removeprefix("@if ")
            kept = not values.get(name[1:]) if name.startswith("!") else bool(values.get(name))
        elif line == "@end":
            kept = True
        elif kept:
            lines.append(re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], line))
    return "\n".join(lines) + "\n"


def _read(root: Path, path: str) -> str:
    return read_text(root / path, root) or ""


def _served(root: Path, language: str, paths: Sequence[str]) -> dict[str, str]:
    """Return port and health check of a program that serves; nothing of another."""
    server = _SERVERS[language]
    own = [path for path in paths if path.endswith(server.suffixes) and not _TESTS.search(path)]
    texts = [_read(root, path) for path in own[:_MOST_FILES]]
    serving = [text for text in texts if server.serves.search(text)]
    if not serving:
        return {"PORT": "", "HEALTH": ""}
    said = next((found for text in serving if (found := server.port.search(text))), None)
    port = next(filter(None, said.groups()), "") if said else str(server.usual)
    paths_said = [found for text in texts for found in _HEALTH.findall(text)]
    return {"PORT": port, "HEALTH": json.dumps(_health_command(language, port, paths_said))}


def _health_command(language: str, port: str, paths: Sequence[str]) -> list[str]:
    """Return what asks the server: by HTTP where a path for that is known, else by a connection."""
    address = f"http://127.0.0.1:{port}{paths[0]}" if paths else ""
    if language == "go":
        by_http = ["wget", "-q", "-O", "/dev/null", address]
        return by_http if address else ["nc", "-z", "127.0.0.1", port]
    if language == "python":
        code = f"import urllib.request as r; r.urlopen('{address}')"
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
        return ["python", "-c", code if address else connect]
    code = f"fetch('{address}').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
    connect = (
        f"require('net').connect({port}, '127.0.0.1')"
        ".on('connect', () => process.exit(0)).on('error', () => process.exit(1))"
    )
    return ["node", "-e", code if address else connect]


def _go(root: Path, paths: Sequence[str]) -> dict[str, str]:
    text = _read(root, "go.mod")
    named = re.search(r"^module\s+\"?([^\s\"]+)", text, re.MULTILINE)
    module = re.sub(r"/v[0-9]+$", "", named[1]) if named else root.name
    wanted = re.search(r"^go\s+([0-9]+)\.([0-9]+)", text, re.MULTILINE)
    version = max(_GO, (int(wanted[1]), int(wanted[2]))) if wanted else _GO
    mains = sorted(
        {
            path.rpartition("/")[0]
            for path in paths
            if path.endswith(".go") and not _TESTS.search(path)
            if re.search(r"^package main\b", _read(root, path), re.MULTILINE)
        }
    )
    name = name_of_directory(module.rpartition("/")[2])
    called = [path for path in mains if name_of_directory(path.rpartition("/")[2]) == name]
    if not mains:
        raise InputError(
            "there is no Go program to build", why="no file of the repository is of package main"
        )
    chosen = "" if "" in mains else (called or mains)[0]
    if not re.fullmatch(r"[\w./+-]*", chosen):
        raise InputError(f"a directory can't be named in a Dockerfile: {chosen}")
    return {
        "GO_VERSION": ".".join(map(str, version)),
        "MODULES": "go.mod go.sum" if (root / "go.sum").is_file() else "go.mod",
        "NAME": name_of_directory(chosen.rpartition("/")[2]) if chosen else name,
        "PACKAGE": f"./{chosen}" if chosen else ".",
    }


def _python(root: Path, paths: Sequence[str]) -> dict[str, str]:
    document: dict[str, Any] = {}
    with suppress(InputError):
        document = parse_toml(_read(root, "pyproject.toml"), "pyproject.toml")
    project = document.get("project")
    project = project if isinstance(project, dict) else {}
    built = bool(project or "build-system" in document or (root / "setup.py").is_file())
    requirements = (root / "requirements.txt").is_file()
    scripts = project.get("scripts")
    command = [next(iter(scripts))] if isinstance(scripts, dict) and scripts else []
    source = not command
    command = command or _python_command(root, paths)
    wanted = str(project.get("requires-python") or "")
    with suppress(InvalidSpecifier):
        fitting = [one for one in _PYTHONS if SpecifierSet(wanted).contains(f"{one}.99")]
        return {
            "PYTHON_VERSION": (fitting or _PYTHONS)[0],
            "REQUIREMENTS": "yes" if requirements else "",
            "PROJECT": "yes" if built else "",
            "SOURCE": "yes" if source else "",
            "COMMAND": json.dumps(command),
        }
    raise InputError(f"requires-python of pyproject.toml is not valid: {wanted}")


def _python_command(root: Path, paths: Sequence[str]) -> list[str]:
    """Return what starts a program that has no script of its own."""
    for name in ("main.py", "app.py", "server.py", "run.py", "manage.py"):
        text = _read(root, name)
        module = name.removesuffix(".py")
        found = re.search(r"^(\w+)\s*=\s*(FastAPI|Starlette|Flask)\(", text, re.MULTILINE)
        started = re.search(r"\buvicorn\.run\(|\.run\(", text)
        if found and not started:
            if found[2] == "Flask":
                app = ["flask", "--app", f"{module}:{found[1]}", "run"]
            else:
                app = ["uvicorn", f"{module}:{found[1]}"]
            return [*app, "--host", "0.0.0.0", "--port", "8000"]  # noqa: S104 - in the container
        if text:
            served = ["runserver", "0.0.0.0:8000"] if name == "manage.py" else []
            return ["python", name, *served]
    modules = [path for path in paths if re.fullmatch(r"(src/)?\w+/__main__\.py", path)]
    if modules:
        return ["python", "-m", modules[0].removeprefix("src/").partition("/")[0]]
    raise InputError(
        "nothing says what the image is to run",
        why="there is no [project.scripts] in pyproject.toml, no main.py, app.py or __main__.py",
        hint="add a script to [project.scripts]",
    )


def _node(root: Path, _paths: Sequence[str]) -> dict[str, str]:
    try:
        package = json.loads(_read(root, "package.json") or "{}")
    except (ValueError, RecursionError) as error:
        raise InputError("package.json is not valid JSON", why=str(error)) from error
    package = package if isinstance(package, dict) else {}
    scripts = package.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    lock = (root / "package-lock.json").is_file()
    pinned = re.match(r"v?([0-9]{1,3})\b", _read(root, ".nvmrc") or _read(root, ".node-version"))
    return {
        "NODE_VERSION": pinned[1] if pinned else _NODE,
        "PACKAGES": "package.json package-lock.json" if lock else "package.json",
        "INSTALL": "ci" if lock else "install",
        "BUILD": "yes" if "build" in scripts else "",
        "COMMAND": json.dumps(_node_command(root, package, scripts)),
    }


def _node_command(root: Path, package: Mapping[str, Any], scripts: Mapping[str, Any]) -> list[str]:
    start = str(scripts.get("start") or "")
    if re.fullmatch(r"node [\w./ =-]+", start):
        # Without a shell and npm, which pass no signal on.
        return start.split()
    if start:
        return ["npm", "start"]
    binary = package.get("bin")
    named = next(iter(binary.values()), "") if isinstance(binary, dict) else binary
    usual = [name for name in ("server.js", "index.js", "app.js") if (root / name).is_file()]
    for name in (package.get("main"), named, *usual):
        if isinstance(name, str) and name:
            return ["node", name]
    raise InputError(
        "nothing says what the image is to run",
        why="package.json has neither a script `start` nor `main`",
        hint='add "start": "node server.js" to its scripts',
    )


def ignored(language: str) -> tuple[str, ...]:
    """Return what must not get into the build context of a template."""
    return {"node": ("node_modules", "npm-debug.log")}.get(language, ())
