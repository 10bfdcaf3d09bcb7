from __future__ import annotations

import base64
import json

import pytest

from buildlib.build.progress import BuildProgress
from buildlib.terminal.activity import Activity, Board, in_bytes


def _vertex(digest: str, name: str, **more: object) -> str:
    times = {
        "started": "2026-01-01T00:00:00.123456789Z",
        "completed": "2026-01-01T00:00:02.623456789Z",
    }
    return json.dumps({"vertexes": [{"digest": digest, "name": name, **times, **more}]})


def _log(digest: str, data: bytes) -> str:
    return json.dumps({"logs": [{"vertex": digest, "data": base64.b64encode(data).decode()}]})


def test_steps_are_counted_once_and_only_those_of_the_dockerfile() -> None:
    progress = BuildProgress()
    for line in (
        _vertex("a", "[internal] load build definition"),
        _vertex("b", "[build 1/2] FROM x", cached=True),
        _vertex("c", "[build 2/2] RUN y"),
        _vertex("c", "[build 2/2] RUN y"),
        _vertex("d", "exporting to image"),
        _vertex("e", "[context alpine:3.22] load metadata"),
    ):
        progress.feed(line)
    assert (progress.total, progress.cached) == (2, 1)


def test_a_step_that_ends_is_one_event_with_its_seconds() -> None:
    progress = BuildProgress()
    running = json.dumps(
        {"vertexes": [{"digest": "a", "name": "[1/1] RUN x", "started": "2026-01-01T00:00:00Z"}]}
    )
    assert progress.feed(running) == []
    (event,) = progress.feed(_vertex("a", "[1/1] RUN x"))
    assert event.step is not None
    assert event.step.seconds == 2.5
    assert progress.feed(_vertex("a", "[1/1] RUN x")) == []


def test_output_comes_as_whole_lines_even_where_it_is_not_utf8() -> None:
    progress = BuildProgress()
    progress.feed(_vertex("a", "[1/1] RUN x", completed=None))
    assert progress.feed(_log("a", b"one\r\ntw")) != []
    (event,) = progress.feed(_log("a", b"o \xff\nrest"))
    assert event.line == "two \ufffd"
    assert progress.failed is None


def test_the_step_that_broke_is_not_one_that_was_cancelled() -> None:
    progress = BuildProgress()
    progress.feed(_vertex("a", "[1/2] RUN x", error="process was canceled"))
    progress.feed(_vertex("b", "[2/2] RUN y", error="exit code: 1"))
    assert [step.cancelled for step in progress.steps] == [True, False]
    assert progress.failed is not None
    assert progress.failed.name == "[2/2] RUN y"


def test_what_is_not_json_goes_through() -> None:
    progress = BuildProgress()
    assert [event.line for event in progress.feed("ERROR: no builder found")] == [
        "ERROR: no builder found"
    ]
    assert progress.feed("   ") == []
    assert progress.feed("[1, 2]")[0].line == "[1, 2]"
    assert list(progress.messages) == ["ERROR: no builder found", "[1, 2]"]


def test_an_object_may_be_spread_over_lines() -> None:
    progress = BuildProgress()
    whole = json.dumps(json.loads(_vertex("a", "[1/1] RUN x")), indent=2).splitlines()
    events = [event for line in [*whole, "after", *whole] for event in progress.feed(line)]
    assert [event.line for event in events] == [None, "after"]
    assert progress.total == 1


def test_an_object_that_breaks_off_does_not_swallow_what_follows() -> None:
    progress = BuildProgress()
    lines = ["{", '  "vertexes": [', "ERROR: connection lost"]
    assert [e.line for line in lines for e in progress.feed(line)] == ["ERROR: connection lost"]


def test_a_warning_of_the_builder_is_shown() -> None:
    short = base64.b64encode(b"JSONArgsRecommended").decode()
    (event,) = BuildProgress().feed(json.dumps({"warnings": [{"short": short}]}))
    assert event.line == "warning: JSONArgsRecommended"


def test_damaged_data_and_unknown_steps_are_passed_over() -> None:
    progress = BuildProgress()
    progress.feed(_vertex("a", "[1/1] RUN x", completed=None))
    assert progress.feed(json.dumps({"logs": [{"vertex": "a", "data": "a"}]})) == []
    assert progress.feed(_log("z", b"x\n")) == []
    assert progress.feed(json.dumps({"warnings": [{"short": "a"}]})) == []


