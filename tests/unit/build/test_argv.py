"""Options of buildx whose paths mean the directory that somebody typed them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.shell import anchored

HERE = Path("/here, it is")
OPTIONS = {
    "a secret's file": ("id=t,src=token.txt", 'id=t,"src=/here, it is/token.txt"'),
    "the same by its other name": ("id=t,source=a/b", 'id=t,"source=/here, it is/a/b"'),
    "a directory that is written": ("type=local,dest=out", 'type=local,"dest=/here, it is/out"'),
    "above the directory": ("type=local,src=../c", 'type=local,"src=/here, it is/../c"'),
    "an absolute path": ("type=oci,dest=/out/i.tar", "type=oci,dest=/out/i.tar"),
    "the standard output": ("type=tar,dest=-", "type=tar,dest=-"),
    "no path at all": ("type=registry,ref=me/cache", "type=registry,ref=me/cache"),
    "a variable": ("id=t,env=TOKEN", "id=t,env=TOKEN"),
    "a name of ours": ("oci", "oci"),
    "a value with a comma": ('id=t,"src=a,b"', 'id=t,"src=/here, it is/a,b"'),
    "what is no CSV": ('id=t,"src=a', 'id=t,"src=a'),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_a_relative_path_is_taken_from_the_directory(text: str, expected: str) -> None:
    assert anchored(text, HERE) == expected
