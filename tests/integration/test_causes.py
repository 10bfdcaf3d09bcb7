"""Mutations, each built after what was there before: the cause named is what was changed.

What ran and what was cached is in BuildKit's own words. A build adds one mutation to the one
before, so that each costs one build.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from buildrecords import check_record
from conftest import Checkout, docker
from registries import registry

from buildlib.config.load import load_config
from buildlib.records.cause import LOST, Cause, explain
from buildlib.records.record import Record, Step
from buildlib.records.store import open_store

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
Make = Callable[..., Checkout]


class Case(NamedTuple):
    """A mutation: its name, what it does, the steps that run because of it, and the cause."""

    name: str
    change: Callable[[Path], object]
    ran: tuple[str, ...] = ()
    kind: str = ""
    text: str = ""
    words: tuple[str, ...] = ()


def _last(checkout: Checkout) -> tuple[Record, dict[str, Cause]]:
    store = open_store(load_config(checkout.root, {}), checkout.environment({}))
    assert store
    path = store.paths()[0]
    check_record(path.read_text("utf-8"))
    record = store.read(path)
    return record, explain(record, store.last(record))


def _build(checkout: Checkout, *words: str, **env: str | None) -> str:
    done = checkout.invoke("docker-build", "--output", "cacheonly", *words, **env)
    assert done.returncode == 0, done.stderr
    assert "no record" not in done.stderr
    return done.stderr


def _named(record: Record) -> dict[str, Step]:
    """Return the steps by stage and number, without those of bases.

    Where another context stands for a base, it has no number and the stage has a name.
    """
    steps = [one for one in record.steps if one.parts.total]
    bases = {one.parts.stage for one in steps if one.parts.instruction.startswith("FROM ")}
    return {
        f"{one.parts.stage or 'stage-0'} {one.parts.position - (one.parts.stage in bases)}": one
        for one in steps
        if not one.parts.instruction.startswith("FROM ")
    }


def _check(checkout: Checkout, case: Case, printed: str) -> int:
    """Check one build; return whether the builder had lost what it had cached."""
    record, causes = _last(checkout)
    steps = _named(record)
    lost = {n for n, one in steps.items() if (c := causes.get(one.digest)) and c.kind == "lost"}
    lost -= set(case.ran)
    ran = {name for name, one in steps.items() if not one.cached} - lost
    assert ran == set(case.ran), (case.name, [(one.name, one.cached) for one in record.steps])
    found = {causes[steps[name].digest] for name in ran}
    assert {one.kind for one in found} == ({case.kind} - {""}), (case.name, found)
    assert len({one.text for one in found}) == bool(ran), (case.name, found)
    assert all(one.text.startswith(case.text) for one in found), (case.name, found)
    for name in ran:
        assert steps[name].label in " ".join(printed.split()), case.name
    assert not case.text or printed.count(case.text) >= len(ran), (case.name, printed)
    return bool(lost)


def _run(checkout: Checkout, cases: list[Case], **env: str | None) -> None:
    _build(checkout, **env)
    lost = 0
    for case in cases:
        case.change(checkout.root)
        lost += _check(checkout, case, _build(checkout, *case.words, **env))
    # Other tests use the same engine, which removes what it has too much of.
    assert lost <= 2


def _write(name: str, text: str = "") -> Callable[[Path], object]:
    def change(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}{secrets.token_hex(4)}\n", encoding="utf-8")

    return change


def _edit(old: str, new: str, name: str = "Dockerfile") -> Callable[[Path], object]:
    def change(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


def _both(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda root: [change(root) for change in changes]


def _link(root: Path) -> None:
    (root / "src/l").symlink_to("deep/x")


def _nothing(root: Path) -> None:
    assert root.is_dir()


FILES = """\
FROM scratch AS tree
COPY app.txt other.txt /
COPY src /src
FROM scratch
COPY --from=tree /app.txt /app.txt
COPY late.txt /
COPY *.cfg /cfg/
COPY <<END /here
hello
END
"""
FROM_TREE = "stage-1 1", "stage-1 2", "stage-1 3", "stage-1 4"
SRC = ("tree 2",)
ALL = ("tree 1", "tree 2", *FROM_TREE)
OF_FILES = [
    Case("nothing", _nothing),
    Case("content", _write("app.txt"), ALL, "file-changed", "file changed: app.txt"),
    Case(
        "content in a directory",
        _write("src/deep/x"),
        SRC,
        "file-changed",
        "file changed: src/deep/x",
    ),
    Case(
        "mode",
        lambda root: (root / "src/a").chmod(0o755),
        SRC,
        "file-mode",
        "mode of src/a changed: 0644 → 0755",
    ),
    Case(
        "mode of a directory",
        lambda root: (root / "src/deep").chmod(0o700),
    ),
    Case(
        "rename",
        lambda root: (root / "src/a").rename(root / "src/b"),
        SRC,
        "file-renamed",
        "file renamed: src/a → src/b",
    ),
    Case("addition", _write("src/c"), SRC, "file-added", "file added: src/c"),
    Case(
        "removal",
        lambda root: (root / "src/gone").unlink(),
        SRC,
        "file-removed",
        "file removed: src/gone",
    ),
    Case(
        "another target of a link",
        _both(lambda root: (root / "src/l").unlink(), _link),
        SRC,
        "file-changed",
        "file changed: src/l",
    ),
    Case(
        "an empty directory",
        lambda root: (root / "src/empty").mkdir(),
        SRC,
        "file-added",
        "file added: src/empty",
    ),
    Case(
        "several files",
        _both(_write("src/b"), _write("src/deep/x")),
        SRC,
        "file-changed",
        "2 files changed: src/b, src/deep/x",
    ),
    Case("touch only", lambda root: os.utime(root / "src/b", (1, 1))),
    Case("an ignored file", _write("src/debug.log")),
    Case("a test that no step takes", _write("tests/test.txt")),
    Case("a comment in the Dockerfile", _edit("FROM scratch AS", "# Comment\nFROM scratch AS")),
    Case(
        "a line of .dockerignore",
        _edit("*.log", "**/*.log\nsrc/b", ".dockerignore"),
        SRC,
        "file-removed",
        "file removed: src/b",
    ),
    Case(
        "by a wildcard", _write("one.cfg"), FROM_TREE[2:], "file-changed", "file changed: one.cfg"
    ),
    Case(
        "a new file by a wildcard",
        _write("two.cfg"),
        FROM_TREE[2:],
        "file-added",
        "file added: two.cfg",
    ),
    Case(
        "a file of a late step",
        _write("late.txt"),
        FROM_TREE[1:],
        "file-changed",
        "file changed: late.txt",
    ),
    Case("a label", _edit("COPY late", "LABEL a=b\nCOPY late")),
    Case("the command", _edit("COPY <<END", 'CMD ["/x"]\nCOPY <<END')),
    Case("the name of a stage", _both(_edit("AS tree", "AS wood"), _edit("=tree", "=wood"))),
    Case(
        "an edited instruction",
        _edit("COPY late.txt /\n", "COPY late.txt /late/\n"),
        FROM_TREE[1:],
        "instruction-edited",
        "instruction edited: COPY late.txt / → COPY late.txt /late/",
    ),
    Case(
        "a here-document",
        _edit("hello", f"hello {secrets.token_hex(4)}"),
        FROM_TREE[3:],
        "instruction-edited",
        "here-document edited: COPY <<END /here",
    ),
    Case(
        "a new instruction",
        _edit("COPY *.cfg", "COPY other.txt /new/\nCOPY *.cfg"),
        ("stage-1 3", "stage-1 4", "stage-1 5"),
        "instruction-added",
        "instruction added: COPY other.txt /new/",
    ),
    Case(
        "a removed instruction",
        _edit("COPY late.txt /late/\n", ""),
        FROM_TREE[1:],
        "instruction-removed",
        "instruction removed: COPY late.txt /late/",
    ),
    Case(
        "--no-cache",
        _nothing,
        ("wood 1", "wood 2", *FROM_TREE),
        "no-cache",
        "--no-cache",
        ("--no-cache",),
    ),
]


@pytest.mark.toolchain
def test_files_and_instructions(make_checkout: Make) -> None:
    checkout = make_checkout(FILES)
    (checkout.root / ".dockerignore").write_text("**/*.log\n", encoding="utf-8")
    for name in ("app.txt", "other.txt", "late.txt", "one.cfg", "src/a", "src/gone", "src/deep/x"):
        _write(name)(checkout.root)
    (checkout.root / "src/l").symlink_to("a")
    _edit("**/*.log", "*.log\n**/*.log", ".dockerignore")(checkout.root)
    _run(checkout, OF_FILES)


COMMANDS = """\
ARG DEST=/late
FROM {base}
COPY app.txt /app.txt
ARG USED=1
ARG UNUSED
ENV A=1
ENV B=2
RUN echo "$USED" > /used
RUN --mount=type=bind,source=script.sh,target=/script.sh cat /script.sh
RUN <<END
echo one
END
ARG DEST
COPY late.txt $DEST
"""
RUNS = ("stage-0 2", "stage-0 3", "stage-0 4", "stage-0 5")
OF_COMMANDS = [
    Case("nothing", _nothing),
    Case(
        "an argument that is used",
        _nothing,
        RUNS,
        "argument-changed",
        "argument USED changed: 1 → 2",
        ("--build-arg", "USED=2"),
    ),
    Case(
        "an argument that is not used but declared",
        _nothing,
        RUNS,
        "argument-added",
        "argument UNUSED added: 1",
        ("--build-arg", "USED=2", "--build-arg", "UNUSED=1"),
    ),
    Case(
        "an argument that is not declared",
        _nothing,
        words=("--build-arg", "USED=2", "--build-arg", "UNUSED=1", "--build-arg", "X=1"),
    ),
    Case(
        "a global argument",
        _nothing,
        RUNS[3:],
        "argument-changed",
        "argument DEST changed: /late → /other",
        ("--build-arg", "USED=2", "--build-arg", "UNUSED=1", "--build-arg", "DEST=/other"),
    ),
    Case(
        "the default of an argument",
        _edit("ARG USED=1", "ARG USED=3"),
        RUNS,
        "argument-changed",
        "argument USED changed: 2 → 3",
        ("--build-arg", "UNUSED=1"),
    ),
    Case(
        "a variable",
        _edit("ENV B=2", "ENV B=3"),
        RUNS,
        "variable-changed",
        "variable B changed: 2 → 3",
        ("--build-arg", "UNUSED=1"),
    ),
    Case(
        "the order of variables",
        _edit("ENV A=1\nENV B=3\n", "ENV B=3\nENV A=1\n"),
        RUNS,
        "order-changed",
        "order of variables changed: B comes earlier",
        ("--build-arg", "UNUSED=1"),
    ),
    Case(
        "quotes",
        _edit("ENV B=3", 'ENV B="3"'),
        words=("--build-arg", "UNUSED=1"),
    ),
    Case(
        "a user",
        _edit("RUN --mount", "USER 0:0\nRUN --mount"),
        RUNS[1:],
        "instruction-edited",
        "USER changed: empty → 0:0",
        ("--build-arg", "UNUSED=1"),
    ),
    Case(
        "a shell",
        _edit("RUN <<END", 'SHELL ["/bin/sh", "-e", "-c"]\nRUN <<END'),
        RUNS[2:],
        "instruction-edited",
        'SHELL changed: empty → ["/bin/sh", "-e", "-c"]',
        ("--build-arg", "UNUSED=1"),
    ),
    Case(
        "the file of a bind mount",
        _write("script.sh"),
        RUNS[1:],
        "file-changed",
        "file changed: script.sh",
        ("--build-arg", "UNUSED=1"),
    ),
    Case(
        "a here-document",
        _edit("echo one", "echo two"),
        RUNS[2:],
        "instruction-edited",
        "here-document edited: RUN <<END",
        ("--build-arg", "UNUSED=1"),
    ),
    Case(
        "a secret",
        _edit("RUN --mount=type=bind", "RUN --mount=type=secret,id=word --mount=type=bind"),
        RUNS[1:],
        "secret-added",
        "secret added: word",
        ("--build-arg", "UNUSED=1", "--secret", "id=word,env=WORD"),
    ),
    Case(
        "another value of a secret",
        _nothing,
        words=("--build-arg", "UNUSED=1", "--secret", "id=word,env=OTHER"),
    ),
    Case(
        "a cache mount",
        _edit("RUN <<END", "RUN --mount=type=cache,target=/c <<END"),
        RUNS[2:],
        "mount-added",
        "mount added: type=cache,target=/c",
        ("--build-arg", "UNUSED=1", "--secret", "id=word,env=OTHER"),
    ),
    Case(
        "a working directory",
        _edit("RUN echo", "WORKDIR /tmp\nRUN echo"),
        (*RUNS, "stage-0 6"),
        "instruction-added",
        "instruction added: WORKDIR /tmp",
        ("--build-arg", "UNUSED=1", "--secret", "id=word,env=OTHER"),
    ),
]


@pytest.mark.toolchain
def test_arguments_variables_and_mounts(make_checkout: Make, alpine: str) -> None:
    # The first file is new in each run: nothing after it is in the cache.
    checkout = make_checkout(COMMANDS.replace("{base}", alpine))
    for name in ("app.txt", "script.sh", "late.txt"):
        _write(name)(checkout.root)
    _run(checkout, OF_COMMANDS, WORD="something", OTHER="anything")
    for path in (checkout.root.parent).rglob("*.json"):
        assert "something" not in path.read_text(encoding="utf-8")


def _push(reference: str, folder: Path) -> None:
    """Have a registry hold an image that no other has, under a tag."""
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY x /x\n", encoding="utf-8")
    _write("x")(folder)
    output = f"type=image,name={reference},push=true"
    docker("buildx", "build", "--provenance=false", "--output", output, str(folder))
    docker("image", "rm", reference, check=False)


def _prune(word: str) -> None:
    """Remove what the builder has cached of the steps whose names hold a word."""
    for _ in range(3):
        listing = docker("buildx", "du", "--verbose")
        parts = [part for part in listing.split("\n\n") if word in part]
        for part in parts:
            name = part.partition("ID:")[2].split()[0]
            docker("buildx", "prune", "--force", "--filter", f"id={name}")
    assert word not in docker("buildx", "du", "--verbose")


@pytest.mark.toolchain
def test_images_platforms_and_options(make_checkout: Make, tmp_path: Path) -> None:
    word = f"late-{secrets.token_hex(4)}.txt"
    with registry(tmp_path / "registry", password=False, memory=True) as server:
        base, tool = (f"{server.host}/{name}:1" for name in ("base", "tool"))
        for reference in (base, tool):
            _push(reference, tmp_path / "image")
        checkout = make_checkout(
            f"FROM {base} AS one\nCOPY app.txt /app.txt\nFROM scratch\n"
            f"COPY --from=one /x /app.txt /\nCOPY --from={tool} /x /y\nCOPY {word} /\n"
        )
        for name in ("app.txt", word):
            _write(name)(checkout.root)
        _build(checkout)
        steps = ("one 1", "stage-1 1", "stage-1 2", "stage-1 3")
        for case in (
            Case("nothing", _nothing),
            Case(
                "a base that moved",
                lambda _: _push(base, tmp_path / "image"),
                steps,
                "base",
                f"base {base} moved: ",
                ("--pull",),
            ),
            Case(
                "an image that moved, from which files are taken",
                lambda _: _push(tool, tmp_path / "image"),
                steps[2:],
                "base",
                f"base {tool} moved: ",
                ("--pull",),
            ),
            Case(
                "what the builder removed",
                lambda _: _prune(word),
                steps[3:],
                "lost",
                LOST,
            ),
            # To copy files is the same on every platform.
            Case("another platform", _nothing, words=("--platform", "linux/arm64")),
            Case(
                "a file and another platform",
                _write("app.txt"),
                steps,
                "file-changed",
                "file changed: app.txt",
                ("--platform", "linux/s390x"),
            ),
        ):
            case.change(checkout.root)
            assert not _check(checkout, case, _build(checkout, *case.words)), case.name


def test_a_stage_is_built_again_by_an_option(make_checkout: Make) -> None:
    # A newer BuildKit may take the results of later steps from its cache instead.
    checkout = make_checkout("FROM scratch AS one\nCOPY a /\nFROM scratch\nCOPY --from=one /a /\n")
    _write("a")(checkout.root)
    words = ("--no-cache-filter", "one")
    text = "--no-cache-filter one"
    _run(checkout, [Case("a filter", _nothing, ("one 1",), "no-cache", text, words)])
    # What a real build leaves has a page, and a summary.
    summary = checkout.root.parent / "summary"
    _build(checkout, *words, GITHUB_STEP_SUMMARY=str(summary))
    assert "| no-cache" not in (written := summary.read_text("utf-8"))
    assert written.startswith(f"### {checkout.image} ")
    assert "--no-cache-filter one" in written.replace("&#45;", "-")
    done = checkout.invoke("docker-report")
    page = Path(done.stdout.strip()).read_text("utf-8")
    assert "[one 1/1]</b> COPY a /<small>--no-cache-filter one</small>" in page


@pytest.mark.toolchain
@pytest.mark.parametrize("output", ["load", "oci"])
def test_the_layers_and_files_of_what_was_built_are_on_record(
    make_checkout: Make, output: str
) -> None:
    checkout = make_checkout("FROM scratch\nCOPY a /a\nCOPY large /large\n")
    _write("a")(checkout.root)
    _write("large", "x" * 50_000)(checkout.root)
    words = ("--output", output)
    done = checkout.invoke("docker-build", *words)
    assert done.returncode == 0, done.stderr
    record, _ = _last(checkout)
    assert len(record.layers) == 2
    assert ["/a" in record.layers[0].made_by, "/large" in record.layers[1].made_by] == [True] * 2
    assert all(one.size > 0 for one in record.layers)
    done = checkout.invoke("docker-report")
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.strip()).read_text("utf-8")
    assert "Largest files of the image" in page
    record, _ = _last(checkout)
    assert [(one.path, one.size) for one in record.largest][:1] == [("large", 50_009)]
    # Where everything was in the cache, nobody is asked.
    assert checkout.invoke("docker-build", *words).returncode == 0
    assert not _last(checkout)[0].layers


def test_steps_run_from_the_first_one_whose_files_changed(make_checkout: Make) -> None:
    names = [f"f{number}" for number in range(6)]
    lines = ["FROM scratch", *(f"COPY {name} /{name}/" for name in names)]
    checkout = make_checkout("\n".join(lines))
    for name in names:
        _write(f"{name}/x")(checkout.root)
    seed = secrets.randbelow(1 << 30)
    chance = random.Random(seed)
    cases = []
    for _ in range(5):
        changed = sorted(chance.sample(names, chance.randint(1, 3)))
        ran = tuple(f"stage-0 {n + 1}" for n in range(names.index(changed[0]), len(names)))
        change = _both(*(_write(f"{name}/x") for name in changed))
        text = f"file changed: {changed[0]}/x"
        cases.append(Case(f"{seed}: {changed}", change, ran, "file-changed", text))
    _run(checkout, cases)
