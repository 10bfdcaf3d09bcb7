"""The record of a release's sizes: written, read, and held against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildlib.errors import GateError, InputError
from buildlib.image.size import (
    ImageSize,
    LayerSize,
    SizeRecord,
    SizeReport,
    make_record,
    read_record,
    write_record,
)

AMD64, ARM64 = "linux/amd64", "linux/arm64"


def _size(*layers: tuple[str, int], platform: str = AMD64) -> ImageSize:
    sizes = tuple(
        LayerSize(digest="", stored=stored, unpacked=2 * stored, files=1, created_by=made_by)
        for made_by, stored in layers
    )
    return ImageSize(
        platform=platform,
        digest="",
        stored=sum(layer.stored for layer in sizes),
        unpacked=sum(layer.unpacked for layer in sizes),
        budget=0,
        layers=sizes,
        largest=(),
    )


def _since(record: SizeRecord, *images: ImageSize, growth: int = 5) -> SizeReport:
    return SizeReport(images=images, record=record, growth=growth)


def test_a_record_is_the_same_text_each_time_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "below" / "sizes.json"
    reports = [_size(("", 500), ("COPY a", 500), platform=ARM64), _size(("COPY a", 400))]
    record = make_record("1.2.0", reports)
    write_record(path, record)
    first = path.read_bytes()
    write_record(path, make_record("1.2.0", reversed(reports)))
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["sizes.json"]
    assert read_record(path) == record
    assert json.loads(first) == {
        "version": "1.2.0",
        "platforms": {
            AMD64: {
                "stored": 400,
                "unpacked": 800,
                "layers": [{"created_by": "COPY a", "stored": 400}],
            },
            ARM64: {
                "stored": 1000,
                "unpacked": 2000,
                "layers": [
                    {"created_by": "", "stored": 500},
                    {"created_by": "COPY a", "stored": 500},
                ],
            },
        },
    }


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (1000, "linux/amd64: +0.0 % since 1.2.0 (1 kB then), +0.0 % unpacked"),
        (1012, "linux/amd64: +1.2 % since 1.2.0 (1 kB then), +1.2 % unpacked"),
        (900, "linux/amd64: -10.0 % since 1.2.0 (1 kB then), -10.0 % unpacked"),
    ],
    ids=["the same", "more", "less"],
)
def test_the_change_is_a_line(now: int, text: str) -> None:
    record = make_record("1.2.0", [_size(("a", 1000))])
    (change,) = _since(record, _size(("a", now))).changes
    assert change.as_text() == text
    assert change.as_dict()["percent"] == (now - 1000) / 10


@pytest.mark.parametrize(
    ("now", "allowed", "passes"),
    [(1050, 5, True), (1051, 5, False), (1000, 0, True), (1001, 0, False), (1, 0, True)],
)
def test_growth_up_to_what_is_allowed_passes(now: int, allowed: int, *, passes: bool) -> None:
    record = make_record("1.2.0", [_size(("a", 1000))])
    problems = _since(record, _size(("a", now)), growth=allowed).problems()
    assert (problems == []) is passes


def test_too_much_growth_names_the_layers_that_grew_most() -> None:
    record = make_record("1.2.0", [_size(("", 100), ("COPY a", 100), ("COPY  b", 900))])
    now = _size(("", 101), ("COPY a", 90), ("COPY  b", 950), ("COPY b", 5), ("COPY new", 300))
    (problem,) = _since(record, now).problems()
    assert isinstance(problem, GateError)
    assert "linux/amd64 has grown by 31.5 % since 1.2.0, and 5 % are allowed" in str(problem)
    assert "COPY new: +300 B; COPY b: +50 B; COPY b: +5 B\n" in str(problem)


def test_layers_made_by_the_same_words_count_together() -> None:
    record = make_record("1", [_size(("RUN x", 100), ("RUN x", 200))])
    (change,) = _since(record, _size(("RUN x", 200), ("RUN x", 150))).changes
    assert change.layers == (("RUN x", 50),)


def test_a_record_without_layers_will_do(tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(
        '{"version": "1", "platforms": {"linux/amd64": {"stored": 100, "unpacked": 0}}}',
        encoding="utf-8",
    )
    record = read_record(path)
    assert record
    report = _since(record, _size(("a", 120)))
    (change,) = report.changes
    assert change.layers == ()
    assert report.problems()[0].why == ""
    assert "+0.0 % unpacked" in change.as_text()


def test_a_platform_that_is_not_in_the_record_is_known() -> None:
    record = make_record("1", [_size(("a", 100))])
    report = _since(record, _size(("a", 900), platform=ARM64))
    assert report.warnings() == ("linux/arm64 is not in the record of 1",)
    assert (report.changes, report.problems()) == ((), [])


def test_no_record_yet(tmp_path: Path) -> None:
    assert read_record(tmp_path / "none.json") is None


BROKEN = {
    "no JSON": "{",
    "a list": "[]",
    "a number": "1",
    "nothing in it": "{}",
    "no version": '{"platforms": {}}',
    "platforms as a list": '{"version": "1", "platforms": []}',
    "a platform without sizes": '{"version": "1", "platforms": {"linux/amd64": {}}}',
    "a size that is text": (
        '{"version": "1", "platforms": {"linux/amd64": {"stored": "1", "unpacked": 1}}}'
    ),
    "a size below nothing": (
        '{"version": "1", "platforms": {"linux/amd64": {"stored": -1, "unpacked": 1}}}'
    ),
    "a layer without a size": (
        '{"version": "1", "platforms": {"linux/amd64":'
        ' {"stored": 1, "unpacked": 1, "layers": [{"created_by": "x"}]}}}'
    ),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not a record of sizes"):
        read_record(path)


def test_a_record_that_can_not_be_read_or_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(InputError, match="can't be read"):
        read_record(tmp_path)
    with pytest.raises(InputError, match="can't be read"):
        read_record(tmp_path / "file")
    with pytest.raises(InputError, match="can't be written"):
        write_record(tmp_path / "file" / "x.json", make_record("1", []))
