"""Why a step ran, as one pure function over two records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.dockerfile.definitions import read_written
from buildlib.errors import InputError
from buildlib.records.cause import LOST, explain
from buildlib.records.record import File, Record, Step
from buildlib.records.why import WhyReport, advice, choose_steps

OLD, NEW = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
DOCKERFILE = """\
ARG GO=1.24
FROM golang:$GO AS build
ARG USED
ARG UNUSED=1
ENV A=1 B=2
COPY app.txt src /src/
RUN --mount=type=bind,source=script.sh,target=/s make $USED
FROM alpine:3.22
ARG DEST=/out
COPY --from=build /src $DEST
"""
# Digest, name and inputs of each step, as BuildKit has them for that Dockerfile.
STEPS = (
    ("c", "[internal] load build context", ""),
    ("f", "[build 1/3] FROM docker.io/library/golang:1.24@{base}", ""),
    ("1", "[build 2/3] COPY app.txt src /src/", "fc"),
    ("2", "[build 3/3] RUN --mount=type=bind,source=script.sh,target=/s make $USED", "1c"),
    ("g", "[stage-1 1/2] FROM docker.io/library/alpine:3.22", ""),
    ("3", "[stage-1 2/2] COPY --from=build /src /out", "g2"),
)
FILES = {
    "app.txt": File(mode="100644", size=1, digest="a"),
    "src": File(mode="040000", size=0, digest=""),
    "src/x": File(mode="100644", size=1, digest="x"),
    "src/y": File(mode="100644", size=1, digest="y"),
    "script.sh": File(mode="100755", size=1, digest="s"),
    "other": File(mode="100644", size=1, digest="o"),
}


def _record(cached: str = "", dockerfile: str = DOCKERFILE, **changes: Any) -> Record:
    written = read_written(dockerfile)
    base = changes.pop("base", OLD)
    return replace(
        Record(
            id="1",
            image="thing",
            native="linux/amd64",
            args={"USED": "u"},
            syntax=written.syntax,
            instructions=written.instructions,
            files=FILES,
            steps=tuple(
                Step(
                    digest=digest,
                    name=name.format(base=base),
                    inputs=tuple(inputs),
                    started="0",
                    ended="1",
                    seconds=1.0,
                    cached=digest in cached,
                )
                for digest, name, inputs in STEPS
            ),
        ),
        **changes,
    )


BEFORE = _record()


def _files(**changes: File | None) -> dict[str, File]:
    merged = FILES | {
        name.replace("__", "/").replace("_", "."): one for name, one in changes.items()
    }
    return {path: one for path, one in merged.items() if one}


def _text(old: str, new: str) -> str:
    assert old in DOCKERFILE
    return DOCKERFILE.replace(old, new)


CHANGED = File(mode="100644", size=1, digest="changed")
# The change, which steps were cached, where it began, and the cause.
TABLE: dict[str, tuple[Record, str, str, str]] = {
    "nothing": (_record(), "2", "lost", LOST),
    "content": (
        _record(files=_files(app_txt=CHANGED)),
        "1",
        "file-changed",
        "file changed: app.txt",
    ),
    "mode": (
        _record(files=_files(app_txt=FILES["app.txt"]._replace(mode="100755"))),
        "1",
        "file-mode",
        "mode of app.txt changed: 0644 → 0755",
    ),
    "a link instead of a file": (
        _record(files=_files(app_txt=FILES["app.txt"]._replace(mode="120777"))),
        "1",
        "file-changed",
        "file changed: app.txt",
    ),
    "two modes": (
        _record(
            files=_files(
                src__x=FILES["src/x"]._replace(mode="100755"),
                src__y=FILES["src/y"]._replace(mode="100755"),
            )
        ),
        "1",
        "file-mode",
        "mode of src/x changed: 0644 → 0755, and of 1 more",
    ),
    "addition": (_record(files=_files(src__z=CHANGED)), "1", "file-added", "file added: src/z"),
    "removal": (_record(files=_files(src__x=None)), "1", "file-removed", "file removed: src/x"),
    "rename": (
        _record(files=_files(src__x=None, src__z=FILES["src/x"])),
        "1",
        "file-renamed",
        "file renamed: src/x → src/z",
    ),
    "many": (
        _record(files=_files(**{f"src__{n}": CHANGED for n in "abcde"})),
        "1",
        "file-added",
        "5 files added: src/a, src/b, src/c and 2 more",
    ),
    "a file that no step takes": (_record(files=_files(other=CHANGED)), "2", "lost", LOST),
    "a bind mount": (
        _record("1", files=_files(script_sh=CHANGED)),
        "2",
        "file-changed",
        "file changed: script.sh",
    ),
    "files beyond those that are listed": (
        _record(unlisted=3, rest="x"),
        "1",
        "file-changed",
        "one or more of 3 files that are not listed changed",
    ),
    "an argument that is used": (
        _record("1", args={"USED": "v"}),
        "2",
        "argument-changed",
        "argument USED changed: u → v",
    ),
    "an argument that was not given before": (
        _record("1", args={"USED": "u", "UNUSED": "***1"}),
        "2",
        "argument-changed",
        "argument UNUSED changed",
    ),
    "an argument that is not given any more": (
        _record("1", args={}),
        "2",
        "argument-removed",
        "argument USED removed",
    ),
    "an argument that nothing declares": (_record(args={"USED": "u", "X": "1"}), "2", "lost", LOST),
    "a default": (
        _record("1", _text("UNUSED=1", "UNUSED=")),
        "2",
        "argument-changed",
        "argument UNUSED changed: 1 → empty",
    ),
    "an argument in a COPY": (
        _record("12", args={"USED": "u", "DEST": "/d"}),
        "3",
        "argument-changed",
        "argument DEST changed: /out → /d",
    ),
    "a global argument": (
        _record("", _text("GO=1.24", "GO=1.25")),
        "f",
        "argument-changed",
        "argument GO changed: 1.24 → 1.25",
    ),
    "a variable": (
        _record("1", _text("B=2", "B=3")),
        "2",
        "variable-changed",
        "variable B changed: 2 → 3",
    ),
    "a new variable": (
        _record("1", _text("B=2", "B=2 C=3")),
        "2",
        "variable-added",
        "variable C added: 3",
    ),
    "a variable less": (
        _record("1", _text(" B=2", "")),
        "2",
        "variable-removed",
        "variable B removed",
    ),
    "the order of variables": (
        _record("1", _text("A=1 B=2", "B=2 A=1")),
        "2",
        "order-changed",
        "order of variables changed: B comes earlier",
    ),
    "quotes": (_record(dockerfile=_text("B=2", 'B="2"')), "2", "lost", LOST),
    "a comment": (_record(dockerfile=_text("FROM alpine", "# x\nFROM alpine")), "2", "lost", LOST),
    "a user": (
        _record("1", _text("RUN", "USER 1\nRUN")),
        "2",
        "instruction-edited",
        "USER changed: empty → 1",
    ),
    "a shell": (
        _record("1", _text("RUN", 'SHELL ["x"]\nRUN')),
        "2",
        "instruction-edited",
        'SHELL changed: empty → ["x"]',
    ),
    "an edited instruction": (
        _record("1", _text("make", "make all")),
        "2",
        "instruction-edited",
        (
            "instruction edited: RUN --mount=type=bind,source=script.sh,target=/s make $USED → "
            "RUN --mount=type=bind,source=script.sh,target=/s make all $USED"
        ),
    ),
    "an edited instruction whose step was cached": (
        _record("1", _text("app.txt src", "src app.txt")),
        "1",
        "instruction-edited",
        "instruction edited: COPY app.txt src /src/ → COPY src app.txt /src/",
    ),
    "a mount": (
        _record("1", _text("RUN", "RUN --mount=type=cache,target=/c")),
        "2",
        "mount-added",
        "mount added: type=cache,target=/c",
    ),
    "a secret": (
        _record("1", _text("RUN", "RUN --mount=type=secret,id=s")),
        "2",
        "secret-added",
        "secret added: s",
    ),
    "a base": (
        _record("", base=NEW),
        "f",
        "base",
        f"base docker.io/library/golang:1.24 moved: {'1' * 12} → {'2' * 12}",
    ),
    "a base that is here already": (
        _record("f", base=NEW),
        "1",
        "base",
        f"base docker.io/library/golang:1.24 moved: {'1' * 12} → {'2' * 12}",
    ),
    "a frontend": (
        _record(dockerfile=f"# syntax=x:2\n{DOCKERFILE}"),
        "1",
        "syntax",
        "# syntax= changed: none → x:2",
    ),
    "a platform": (
        _record(platforms=("linux/arm64",)),
        "1",
        "platform",
        "other platform: linux/amd64 → linux/arm64",
    ),
    "a builder": (
        _record(builder="farm"),
        "1",
        "builder",
        "other builder: the current builder → farm",
    ),
    "--no-cache": (_record(argv=("x", "--no-cache")), "1", "no-cache", "--no-cache"),
    "--no-cache-filter": (
        _record("f12", argv=("x", "--no-cache-filter", "stage-1,x")),
        "3",
        "no-cache",
        "--no-cache-filter stage-1,x",
    ),
    "a filter for another stage": (_record("f", argv=("--no-cache-filter=x",)), "1", "lost", LOST),
}
LABELS = {digest: f"{name.partition(']')[0]}]" for digest, name, _ in STEPS}


@pytest.mark.parametrize("name", TABLE)
def test_the_first_cause_is_named_and_not_what_follows(name: str) -> None:
    now, began, kind, text = TABLE[name]
    causes = explain(now, BEFORE)
    # That of a base counts only where it is another one.
    found = {digest: (one.kind, one.text) for digest, one in causes.items()}
    ran = {one.digest for one in now.steps if not one.cached and one.digest in "123"}
    assert set(found) - {"f"} == ran
    assert set(found.values()) == {(kind, text)}
    if kind != "lost":
        assert {one.step for one in causes.values()} == {LABELS[began]}


def test_what_would_have_run_anyway_is_named_where_the_cache_was_not_used() -> None:
    now = _record(argv=("x", "--no-cache"), files=_files(script_sh=CHANGED))
    causes = explain(now, BEFORE)
    assert {causes[digest].kind for digest in "123"} == {"no-cache"}
    also = "--no-cache; would have run anyway: file changed: script.sh"
    assert [causes[digest].text for digest in "123"] == ["--no-cache", also, also]
    assert causes["3"].digest == "2"
    assert causes["2"].paths == ("script.sh",)


def test_a_step_that_was_cached_hides_what_ran_before_it() -> None:
    files = _files(app_txt=CHANGED)
    now = _record("3", files=files)
    assert set(explain(now, BEFORE)) == {"1", "2"}


def test_a_build_that_failed_did_not_fill_the_cache() -> None:
    failed = replace(
        BEFORE,
        result="failed",
        steps=tuple(replace(one, error="x" * (one.digest == "2")) for one in BEFORE.steps[:4]),
    )
    causes = explain(_record("1"), failed)
    text = "the previous build failed before this step was done"
    assert {one.text for one in causes.values()} == {text}
    interrupted = replace(failed, result="interrupted")
    assert "was interrupted" in explain(_record("1"), interrupted)["2"].text


def test_what_an_address_holds_is_not_on_record() -> None:
    dockerfile = "FROM scratch\nADD https://example.org/x /\n"
    steps = (
        Step(digest="u", name="https://example.org/x", ended="1"),
        Step(digest="1", name="[1/1] ADD https://example.org/x /", inputs=("u",), ended="1"),
    )
    now = _record(dockerfile=dockerfile, steps=steps)
    assert explain(now, now)["1"].kind == "remote"
    elsewhere = replace(steps[0], name="[context shared] load from client")
    now = replace(now, steps=(elsewhere, steps[1]))
    assert explain(now, now)["1"].kind == "remote"


def test_an_image_that_stands_for_a_base_is_compared_by_its_digest() -> None:
    dockerfile = "FROM alpine:3.22\nCOPY app.txt /\nCOPY --from=tool /x /\n"
    names = ("[stage-0 1/3] COPY app.txt /", "[stage-0 2/3] COPY --from=tool /x /")
    steps = tuple(
        Step(digest=str(n), name=name, inputs=("0",) * n, ended="1") for n, name in enumerate(names)
    )
    contexts = [f"--build-context={name}=oci-layout:///x" for name in ("alpine:3.22", "tool")]
    bases = {"alpine:3.22": OLD, "tool": OLD}
    before = _record(dockerfile=dockerfile, steps=steps, argv=tuple(contexts), bases=bases)
    now = replace(before, bases=bases | {"alpine:3.22": NEW})
    text = f"base alpine:3.22 moved: {'1' * 12} → {'2' * 12}"
    assert {one.text for one in explain(now, before).values()} == {text}
    second = replace(steps[0], cached=True), steps[1]
    now = replace(before, bases=bases | {"tool": NEW}, steps=second)
    assert explain(now, before)["1"].text == text.replace("alpine:3.22", "tool")


@pytest.mark.parametrize(
    ("line", "matters"),
    [("RUN make", True), ("COPY app.txt x", True), ("COPY app.txt /x", False)],
)
def test_a_working_directory_matters_to_commands_and_relative_paths(
    line: str, *, matters: bool
) -> None:
    def record(folder: str) -> Record:
        words = ("FROM alpine", f"WORKDIR {folder}", line)
        # Of an earlier build, there is a cached step for each directory.
        steps = tuple(
            Step(digest=str(n), name=f"[{n}/3] {text}", ended="1", cached=n < 3)
            for n, text in enumerate(words, 1)
        )
        return _record(dockerfile="\n".join(words), steps=steps)

    causes = explain(record("/b"), record("/a"))
    assert causes["3"].text == ("WORKDIR changed: /a → /b" if matters else LOST)


def test_instructions_are_added_and_removed() -> None:
    one = "FROM scratch\nCOPY app.txt /\nCOPY src /\n"
    two = "FROM scratch\nCOPY app.txt /\nCOPY other /\nCOPY src /\n"
    chain = [("1", "[1/2] COPY app.txt /", ""), ("2", "[2/2] COPY src /", "1")]
    long = [
        ("1", "[1/3] COPY app.txt /", ""),
        ("2", "[2/3] COPY other /", "1"),
        ("3", "[3/3] COPY src /", "2"),
    ]

    def record(text: str, steps: list[tuple[str, str, str]]) -> Record:
        return _record(
            dockerfile=text,
            steps=tuple(
                Step(digest=d, name=name, inputs=tuple(inputs), ended="1", cached=d == "1")
                for d, name, inputs in steps
            ),
        )

    short_one, long_one = record(one, chain), record(two, long)
    assert explain(long_one, short_one)["3"].text == "instruction added: COPY other /"
    assert explain(short_one, long_one)["2"].text == "instruction removed: COPY other /"


def test_the_first_build_has_no_cause() -> None:
    assert explain(BEFORE, None) == {}
    text = WhyReport(record=BEFORE, before=None, steps=choose_steps(BEFORE, "")).as_text()
    assert "no earlier record" in text
    drawn = replace(BEFORE, steps=())
    text = WhyReport(record=drawn, before=BEFORE, steps=()).as_text()
    assert "buildx drew its own progress" in text


def test_a_report_has_a_line_for_each_step_and_its_cause() -> None:
    now = _record("fg1", args={"USED": "v"})
    report = WhyReport(record=now, before=BEFORE, steps=choose_steps(now, ""))
    lines = report.as_text().splitlines()
    assert lines[1:] == [
        f"compared with {BEFORE.task} of {BEFORE.version}, {BEFORE.started[:19]}Z (1)",
        "    1.0 s  [build 3/3]    RUN --mount=type=bind,source=script.sh,target=/s make $USED",
        "          argument USED changed: u → v",
        "    1.0 s  [stage-1 2/2]  COPY --from=build /src /out",
        "          after [build 3/3]: argument USED changed: u → v",
    ]
    (first, second) = report.as_dict()["steps"]
    assert first["cause"] == {
        "kind": "argument-changed",
        "text": "argument USED changed: u → v",
        "step": "[build 3/3]",
    }
    assert second["cause"] == first["cause"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("build 3/3", "[build 3/3]"),
        ("[build 3/3]", "[build 3/3]"),
        ("3/3", "[build 3/3]"),
        ("make", "[build 3/3]"),
        ("copy --from", "[stage-1 2/2]"),
    ],
)
def test_a_step_has_several_names(name: str, label: str) -> None:
    assert [one.label for one in choose_steps(BEFORE, name)] == [label]


def test_a_name_without_a_platform_is_a_step_of_each() -> None:
    names = ("[linux/amd64 run 1/2] COPY a /", "[linux/amd64->arm64 run 1/2] COPY a /")
    record = _record(steps=tuple(Step(digest=one, name=one) for one in names))
    assert [one.name for one in choose_steps(record, "run 1/2")] == [*names]
    assert [one.name for one in choose_steps(record, "linux/amd64 run 1/2")] == [names[0]]


def test_a_step_that_is_not_there_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(InputError) as caught:
        choose_steps(BEFORE, "biuld 3/3")
    assert "did you mean build 3/3?" in str(caught.value)


def test_a_line_for_dockerignore_follows_from_what_git_has() -> None:
    files = _files(src__x=CHANGED)
    now = _record("fg", files=files, not_in_git=("src/x",))
    line = "git does not have src/x: a line for it in .dockerignore would have saved 3.0 s"
    assert advice(now, explain(now, BEFORE)) == [line]
    tracked = replace(now, not_in_git=())
    assert advice(tracked, explain(tracked, BEFORE)) == []


def test_an_earlier_copy_follows_from_what_a_step_reads() -> None:
    dockerfile = "FROM scratch\nCOPY . /\nRUN pip install --no-cache-dir -r requirements.txt\n"
    names = ("[1/2] COPY . /", "[2/2] RUN pip install --no-cache-dir -r requirements.txt")
    steps = tuple(
        Step(digest=str(n), name=name, inputs=("0",) * n, ended="1", seconds=2.0)
        for n, name in enumerate(names)
    )
    held = FILES | {"requirements.txt": CHANGED}
    before = _record(dockerfile=dockerfile, steps=steps, files=held)
    now = replace(before, files=held | {"app.txt": CHANGED})
    assert advice(now, explain(now, before)) == [
        (
            "[2/2] reads requirements.txt, which did not change: COPY that before it, and the rest "
            "after it; that would have saved 2.0 s"
        )
    ]
    both = replace(now, files=held | {"requirements.txt": FILES["app.txt"]})
    assert advice(both, explain(both, before)) == []


def _chain(files: list[str], cached: int) -> Record:
    """Return a build that copies one file after another, the first ones from the cache."""
    names = [f"f{number}" for number in range(len(files))]
    total = len(names)
    return _record(
        dockerfile="\n".join(["FROM scratch", *(f"COPY {name} /" for name in names)]),
        files={
            name: File(mode="100644", size=1, digest=one)
            for name, one in zip(names, files, strict=True)
        },
        steps=tuple(
            Step(
                digest=name,
                name=f"[{number + 1}/{total}] COPY {name} /",
                inputs=tuple(names[number - 1 : number]),
                ended="1",
                cached=number < cached,
            )
            for number, name in enumerate(names)
        ),
    )


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), min_size=1, max_size=8))
def test_whatever_changed_the_first_change_is_the_cause(pairs: list[tuple[str, str]]) -> None:
    old, new = ([*side] for side in zip(*pairs, strict=True))
    first = next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))
    causes = explain(_chain(new, first), _chain(old, 0))
    assert list(causes) == [f"f{number}" for number in range(first, len(pairs))]
    assert {one.text for one in causes.values()} == {f"file changed: f{first}"} or not causes


def test_an_instruction_that_is_cut_says_so_and_an_unknown_step_lists_each_once() -> None:
    long = replace(BEFORE.steps[-1], name=f"[stage-1 2/2] RUN {'x' * 90}")
    record = replace(BEFORE, steps=(*reversed(BEFORE.steps[:-1]), long))
    text = WhyReport(record=record, before=None, steps=(long,)).as_text()
    assert f"RUN {'x' * 55}…" in text
    with pytest.raises(InputError) as caught:
        choose_steps(record, "nothing like it")
    listed = caught.value.why.splitlines()
    assert len(listed) == len(set(listed))
    assert listed[1:] == sorted(listed[1:])
    assert caught.value.hint == ""
