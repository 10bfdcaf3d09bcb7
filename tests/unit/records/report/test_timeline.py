"""When steps ran, and what the build waited for."""

from __future__ import annotations

from dataclasses import replace

from buildrecords import BEGAN, shop
from hypothesis import given
from hypothesis import strategies as st

from buildlib.records.record import Record, Step
from buildlib.records.report.chart import lane_chart, trend_chart
from buildlib.records.report.timeline import critical_path, moment, state, timeline


def test_a_lane_has_the_steps_of_a_stage_on_a_platform() -> None:
    _, now = shop()
    steps = [
        replace(one, name=one.name.replace("[build", "[linux/arm64 build")) for one in now.steps
    ]
    lanes = timeline(replace(now, steps=(*now.steps, *steps[1:2]))).lanes
    assert [(one.name, len(one.spans)) for one in lanes] == [
        ("work of the builder", 2),
        ("build", 4),
        ("stage-1", 2),
        ("build linux/arm64", 1),
    ]


def test_the_critical_path_is_what_the_build_waited_for() -> None:
    _, now = shop()
    found = timeline(now)
    labels = [one.step.label for one in found.critical]
    assert labels == [
        "[internal] load build definition from Dockerfile",
        "[build 3/4]",
        "[build 4/4]",
        "[stage-1 2/2]",
        "exporting to image",
    ]
    assert round(sum(one.end - one.begin for one in found.critical), 3) == 33.5
    assert round(found.seconds, 3) == 33.6


def test_a_step_that_did_not_end_ran_until_the_build_did() -> None:
    _, now = shop()
    steps = (*now.steps[:-1], replace(now.steps[-1], ended="", seconds=None, error="no space"))
    found = timeline(replace(now, steps=steps, result="failed"))
    assert found.lanes[0].spans[-1].end == found.seconds
    assert state(steps[-1]) == "failed"
    assert state(replace(steps[-1], error="")) == "unfinished"


def test_steps_of_a_lane_at_the_same_time_are_above_each_other() -> None:
    _, now = shop()
    lane = timeline(replace(now, steps=(now.steps[4],) * 5)).lanes[0]
    assert [one.row for one in lane.spans] == [0, 1, 2, 2, 2]
    assert lane_chart(lane, 31.2, 2).count("<rect") == 2


TIMES = st.sampled_from(["", "x", *(BEGAN.replace(second=n).isoformat() for n in range(6))])
STEPS = st.lists(
    st.builds(
        Step,
        digest=st.sampled_from("abcd"),
        name=st.sampled_from(["[a 1/2] RUN x", "[linux/arm64 b 2/2] COPY a b", "export"]),
        inputs=st.lists(st.sampled_from("abcde")).map(tuple),
        started=TIMES,
        ended=TIMES,
        cached=st.booleans(),
    ),
    max_size=8,
)


@given(STEPS)
def test_no_times_and_no_circle_of_inputs_are_too_odd(steps: list[Step]) -> None:
    found = timeline(Record(id="1", steps=tuple(steps)))
    numbers = [one.number for one in found.critical]
    assert len(set(numbers)) == len(numbers)
    assert sum(len(one.spans) for one in found.lanes) == len(steps)
    for lane in found.lanes:
        assert all(0 <= one.begin <= one.end <= found.seconds for one in lane.spans)
        assert "nan" not in lane_chart(lane, found.seconds, 5)


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment("2026-03-01T09:00:00") == BEGAN.timestamp()
    assert moment("yesterday") is None
    assert critical_path([]) == ()


def test_a_trend_marks_the_last_build_and_leaves_out_what_is_not_known() -> None:
    chart = trend_chart([1, None, 4], ["a", "b", "<c>"])
    assert chart.count("<rect") == 2
    assert '<rect class="now"' in chart
    assert "&lt;c&gt;" in chart
    assert trend_chart([0.0], ["none"]).count("<rect") == 1
