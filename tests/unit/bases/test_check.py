from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from buildlib.bases.check import BasesReport, BaseStatus, not_asked
from buildlib.bases.end_of_life import SUPPORTED, Lifetimes, read_lifetimes
from buildlib.bases.newer_tags import Newer, find_newer
from buildlib.config.bases import Bases
from buildlib.config.key_types import MismatchError, parse_table
from buildlib.dockerfile.pins import BUILDER, Base, read_bases, repin
from buildlib.errors import EngineError, GateError, InputError

OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64
TEXT = f"""\
# FROM alpine:3.22 in a comment stays
ARG GO=1.24
ARG WHOLE=busybox:1.36@{OLD}
FROM --platform=$BUILDPLATFORM golang:${{GO}}-alpine AS build\r
RUN <<EOF
FROM alpine:3.22
EOF
FROM alpine:3.22@{OLD} AS one
FROM build AS two
FROM \\
  alpine:3.22@{OLD}
FROM ${{WHOLE}}
FROM scratch
COPY --from=alpine:3.22 /x /
"""


def test_bases_are_read_with_their_pins_and_lines() -> None:
    assert read_bases(TEXT, {}) == (
        Base(reference="golang:1.24-alpine", digests=("",), lines=(4,), platforms=(BUILDER,)),
        Base(reference="alpine:3.22", digests=(OLD, ""), lines=(8, 10, 14)),
        Base(reference="busybox:1.36", digests=(OLD,), lines=(12,)),
    )
    assert read_bases(TEXT, {"GO": "1.26"})[0].reference == "golang:1.26-alpine"


def test_a_base_has_a_pin_only_where_every_from_has_the_same() -> None:
    (mixed,) = read_bases(f"FROM alpine:3.22@{OLD} AS a\nFROM alpine:3.22\n", {})
    assert (mixed.digests, mixed.pinned) == ((OLD, ""), "")


def test_pins_are_rewritten_in_place_and_nothing_else() -> None:
    pins = {"golang:1.24-alpine": NEW, "alpine:3.22": NEW}
    expected = (
        TEXT.replace("${GO}-alpine AS", f"${{GO}}-alpine@{NEW} AS")
        .replace(f"alpine:3.22@{OLD}", f"alpine:3.22@{NEW}")
        .replace("--from=alpine:3.22 ", f"--from=alpine:3.22@{NEW} ")
    )
    done = repin(TEXT, pins, {})
    assert done == expected
    assert f"busybox:1.36@{OLD}" in done
    assert repin(done, pins, {}) == done


def test_a_pin_that_an_arg_holds_is_rewritten_there() -> None:
    done = repin(TEXT, {"busybox:1.36": NEW}, {})
    assert done == TEXT.replace(f"busybox:1.36@{OLD}", f"busybox:1.36@{NEW}")


def test_a_mount_is_pinned_in_any_case_and_at_its_line() -> None:
    text = "FROM scratch\n# \x0c\u2028 told\nRUN --mount=From=tools:1,target=/x cat tools:1\r\n"
    (base,) = read_bases(text, {})
    assert base.lines == (3,)
    assert repin(text, {"tools:1": NEW}, {}) == text.replace("tools:1,", f"tools:1@{NEW},")


def test_images_that_files_are_taken_from_are_pinned() -> None:
    text = (
        "FROM scratch AS tools\n"
        "FROM scratch\n"
        "COPY --from=tools /tools /\n"
        "COPY --chown=1 --from='tools:1' \\\n  tools:1 /\n"
        f"RUN --mount=from=tools:1@{OLD},target=/t \\\n"
        "  --mount=type=bind,from=tools:1,target=/u echo tools:1 tools:1.5\n"
    )
    (base,) = read_bases(text, {})
    assert base == Base(reference="tools:1", digests=("", OLD), lines=(4, 6, 6))
    done = repin(text, {"tools:1": NEW}, {})
    assert done == text.replace("--from='tools:1'", f"--from='tools:1@{NEW}'").replace(
        OLD, NEW
    ).replace("from=tools:1,", f"from=tools:1@{NEW},")
    assert repin(done, {"tools:1": NEW}, {}) == done


