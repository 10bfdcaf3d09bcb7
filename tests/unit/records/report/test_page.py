"""The page: what it has, what it leaves out, and that it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from buildrecords import MARKUP, hostile, many, shop
from hypothesis import given
from hypothesis import strategies as st

from buildlib.findings.secrets import looks_secret
from buildlib.records.record import Layer, Record
from buildlib.records.report.compare import compare
from buildlib.records.report.markdown import as_markdown, publication
from buildlib.records.report.page import render
from buildlib.records.report.trace import as_otlp

pytestmark = pytest.mark.unmeasured

BEFORE, NOW = shop()
# Written in halves: whoever looks for secrets in this repository should find none.
TOKEN = "ghp_" + "a1b2c3" * 7
PAGE = render(NOW, history=[BEFORE, NOW], comparison=compare(NOW, BEFORE))


class _Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_what_the_record_has() -> None:
    text = " ".join(_Page(PAGE).text.split())
    for part in (
        "example/shop 1.5.0",
        "docker-publish built",
        "25.1 MB",
        "Compared with 1.4.0 (20260228T170000.000Z-0a1b2c3d)",
        "No longer from the cache",
        "file changed: go.sum",
        "[build 4/4] RUN go mod download",
        "31.2 s 93 %",
        "compiling the shop",
        f"docker.io/library/alpine:3.24 sha256:{'a1' * 32}",
        "VERSION 1.5.0",
        "smoke passed",
        "the base, without a history linux/amd64 9 MB",
        "COPY /out/shop /usr/local/bin/shop # buildkit linux/amd64 16 MB",
        "usr/local/bin/shop linux/amd64 15.9 MB",
        "3 packages of linux/amd64 Name Version go/chi v5.1.0",
        "COPY /out/shop /usr/local/bin/shop # buildkit 15.7 MB 16 MB",
        "linux/amd64 go/chi v5.0.0 v5.1.0",
        "docker.io/example/shop 1.4.0",
        "go.sum 48.1 kB",
        "docker buildx build --file Dockerfile .",
        "The last 2 builds",
        "20260301T090000.000Z-4d5e6f70 33.9 s",
        "FromAsCasing: 'as'",
    ):
        assert part in text


def test_the_page_loads_nothing_and_runs_its_own_script_alone() -> None:
    tags = _Page(PAGE).tags
    assert not [one for _, attrs in tags for one in attrs if one in {"src", "style", "onclick"}]
    assert all((attrs.get("href") or "#").startswith("#") for _, attrs in tags)
    policy = next(
        attrs["content"] or ""
        for _, attrs in tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_a_page_of_500_steps_with_long_logs_is_small() -> None:
    record = many(500)
    page = render(record, history=[record] * 30, comparison=compare(record, BEFORE))
    assert len(page.encode()) < 300_000
    assert page.count("<li id=") == 500


def test_a_build_without_steps_has_a_page_too() -> None:
    page = render(Record(id="1"))
    assert "its steps are not on record" in page
    assert "Critical path" not in page


def test_the_log_of_what_failed_is_whole() -> None:
    record = many(400)
    failed = replace(record.steps[200], error="exit code: 1", seconds=0.0)
    steps = (*record.steps[:200], failed, *record.steps[201:])
    page = render(replace(record, steps=steps, result="failed", error="make failed"))
    assert all(f"line {line} of step 200 " in page for line in (0, 50, 100))
    assert "The record has more." in page


def test_markup_stays_text_in_every_field() -> None:
    page = render(hostile(), history=[hostile()] * 2, comparison=compare(NOW, hostile()))
    found = _Page(page)
    assert not [one for one, _ in found.tags if one == "img"]
    assert [one for one, _ in found.tags].count("script") == 1
    assert "{{ 7 * 7 }}" in found.text
    assert MARKUP not in page


def test_a_page_of_many_packages_and_layers_is_small() -> None:
    layers = tuple(Layer("linux/amd64", one, "x" * 5000) for one in range(200))
    packages = {"linux/amd64": {f"deb/debian/package-{one}": "1.2.3-4" for one in range(5000)}}
    now, before = (replace(many(500), layers=layers, packages=packages) for _ in range(2))
    changed = replace(before, packages={"linux/amd64": {}}, layers=layers[::-1])
    page = render(now, history=[now] * 30, comparison=compare(now, changed))
    assert len(page.encode()) < 300_000


def _named(name: str, value: str) -> Record:
    step = replace(NOW.steps[4], log=(name, value), name=f"[a 1/1] RUN {name}", cause=name)
    return replace(
        NOW,
        image=name,
        error=name,
        bases={name: value},
        args={name: value},
        warnings=(name,),
        steps=(step,),
    )


@given(st.text(max_size=40), st.sampled_from(['"', "'", "<", "&", "</script>", "\u202e", "\ud800"]))
def test_whatever_names_are_made_of_the_page_is_valid(text: str, odd: str) -> None:
    record = _named(f"{text}{odd}<i>{text}", odd)
    page = render(record, history=[record, record], comparison=compare(record, NOW))
    page.encode("utf-8")
    assert [one for one, _ in _Page(page).tags].count("i") == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    summary = as_markdown(record)
    summary.encode("utf-8")
    assert "<" not in summary
    json.loads(as_otlp(record))


SECRETS = st.sampled_from(["API_TOKEN", "DB_PASSWORD", "NPM_AUTH_TOKEN", "CLIENT_SECRET"])
VALUES = st.text("abcdefghijkXYZ0123456789", min_size=12, max_size=30)


@given(SECRETS, VALUES)
def test_nothing_that_looks_secret_is_in_any_form(name: str, value: str) -> None:
    assert looks_secret(name, value)
    record = replace(NOW, args={name: value})
    page = render(record, comparison=compare(record, replace(BEFORE, args={name: "other" * 3})))
    assert value not in page
    shared = _named(TOKEN, f"https://me:{value}@example.org/")
    forms = (render(shared), as_markdown(shared), as_otlp(shared), publication(shared))
    for form in forms:
        assert TOKEN not in form
        assert value not in form


def test_the_summary_has_where_the_time_went() -> None:
    text = as_markdown(NOW)
    assert text.startswith("### example/shop 1.5.0\n\ndocker-publish: built, 33.9 s, 2 of 6 ")
    assert "RUN go mod download" in text
    assert "| 31.2 s | 93 % | file changed&#58; go.sum |" in text
    assert "| docker.io/example/shop | 1.4.0 |" in publication(NOW)


def test_a_trace_has_a_span_for_the_build_and_one_for_each_step() -> None:
    found = json.loads(as_otlp(NOW))
    (resource,) = found["resourceSpans"]
    spans = resource["scopeSpans"][0]["spans"]
    root, *steps = spans
    assert len(steps) == len(NOW.steps)
    assert re.fullmatch("[0-9a-f]{32}", root["traceId"])
    assert len({one["spanId"] for one in spans}) == len(spans)
    assert all(re.fullmatch("[0-9a-f]{16}", one["spanId"]) for one in spans)
    assert {one["parentSpanId"] for one in steps} == {root["spanId"]}
    assert int(root["endTimeUnixNano"]) - int(root["startTimeUnixNano"]) == 33_900_000_000
    run = next(one for one in steps if "go mod download" in one["name"])
    assert {"key": "buildlib.cause", "value": {"stringValue": "file changed: go.sum"}} in run[
        "attributes"
    ]
    assert [one["spanId"] for one in run["links"]] == [steps[3]["spanId"]]
    failed = json.loads(as_otlp(replace(NOW, result="failed", error="make failed")))
    status = failed["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"]
    assert status == {"code": 2, "message": "make failed"}
    assert json.loads(as_otlp(NOW)) == found
