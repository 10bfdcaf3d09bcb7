from __future__ import annotations

import shlex
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.adopt.shell_text import interpolated, shell_commands, shell_words


def words(text: str, **variables: str) -> list[str]:
    return shell_words(text, variables)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]),
        ("a \\\n b", ["a", "b"]),
        ("a # not\nb", ["a", "b"]),
        ("a#b", ["a#b"]),
        ("'' \"\"", ["", ""]),
        ('"$A" $A ${A}', ["1 2", "1", "2", "1", "2"]),
        ("x$A", ["x1", "2"]),
        ("${U:-d} ${U-e f} ${A:-d} ${U:=$A}", ["d", "e", "f", "1", "2", "1", "2"]),
        ("$U ${U} ${U%x} $1 $@", ["$U", "${U}", "${U%x}", "$1", "$@"]),
        ("a=$(git describe --tags) `date -u`", ["a=$(git describe --tags)", "$(date -u)"]),
        ('"$(echo ")" \'(\')"', ["$(echo \")\" '(')"]),
        ("'$A' \\$A \"\\$A\"", ["$A", "$A", "$A"]),
        ("a $B c", ["a", "$(git describe --tags)", "c"]),
        ("$( a", ["$", "a"]),
        ("a >out 2>&1 <in", ["a", "out", "1", "in"]),
    ],
)
def test_words_are_those_of_a_shell(text: str, expected: list[str]) -> None:
    assert words(text, A="1 2", B="$(git describe --tags)") == expected


def commands(text: str, folder: str = ".") -> list[tuple[tuple[str, ...], str]]:
    return [(one.words, one.folder) for one in shell_commands(text, {}, folder)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a && b || c; d | e & f\ng",
            [
                (("a",), "."),
                (("b",), "."),
                (("c",), "."),
                (("d",), "."),
                (("e",), "."),
                (("f",), "."),
                (("g",), "."),
            ],
        ),
        ("cd x && a", [(("a",), "x")]),
        ("(cd x; a); b", [(("a",), "x"), (("b",), ".")]),
        ("cd x/../y; cd z\na", [(("a",), "y/z")]),
        ('cd "$(dirname "$0")/.."; a', [(("a",), "scripts/..")]),
        ("A=1; a $A", [(("a", "1"), ".")]),
        ("export A=1 B=2\na $A$B", [(("a", "12"), ".")]),
        ("a <<EOF\ndocker build .\nEOF\nb", [(("a",), "."), (("b",), ".")]),
        ("if x; then a; else b; fi", [(("x",), "."), (("a",), "."), (("b",), ".")]),
        ("a > out 2>&1", [(("a",), ".")]),
        ("cd $X && a", [(("a",), "$X")]),
    ],
)
def test_commands_are_split_and_their_directory_is_followed(
    text: str, expected: list[tuple[tuple[str, ...], str]]
) -> None:
    found = [(one.words, one.folder) for one in shell_commands(text, {}, ".", "scripts")]
    assert [
        (one, "scripts/.." if folder == "." and "dirname" in text else folder)
        for one, folder in found
    ] == expected


def test_a_command_knows_its_line_its_variables_and_its_input() -> None:
    text = "\n\nA=1 \\\n a 'x\ny' < in\nwhile x; do\n b\ndone\nc"
    first, loop, second, third = shell_commands(text, {})
    assert (first.line, first.env, first.stdin, first.inside) == (2, (("A", "1"),), "in", False)
    assert (loop.words, second.words) == (("x",), ("b",))
    assert second.inside
    assert (third.line, third.inside) == (8, False)


@given(st.lists(st.text(), max_size=8))
def test_quoted_words_are_read_back(argv: list[str]) -> None:
    assert words(shlex.join(argv)) == argv


@given(st.one_of(st.text(), st.text("$(){}'\"`\\\n;&|<> ab=#~")))
def test_any_text_is_read(text: str) -> None:
    assert all(one.words for one in shell_commands(text, {}))


@pytest.mark.unmeasured
@pytest.mark.parametrize("text", ["$(" * 10_000, "${a:-" * 7_000, "`" * 20_001, "<<E\n" * 5_000])
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    list(shell_commands(text, {}))
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}-$A-$$A", "1-1-$A"),
        ("${U:-x}${U-y}", "xy"),
        ("${U}$U${U:?no}", "${U}$U${U:?no}"),
    ],
)
def test_a_compose_file_is_interpolated(text: str, expected: str) -> None:
    assert interpolated(text, {"A": "1"}) == expected