@pytest.mark.parametrize(
    ("line", "pinned"),
    [
        ('FROM "tools:1"', f'FROM "tools:1@{NEW}"'),
        ("FROM 'tools:1' AS a", f"FROM 'tools:1@{NEW}' AS a"),
        ('FROM "tools":1', f'FROM "tools":1@{NEW}'),
        ("FROM 'too'\"ls:1\"", f"FROM 'too'\"ls:1@{NEW}\""),
        (f'FROM "tools:1@{OLD}"', f'FROM "tools:1@{NEW}"'),
        (f'FROM "tools:1"@{OLD}', f'FROM "tools:1"@{NEW}'),
        ('FROM --platform=linux/amd64 "tools:1"', f'FROM --platform=linux/amd64 "tools:1@{NEW}"'),
        ('FROM "$B"', f'FROM "$B@{NEW}"'),
        ("FROM ${B}", f"FROM ${{B}}@{NEW}"),
        ('FROM "${B}"\tAS a', f'FROM "${{B}}@{NEW}"\tAS a'),
        ('FROM "too${L}1"', f'FROM "too${{L}}1@{NEW}"'),
    ],
)
def test_a_base_is_pinned_however_it_is_quoted(line: str, pinned: str) -> None:
    above = 'ARG B=tools:1\nARG L="ls:"\n'
    done = repin(f"{above}{line}\n", {"tools:1": NEW}, {})
    assert done == f"{above}{pinned}\n"
    assert [base.pinned for base in read_bases(done, {})] == [NEW]
    assert repin(done, {"tools:1": NEW}, {}) == done


