from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.adopt.makefile import Makefile
from buildlib.adopt.migration import migration_table
from buildlib.adopt.sources import docker_lines


def recipes(root: Path, text: str, **files: str) -> list[str]:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_mk", ".mk")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    path = root / "Makefile"
    path.write_text(text, encoding="utf-8")
    makefile = Makefile(root)
    makefile.read(path)
    return [recipe.text for recipe in makefile.recipes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A = $(B)\nB = x\nt:\n\t$(A) ${B}\n", "x x"),
        ("A := $(B)x\nB = later\nt:\n\t$(A)\n", "$(B)x"),
        ("A ?= 1\nA ?= 2\nt:\n\t$A\n", "1"),
        ("A = 1\nA += 2\nt:\n\t$(A)\n", "1 2"),
        ("A := a\nA += $(A)b\nt:\n\t$(A)\n", "a ab"),
        ("export A = 1 # why\nt:\n\t$(A)\n", "1"),
        ("override A := 1\nt:\n\t$(A)\n", "1"),
        ("A != git describe\nt:\n\t$(A)\n", "$(shell git describe)"),
        ("t: A = 1\nt:\n\t$(A) $@\n", "1 t"),
        ("t: ; echo $(MAKE)\n", "echo make"),
        ("t:\n\t@-+echo $$HOME\n", "echo $HOME"),
        ("t:\n\techo a \\\n\t  b\n", "echo a \\\n  b"),
        ("A = a \\\n   b\nt:\n\t$(A)\n", "a b"),
        ("A = a/b.c d\nt:\n\t$(A:.c=.o) $(A:%=x%)\n", "a/b.o d xa/b.c xd"),
        ("A = $(A)\nt:\n\t$(A)\n", "$(A)"),
        ("t:\n\t$(UNSET) $(shell date -u)\n", "$(UNSET) $(shell date -u)"),
        ("A = x\nt:\n\t$(shell cat $(A))\n", "$(shell cat x)"),
        ("t:\n\t$(CURDIR) $(shell pwd) $(abspath x)\n", ". . x"),
        ("ifeq ($(X),)\nA = 1\nelse\nA = 2\nendif\nt:\n\t$(A)\n", "1"),
        ("X = 1\nifeq ($(X),)\nA = 1\nelse ifeq '$(X)' '1'\nA = 2\nendif\nt:\n\t$(A)\n", "2"),
        ("ifndef V\nV = $(shell x)\nendif\nt:\n\t$(V)\n", "$(shell x)"),
        ("ifeq ($(shell uname),L)\nA = 1\nelse\nA = 2\nendif\nt:\n\t$(A)\n", "1"),
        ("ifdef V\nA = 1\nendif\nA ?= 2\nt:\n\t$(A)\n", "2"),
        ("define F\ndocker $(1) -t $(2)\nendef\nt:\n\t$(call F,build,x)\n", "docker build -t x"),
        ("t:\n\tx $(foreach n,a b,-t $(n))\n", "x -t a -t b"),
        ("t:\n\tx $(if $(PUSH),--push,--load)\n", "x --load"),
        ("V = 2\nt:\n\t$(or $(U),$(V),3) $(and $(U),$(V))|\n", "2 |"),
        ("t:\n\t$(subst v,,$(shell git describe))\n", "$(subst v,,$(shell git describe))"),
        ("t:\n\t$(subst a,b,aca) $(patsubst %.c,%.o,x.c y)\n", "bcb x.o y"),
        ("t:\n\t$(strip  a  b ) $(findstring a,bar)$(findstring z,b)\n", "a b a"),
        ("t:\n\t$(filter %.c,a.c b) $(filter-out b,a b) $(sort b a b)\n", "a.c a a b"),
        ("t:\n\t$(word 2,a b) $(wordlist 2,3,a b c) $(words a b)\n", "b b c 2"),
        ("t:\n\t$(firstword a b) $(lastword a b)\n", "a b"),
        ("t:\n\t$(dir a/b c) $(notdir a/b) $(basename a.b/c) $(suffix a.c)\n", "a/ ./ b a.b/c .c"),
        ("t:\n\t$(addprefix x,a b) $(addsuffix x,a)\n", "xa xb ax"),
        ("t:\n\t$(join a b,c d) $(info x)|\n", "ac bd |"),
        ("include a.mk\n-include none.mk\nt:\n\t$(A)\n", "1"),
        ("-include none/**.d\ninclude **.mk\nt:\n\t$(A)\n", "1"),
        ("docker-%:\n\t$@ $*\n", "$@ $*"),
    ],
)
def test_a_recipe_is_what_make_gives_to_the_shell(tmp_path: Path, text: str, expected: str) -> None:
    assert recipes(tmp_path, text, a_mk="A = 1\n") == [expected]