def test_of_many_lines_of_output_only_the_last_are_kept() -> None:
    progress = BuildProgress()
    progress.feed(_vertex("a", "[1/1] RUN x", completed=None))
    line = _log("a", b"a line of output that says something\n" * 1000)
    for _ in range(20):
        assert len(progress.feed(line)) == 1000
    step = progress.feed(_vertex("a", "[1/1] RUN x"))[0].step
    assert step is not None
    assert (len(step.log), step.partial) == (200, "")


def _status(**part: object) -> str:
    return json.dumps({"statuses": [{"vertex": "a", **part}]})


def _running(progress: BuildProgress) -> list[tuple[str, str]]:
    return [(activity.name, activity.progress()) for activity in progress.running]


def test_what_runs_says_how_far_it_is() -> None:
    progress = BuildProgress()
    begun = {"digest": "a", "name": "[1/1] FROM x", "started": "2026-01-01T00:00:00Z"}
    progress.feed(json.dumps({"vertexes": [{**begun, "started": None}]}))
    assert _running(progress) == []
    progress.feed(json.dumps({"vertexes": [begun]}))
    assert _running(progress) == [("[1/1] FROM x", "")]
    progress.feed(_status(id="transferring context:", current=1_234_000))
    assert _running(progress) == [("[1/1] FROM x", "transferring context: 1.2 MB")]
    progress.feed(_log("a", b"said\n\n"))
    assert _running(progress) == [("[1/1] FROM x", "said")]
    progress.feed(_status(id="sha256:1", current=10_000_000, total=10_000_000))
    progress.feed(_status(id="sha256:2", current=5_000_000, total=30_000_000))
    progress.feed(_status(id="extracting sha256:1"))
    assert _running(progress) == [("[1/1] FROM x", "15.0 of 40.0 MB, 1 of 2 layers")]
    progress.feed(_vertex("a", "[1/1] FROM x"))
    assert _running(progress) == []
    # What comes too late, or is of no step, changes nothing.
    progress.feed(_status(id="sha256:2", current=1, total=2))
    progress.feed(json.dumps({"vertexes": [begun]}))
    assert _running(progress) == []


def test_a_part_that_ended_is_not_what_a_step_does_now() -> None:
    progress = BuildProgress()
    begun = {"digest": "a", "name": "exporting", "started": "2026-01-01T00:00:00Z"}
    progress.feed(json.dumps({"vertexes": [begun]}))
    progress.feed(_status(id="exporting layers"))
    progress.feed(_status(id="naming to x", completed="2026-01-01T00:00:01Z"))
    assert _running(progress) == [("exporting", "exporting layers")]


def test_what_ended_counts_as_the_steps_that_it_was() -> None:
    board, one, other, build = Board(), Activity(name="a"), Activity(name="b"), BuildProgress()
    build.feed(_vertex("a", "[1/2] FROM x", cached=True))
    build.feed(_vertex("b", "[2/2] RUN y"))
    assert [board.add(each) for each in (one, other, build)] == [True, False, False]
    assert board.summary(2).endswith(" s 4 steps, 1 cached, 2 running")
    assert [board.remove(each) for each in (one, build)] == [False, False]
    assert board.summary(1).endswith(" s 4 steps, 1 cached, 1 running")
    assert board.remove(other)


def test_what_runs_for_two_images_says_for_which() -> None:
    board, one, build = Board(), Activity(name="pushing"), BuildProgress()
    begun = {"digest": "a", "name": "[1/1] RUN x", "started": "2026-01-01T00:00:00Z"}
    build.feed(json.dumps({"vertexes": [begun]}))
    board.add(one, "web | ")
    board.add(build, "api | ")
    assert {row.name for row in board.rows()} == {"web | pushing", "api | [1/1] RUN x"}


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [
        (0, 600, "0.0 of 0.6 kB"),
        (12_345, 0, "12.3 kB"),
        (99_999, 100_000, "0.1 of 0.1 MB"),
        (2_500_000, 40_000_000, "2.5 of 40.0 MB"),
    ],
)
def test_few_bytes_are_more_than_none(done: int, total: int, text: str) -> None:
    assert in_bytes(done, total) == text
