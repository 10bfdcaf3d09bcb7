"""Two builds beside each other."""

from __future__ import annotations

from dataclasses import replace

from buildrecords import shop

from buildlib.records.record import File
from buildlib.records.report.compare import Change, changed_files, compare


def test_what_was_lost_took_longer_or_shorter_and_changed_is_named() -> None:
    before, now = shop()
    found = compare(now, before)
    assert [(one.now.label, cause) for one, cause in found.lost] == [
        ("[build 3/4]", "file changed: go.sum")
    ]
    assert [(one.now.label, round(one.more, 1)) for one in found.slower] == [
        ("[build 4/4]", 20.8),
        ("[stage-1 1/2]", 1.7),
        ("exporting to image", 0.9),
        ("[stage-1 2/2]", 0.2),
        ("[internal] load build definition from Dockerfile", 0.1),
    ]
    assert not any((found.faster, found.gained, found.added, found.removed))
    assert found.files == (("go.sum", "changed"),)
    assert Change("argument VERSION", "1.4.0", "1.5.0") in found.values
    (layer,) = found.layers
    assert (layer.before, layer.now) == (15_700_000, 16_000_000)
    assert found.packages == (
        Change("linux/amd64 go/chi", "v5.0.0", "v5.1.0"),
        Change("linux/amd64 go/new", None, "v1.0.0"),
        Change("linux/amd64 go/old", "v1.0.0", None),
    )
    # An engine counts layers in another way than an archive.
    assert not compare(now, replace(before, output="load")).layers
    back = compare(before, now)
    assert back.slower == ()
    assert len(back.faster) == 5
    assert [one.now.label for one in back.gained] == ["[build 3/4]"]


def test_a_step_is_the_same_by_its_instruction_and_else_by_its_place() -> None:
    before, now = shop()
    added = replace(now.steps[3], digest="new", name="[build 4/5] COPY licences ./")
    moved = replace(now.steps[4], name=now.steps[4].name.replace("4/4", "5/5"))
    found = compare(replace(now, steps=(*now.steps[:4], added, moved)), before)
    assert [one.label for one in found.added] == ["[build 4/5]"]
    assert "[build 5/5]" in [one.now.label for one in found.slower]
    edited = replace(now.steps[3], name="[build 3/4] COPY go.mod ./")
    found = compare(replace(now, steps=(*now.steps[:3], edited, *now.steps[4:])), before)
    assert found.added == found.removed == ()
    assert [one.before.label for one, _ in found.lost] == ["[build 3/4]"]
    found = compare(replace(now, steps=now.steps[:-2]), before)
    assert [one.label for one in found.removed] == ["[stage-1 2/2]"]


def test_files_are_added_removed_changed_or_of_another_mode() -> None:
    one, other = (File(mode="100644", size=1, digest=digest) for digest in "ab")
    before = {"same": one, "gone": one, "mode": one, "content": one}
    now = {"same": one, "new": one, "mode": one._replace(mode="100755"), "content": other}
    assert [*changed_files(now, before)] == [
        ("content", "changed"),
        ("gone", "removed"),
        ("mode", "mode 0644 → 0755"),
        ("new", "added"),
    ]


def test_of_a_secret_only_that_it_changed_is_said() -> None:
    before, now = shop()
    marked = (replace(one, args={"KEY": f"***{n}"}) for n, one in enumerate((before, now)))
    before, now = marked
    (change,) = [one for one in compare(now, before).values if one.name == "argument KEY"]
    assert change == Change("argument KEY", "a secret", "a secret")
