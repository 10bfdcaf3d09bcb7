"""What buildlib says in somebody else's repository names nothing of this one."""

from __future__ import annotations

import re

from conftest import ROOT, git
from sources import MODULES, texts

from buildlib.image.labels import NAMESPACE, names_of


def _own() -> re.Pattern[str]:
    """Return what names a file of this repository, or what it makes."""
    files = git(ROOT, "ls-files").splitlines()
    folders = {name.partition("/")[0] for name in files if "/" in name} - {"buildlib", ".github"}
    # Others have files of these names as well.
    usual = {"README.md", "LICENSE", "Dockerfile", "pyproject.toml", "tasks.py", "CHANGELOG.md"}
    usual.add("noxfile.py")
    alone = {name for name in files if "/" not in name and name[0] != "."} - usual
    places = [rf"{re.escape(name)}/" for name in folders] + [re.escape(name) for name in alone]
    names = r"\bdockerutilities\b|\bauditdu\b|\bbootstrap\.sh\b|(?<!buildlib\.)\bnox\b|smiller"
    return re.compile(rf"(?<![\w/.])(?:{'|'.join(sorted(places))})|{names}")


OWN = _own()


def test_what_is_looked_for_is_found() -> None:
    for text in (
        "run scripts/bootstrap.sh",
        "see docs/builders.md",
        "CONTRIBUTING.md",
        "dockerutilities",
        "io.github.smiller333.buildlib.run",
        "nox -t fast",
    ):
        assert OWN.search(text)
    for text in (
        "docs.docker.com/engine",
        "https://x.example/docs/",
        "pyproject.toml",
        "/app/data",
        "import buildlib.nox",
    ):
        assert not OWN.search(text)


def test_no_text_of_a_module_names_this_repository() -> None:
    found = [
        f"{path}:{line}: {text!r}"
        for path in MODULES
        for line, text in texts(path)
        if OWN.search(text) and text != names_of(NAMESPACE)[1]
    ]
    assert not found, "\n".join(found)
