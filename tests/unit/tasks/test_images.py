"""How a task ends that works on several images."""

from __future__ import annotations

import pytest
from invoke.exceptions import Exit

from buildlib.tasks.images import _each


@pytest.mark.parametrize(
    ("codes", "keep_going", "code", "begun"),
    [
        pytest.param((7, 0, 2, 3), True, 2, 4, id="the lowest code is that of the task"),
        pytest.param((0, 7, 2), False, 7, 2, id="the first that fails ends it"),
        pytest.param((7, 130, 2), True, 130, 2, id="an interrupt ends it all the same"),
    ],
)
def test_one_that_fails_gives_the_task_its_code(
    codes: tuple[int, ...], code: int, begun: int, *, keep_going: bool
) -> None:
    seen: list[int] = []

    def run() -> None:
        seen.append(codes[len(seen)])
        if seen[-1]:
            raise Exit("it failed", seen[-1])

    with pytest.raises(Exit) as caught:
        _each(run, "abcd"[: len(codes)], as_json=False, keep_going=keep_going)
    assert (caught.value.code, len(seen)) == (code, begun)