@pytest.mark.parametrize("sign", ["\f", "\v", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_what_is_no_end_of_a_line_begins_no_instruction(sign: str) -> None:
    text = f"FROM a:1\nRUN true {sign}FROM b:1\r\nCOPY x{sign}FROM c:1 /\nFROM d:1\n"
    found = [base.reference for base in read_bases(text, {})]
    assert found == ["a:1", "d:1"]
    done = repin(text, dict.fromkeys(("a:1", "b:1", "c:1", "d:1"), NEW), {})
    assert done == text.replace("a:1", f"a:1@{NEW}").replace("d:1", f"d:1@{NEW}")


def test_comments_keep_the_digests_that_they_tell_of() -> None:
    text = (
        f"# syntax=docker/dockerfile:1@{OLD}\n"
        f"# was {OLD} until spring\n"
        f"ARG WHOLE=alpine:3.22@{OLD} \\\n"
        f"  # not {OLD} for ever\n"
        f"  OTHER={OLD}\n"
        f"FROM ${{WHOLE}} AS a\n"
        f"FROM \\\n"
        f"  # {OLD}, of alpine:3.22@{OLD}\n"
        f"  alpine:3.22@{OLD}\n"
        f"FROM \\\n  # busybox:1.36 has no pin yet\n  busybox:1.36\n"
    )
    done = repin(text, {"alpine:3.22": NEW, "busybox:1.36": NEW}, {})
    before, after = text.splitlines(), done.splitlines()
    comments = [line for line in before if line.lstrip().startswith("#")]
    assert [line for line in after if line.lstrip().startswith("#")] == comments
    assert after[2] == f"ARG WHOLE=alpine:3.22@{NEW} \\"
    assert after[8].strip() == f"alpine:3.22@{NEW}"
    assert after[11].strip() == f"busybox:1.36@{NEW}"


def test_a_byte_order_mark_stays_and_an_image_by_platform_is_not_pinned() -> None:
    text = "\ufeffFROM alpine:3.22 AS amd64\nFROM $TARGETARCH/x:1\nFROM $TARGETARCH\n"
    assert [base.reference for base in read_bases(text, {})] == ["alpine:3.22"]
    done = repin(text, {"alpine:3.22": NEW, "/x:1": NEW}, {})
    assert done == text.replace("alpine:3.22", f"alpine:3.22@{NEW}")


@pytest.mark.parametrize(
    ("tag", "newer"),
    [
        pytest.param("3.22", Newer(minor="3.23"), id="a tag of a line has no newer patch"),
        pytest.param("3.22.1", Newer("3.22.10", "3.23.0"), id="numbers, not letters, are compared"),
        pytest.param("1.24-alpine", Newer(minor="1.26-alpine"), id="only what ends alike"),
        pytest.param("1.26-alpine", Newer(), id="the newest has none"),
        pytest.param("1.24.1-alpine", Newer("1.24.2-alpine", ""), id="a patch alone"),
        pytest.param("3", Newer(), id="a major tag moves by itself"),
        pytest.param("edge", Newer(), id="one without numbers"),
    ],
)
def test_newer_tags_are_found_by_their_numbers(tag: str, newer: Newer) -> None:
    tags = (
        *("3", "3.22", "3.23", "3.9", "4.0", "3.22.1", "3.22.2", "3.22.10", "3.23.0", "edge"),
        *("1.24-alpine", "1.25-alpine", "1.26-alpine", "1.27", "1.27rc1-alpine", "2.0-alpine"),
        *("1.24.1-alpine", "1.24.2-alpine", "1.24.9-bookworm", "20240101"),
    )
    assert find_newer(tag, tags) == newer


@pytest.mark.parametrize(
    ("tag", "tags", "newer"),
    [
        ("3.12.1-slim", ["3.12.20240101-slim", "3.12.2-slim"], Newer("3.12.2-slim")),
        ("3.12.1", ["3.202401.1", "20240101.0.0"], Newer()),
        ("3.12.20240101", ["3.12.20240301", "3.12.9"], Newer("3.12.20240301")),
        (
            "22.04.20240101",
            ["22.04.20240301", "22.10.20240301"],
            Newer("22.04.20240301", "22.10.20240301"),
        ),
        ("2024.01", ["2024.02"], Newer(minor="2024.02")),
    ],
)
def test_a_date_is_no_newer_number(tag: str, tags: list[str], newer: Newer) -> None:
    assert find_newer(tag, [tag, *tags]) == newer


def _table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_table_knows_the_longest_line_that_a_tag_belongs_to(tmp_path: Path) -> None:
    found = read_lifetimes(
        _table(
            tmp_path / "t.toml",
            'checked = 2026-01-31\nsources = ["https://example.org"]\n'
            '[lines.golang]\n"1.2" = 2020-01-01\n"1.24" = 2026-02-10\n"1" = 2030-01-01\n'
            '"1.27" = "supported"\n',
        )
    )
    assert found.end("library/golang", "1.24-alpine") == date(2026, 2, 10)
    assert found.end("golang", "1.24.3") == date(2026, 2, 10)
    assert found.end("golang", "1.25") == date(2030, 1, 1)
    assert found.end("golang", "1.27-alpine") == SUPPORTED
    assert found.end("golang", "10.2") is None
    assert found.end("alpine", "3.22") is None
    assert found.age(date(2026, 3, 2)) == 30


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("checked = ", id="no TOML"),
        pytest.param("", id="not said when it was compared"),
        pytest.param("checked = 2026-01-31T00:00:00Z\n", id="a time is no day"),
        pytest.param('checked = 2026-01-31\n[lines]\nalpine = "x"\n', id="a line without days"),
        pytest.param('checked = 2026-01-31\n[lines.a]\n"3" = "soon"\n', id="a day that is none"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_lifetimes(_table(tmp_path / "t.toml", text))
    assert "t.toml" in str(caught.value)


def test_the_table_knows_the_lines_of_go_that_are_supported() -> None:
    root = Path(__file__).parents[3]
    found = read_lifetimes(root / "security" / "end-of-life.toml")
    ends = [found.end("golang", tag) for tag in ("1.25-alpine", "1.26-alpine", "1.27-alpine")]
    assert ends == [date(2026, 8, 19), SUPPORTED, SUPPORTED]


def test_a_line_that_is_supported_is_no_problem() -> None:
    table = Lifetimes(checked=date(2026, 1, 1), lines={"golang": {"1.27": SUPPORTED}})
    base = Base(reference="golang:1.27-alpine", digests=(NEW,), lines=(1,))
    today = date(2030, 1, 1)
    report = not_asked(base, table, today)
    assert report.problems == ()
    assert report.as_dict(today)["end_of_life"] == "supported"
    assert BasesReport(bases=(report,), today=today).as_text().endswith("supported")


def test_the_settings_are_read() -> None:
    read = parse_table(Bases, {"end-of-life": "x.toml", "table-max-age": 9}, "bases")
    assert read == Bases(end_of_life="x.toml", table_max_age=9)
    with pytest.raises(InputError) as caught:
        parse_table(Bases, {"end-of-live": "x"}, "bases")
    assert "end-of-life" in str(caught.value)
    with pytest.raises(MismatchError):
        parse_table(Bases, [], "bases")


BEHIND = BaseStatus(base=Base(reference="a:1", digests=(OLD,), lines=(1,)), current=NEW)
LACKING = replace(BEHIND, missing=("linux/arm64",))
REPORT = BasesReport(bases=(), today=date(2026, 6, 15))


def test_a_base_that_is_out_of_date_fails_only_a_strict_check() -> None:
    assert replace(REPORT, bases=(BEHIND,)).problems() == []
    (problem,) = replace(REPORT, bases=(BEHIND,), strict=True).problems()
    assert isinstance(problem, GateError)
    assert "a:1" in str(problem)
    assert (
        replace(REPORT, bases=(not_asked(BEHIND.base, None, REPORT.today),), strict=True).problems()
        == []
    )


def test_a_registry_that_does_not_answer_is_a_problem_by_itself() -> None:
    refused = EngineError("no answer")
    assert replace(REPORT, bases=(BEHIND,), strict=True, errors=(refused,)).problems() == [refused]


def test_a_base_that_lacks_a_platform_is_not_updated() -> None:
    assert replace(REPORT, bases=(LACKING,)).problems() == []
    (problem,) = replace(REPORT, bases=(LACKING,), updated=True).problems()
    assert isinstance(problem, InputError)


def test_a_table_of_ends_of_life_is_old_after_its_last_day() -> None:
    table = Lifetimes(checked=date(2026, 6, 1), sources=("https://example.org/ends",))
    report = replace(REPORT, lifetimes=table, table_path="ends.toml", table_max_age=14)
    assert report.warnings() == []
    (warning,) = replace(report, table_max_age=13).warnings()
    assert "ends.toml was compared with its sources on 2026-06-01, 14 days ago" in warning
