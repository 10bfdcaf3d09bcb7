"""What people read is plain English: without the turns that house rules and readers dislike."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import MODULES, documented, texts

pytestmark = pytest.mark.unmeasured
ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
SCRIPTS = [ROOT / "noxfile.py", ROOT / "tasks.py", *sorted((ROOT / "scripts").glob("*.py"))]
COMMENTED = [
    ROOT / "Dockerfile",
    ROOT / ".goreleaser.yaml",
    *sorted((ROOT / ".github").rglob("*.yml")),
    *sorted((ROOT / "scripts").rglob("*.sh")),
]
# "There is no X" is plain; "X is no Y" is not.
AVOIDED = re.compile(
    r"(?<!here )\b(?:is|are) (?:none\b|no (?!longer|more|need|other|one\b))"
    r"|\b[Nn]obody\b|\bstrangers?\b|\banew\b|\bmend(?:s|ed|ing)?\b|\bwho we are\b|\bbroken off\b"
    r"|^(?:Who|Of) [^?]*$"
)
# What to write instead is beside each.
WORDS = re.compile(
    r"(?<!here )\b(?:is|are) (?:none\b|no (?!longer|more|need|other|one\b))"  # is not a, is missing
    r"|\bnobody\b"  # no user, no process
    r"|\bstrangers?\b"  # third party
    r"|\banew\b|\basked again\b"  # again, re-check
    r"|\bmend(?:s|ed|ing)?\b"  # fix
    r"|\bwho we are\b"  # credentials
    r"|\b(?:broken?|breaks?) off\b"  # interrupted
    r"|\bjudg(?:e|es|ed|ing)\b"  # check
    r"|\bwhat forbids\b|\bforbids? to\b"  # precondition
    r"|\bbills?\b"  # SBOM
    r"|\bstatements?\b"  # attestation, provenance
    r"|\bstand-ins?\b(?! =)"  # placeholder base image
    r"|\brehears\w+"  # test release against local registries
    r"|\bheld back\b"  # not moved
    r"|\b(?:silent|strange) (?:builder|node)s?\b"  # unreachable, foreign
    r"|\bends? with (?:code )?\d"  # exits with code 7
    r"|\bstands? (?:for|on)\b"  # points at; base image
    r"|\bstays? what it is\b"  # will not be overwritten
    r"|\b(?:is|are|was|were|be) told\b",  # is printed, is reported
    re.IGNORECASE,
)
# A relative clause is not the beginning of a sentence. A question, and a heading, may begin so.
CLAUSES = re.compile(r"(?:^|(?<=[.:;] ))(?:Who|Whoever|What|Whatever|Of) [^.?:;]*[.;]")


def _found(text: str) -> list[str]:
    """Return what is not plain in a text, code within backticks left out."""
    text = re.sub(r"`[^`]*`", "x", text)
    parts = re.split(r"\n\s*\n|^ *(?:[-*#]+|\d+\.) |\|", text, flags=re.MULTILINE)
    paragraphs = [" ".join(part.split()) for part in parts]
    return [
        f"{found[0]!r} in: {paragraph[max(0, found.start() - 60) : found.end() + 60]}"
        for paragraph in paragraphs
        for pattern in (WORDS, CLAUSES)
        for found in pattern.finditer(paragraph)
    ]


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a module may print: its texts, and of its docstrings those that are a task's."""
    # A name of a user, by itself.
    yield from ((line, text) for line, text in texts(path) if text != "nobody")
    for docstring, node in documented(path):
        decorators = getattr(node, "decorator_list", [])
        if any(ast.unparse(one).startswith("task(") for one in decorators):
            yield docstring.lineno, str(docstring.value)


def _comments(text: str) -> str:
    """Return the comments of a file in which they begin with `#`, each block a paragraph."""
    lines = [re.fullmatch(r"\s*#!?(.*)|.*?\s# (.*)", line) for line in text.splitlines()]
    return "\n".join((line[1] or line[2] or "") if line else "" for line in lines)


def _prose(path: Path) -> str:
    """Return the comments, docstrings and other texts of a script."""
    source = path.read_text("utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments: list[str] = []
    last = 0
    for token in tokens:
        if token.type == tokenize.COMMENT:
            comments += [""] * (token.start[0] > last + 1) + [token.string.lstrip("# ")]
            last = token.start[0]
    strings = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    texts = [text for text in strings if isinstance(text, str) and " " in text]
    return "\n".join(comments) + "\n\n" + "\n\n".join(texts)


def test_messages_are_plain_english() -> None:
    found = [
        f"{path}:{line}: {text!r}"
        for path in MODULES
        for line, text in _texts(path)
        if AVOIDED.search(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=[str(one.relative_to(ROOT)) for one in PAGES])
def test_the_documentation_is_plain_english(page: Path) -> None:
    found = _found(re.sub(r"(?s)```.*?```", "", page.read_text("utf-8")))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", COMMENTED, ids=[str(one.relative_to(ROOT)) for one in COMMENTED])
def test_comments_are_plain_english(path: Path) -> None:
    found = _found(_comments(path.read_text("utf-8")))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", SCRIPTS, ids=[str(one.relative_to(ROOT)) for one in SCRIPTS])
def test_scripts_are_plain_english(path: Path) -> None:
    found = _found(_prose(path))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "It ends with 7.",
        "A name that is none by SemVer",
        "Base images are re-\nplaced. What is\nprinted goes to stderr.",
        "Who breaks out is root.",
        "- one\n- Of two publishers one wins.",
    ],
)
def test_a_mannerism_is_found(text: str) -> None:
    assert _found(text)


@pytest.mark.parametrize(
    "text",
    [
        "There is no such file; `is none` is code.",
        "## What is checked\n\nWhat does it check?",
        "It is no longer needed, and exits with code 7.",
    ],
)
def test_plain_english_is_left_alone(text: str) -> None:
    assert not _found(text)