def test_a_recipe_knows_its_place_and_when_it_is_read(tmp_path: Path) -> None:
    text = "a b:\n\tone\nifdef CI\n\ttwo\nelse\n\tthree\nendif\n"
    (tmp_path / "Makefile").write_text(text, encoding="utf-8")
    makefile = Makefile(tmp_path)
    makefile.read(tmp_path / "Makefile")
    found = [(one.target, one.line, one.condition) for one in makefile.recipes]
    assert found == [
        *(("a", 2, ""), ("b", 2, "")),
        *(("a", 4, "ifdef CI"), ("b", 4, "ifdef CI")),
        *(("a", 6, ""), ("b", 6, "")),
    ]


def test_nothing_outside_of_the_repository_is_included(tmp_path: Path) -> None:
    (tmp_path / "outside.mk").write_text("A = secret\n", encoding="utf-8")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "link.mk").symlink_to(tmp_path / "outside.mk")
    text = f"include ../outside.mk {tmp_path}/outside.mk link.mk\nt:\n\t$(A)\n"
    assert recipes(tmp_path / "repo", text) == ["$(A)"]


def test_nothing_is_run(tmp_path: Path) -> None:
    text = "A := $(shell touch ran)\nB != touch ran\n$(eval $(shell touch ran))\nt:\n\t$(A)$(B)\n"
    recipes(tmp_path, text)
    assert not (tmp_path / "ran").exists()


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "text",
    [
        "A = $(B)$(B)\nB = $(C)$(C)\n"
        + "".join(
            f"{a} = $({b})$({b})\n"
            for a, b in zip("CDEFGHIJKLMNOPQRSTUV", "DEFGHIJKLMNOPQRSTUVW", strict=True)
        )
        + "W = wwwwwwww\nt:\n\t$(A)\n",
        "t:\n\t" + "$(" * 20_000 + "\n",
        "t:\n\t" + "$(strip " * 2_000 + ")" * 2_000 + "\n",
        "t:\n\t$(foreach a,$(X),$(foreach b,$(X),$(foreach c,$(X),$(a))))\nX = " + "x " * 60 + "\n",
        "a\\\n" * 60_000,
        "A" + " " * 500_000 + "x\n",
        "include Makefile\n" * 1_000,
        "ifeq (a,b)\n" * 20_000 + "t:\n\tx\n",
        "F = $(call F,$(1)x)\nt:\n\t$(call F,a)\n",
        "t " * 20_000 + ":\n\tx\n",
        "V = " + "docker $(x) " * 3_000 + "\n" + "t:\n" + "\t$(V)\n" * 1_000,
    ],
    ids=[
        "values",
        "open",
        "nested",
        "loops",
        "lines",
        "blanks",
        "includes",
        "ifs",
        "calls",
        "targets",
        "wide",
    ],
)
def test_no_text_takes_long(tmp_path: Path, text: str) -> None:
    (tmp_path / "Makefile").write_text(text, encoding="utf-8")
    start = time.process_time()
    docker_lines(tmp_path)
    assert time.process_time() - start < 8


PIECES = st.sampled_from(
    [
        *(
            "$(",
            "${",
            ")",
            "}",
            "$",
            "$$",
            "$@",
            "A",
            "B",
            "docker build ",
            "t",
            ":",
            ":=",
            "=",
            "+=",
        ),
        *(
            "?=",
            "!=",
            "\n",
            "\n\t",
            "\\\n",
            " ",
            "#",
            ",",
            "%",
            "'",
            '"',
            "`",
            "&&",
            "shell ",
            "if ",
        ),
        *("call ", "foreach ", "subst ", "define A\n", "endef\n", "ifeq (a,b)\n", "ifdef A\n"),
        *("else\n", "endif\n", "include Makefile\n", "\0", "é", "\r"),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=60).map("".join)))
def test_any_text_is_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.mktemp("any")
    start = time.process_time()
    recipes(root, text)
    assert migration_table(root).as_text()
    assert time.process_time() - start < 2
