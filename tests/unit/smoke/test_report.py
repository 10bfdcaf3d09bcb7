"""What smoke found, as people, programs and CI services see it; and what a run leaves."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ociwriter import OciWriter

from buildlib.errors import EngineError, GateError, InputError
from buildlib.executor import Completed
from buildlib.image.archive import open_archive
from buildlib.image.labels import names_of
from buildlib.smoke.load_image import given, name_of
from buildlib.smoke.report import CheckResult, CheckState, PlatformResult, SmokeReport
from buildlib.smoke.sandbox import LABEL, new_run_id, remove_stale
from buildlib.tempfiles import has_ended

from fakes import FakeExecutor, dead_name


def _result(platform: str, *checks: CheckResult) -> PlatformResult:
    return PlatformResult(
        image="thing:1",
        platform=platform,
        digest="sha256:1",
        version="1.2.3",
        seconds=2.5,
        checks=checks,
    )


def _report(*results: PlatformResult) -> SmokeReport:
    return SmokeReport(results=results)


GOOD = CheckResult(check="healthy", state=CheckState.PASSED, seconds=0.25)
BAD = CheckResult(
    check="a|b",
    state=CheckState.FAILED,
    seconds=1,
    detail="exit code 3\n\x1b[31mlog <b>",
    repeat="docker run thing",
)
AWAY = CheckResult(check="socket", state=CheckState.LEFT_OUT, detail="not here")


def test_the_table_is_check_by_platform_with_the_details_below() -> None:
    text = _report(_result("linux/amd64", GOOD, AWAY), _result("linux/arm64", GOOD, BAD)).as_text()
    assert text.splitlines() == [
        "check    linux/amd64     linux/arm64",
        "healthy  ok 0.2 s        ok 0.2 s",
        "socket   left out 0.0 s",
        "a|b                      failed 1.0 s",
        "seconds  2.5             2.5",
        "",
        "linux/amd64: socket: left out: not here",
        "linux/arm64: a|b: failed: exit code 3",
        "\x1b[31mlog <b>",
        "  repeat it: docker run thing",
    ]


def test_a_page_of_markdown() -> None:
    lines = _report(_result("linux/arm64", GOOD, BAD)).as_markdown().splitlines()
    assert lines[:7] == [
        "## Smoke",
        "",
        "| check | linux/arm64 |",
        "| --- | --- |",
        "| healthy | ok 0.2 s |",
        "| a\\|b | **failed 1.0 s** |",
        "| seconds | 2.5 |",
    ]
    assert lines[8] == "```"
    assert "  repeat it: docker run thing" in lines


def test_junit_counts_and_holds_only_what_xml_can() -> None:
    root = ET.fromstring(_report(_result("linux/arm64", GOOD, BAD, AWAY)).as_junit())
    (suite,) = root
    assert suite.attrib == {
        "name": "smoke linux/arm64",
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "errors": "0",
        "time": "2.500",
    }
    good, bad, away = suite
    assert (good.attrib["classname"], good.attrib["time"]) == ("smoke.linux/arm64", "0.250")
    assert list(good) == []
    (failure,) = bad
    assert (failure.tag, failure.attrib["message"]) == ("failure", "exit code 3")
    assert failure.text == "exit code 3\n\N{REPLACEMENT CHARACTER}[31mlog <b>\ndocker run thing"
    assert away[0].tag == "skipped"


def test_only_failures_fail() -> None:
    good, bad = _result("linux/amd64", GOOD, AWAY), _result("linux/arm64", GOOD, BAD)
    assert _report(good).problems() == []
    (problem,) = _report(good, bad).problems()
    assert isinstance(problem, GateError)
    assert "smoke failed on linux/arm64" in str(problem)
    assert "a|b: exit code 3" in problem.why
    assert problem.hint == ""
    policy = CheckResult(check="policy", state=CheckState.FAILED, detail="no-setuid: /su")
    (problem,) = _report(_result("linux/arm64", BAD, policy)).problems()
    assert "[[policy.ignore]]" in problem.hint
    (problem,) = _report(bad, _result("linux/386", BAD)).problems()
    assert problem.what == "smoke failed on linux/arm64, linux/386"
    assert str(problem).count("a|b") == 1
    assert len(_report(bad, _result("linux/386", BAD, policy)).problems()) == 2
    data = json.loads(json.dumps(_result("linux/arm64", GOOD, BAD).as_dict()))
    assert (data["passed"], data["findings"][1]["state"]) == (False, "failed")


def test_which_runs_have_ended() -> None:
    assert not has_ended(new_run_id())
    assert not has_ended("smoke-00000000-1-00000000")
    assert not has_ended("latest")
    assert has_ended(dead_name("smoke"))


def test_what_a_killed_run_left_is_removed_and_no_more() -> None:
    dead, mine = dead_name("smoke"), new_run_id()
    docker = FakeExecutor(
        {
            ("docker", "ps", "--all", "--filter"): Completed(code=0, stdout=f"{dead}\n{mine}\n"),
            ("docker", "image", "ls"): Completed(code=0, stdout=f"latest\n{dead}\n"),
            ("docker", "ps", "--all", "--quiet"): Completed(code=0, stdout="c1\nc2\n"),
            ("docker", "volume", "ls", "--quiet"): Completed(code=0, stdout="v1\n"),
            ("docker",): Completed(code=0),
        }
    )
    assert remove_stale(docker, "thing") == (dead,)
    removed = [argv for argv in docker.asked if "rm" in argv]
    assert removed == [
        ("docker", "rm", "--force", "--volumes", "c1", "c2"),
        ("docker", "volume", "rm", "--force", "v1"),
        ("docker", "image", "rm", "--no-prune", f"thing:{dead}"),
    ]
    # One that was kept for a closer look, and is about to be looked at.
    docker.asked.clear()
    remove_stale(docker, "thing", keep=f"thing:{dead}")
    assert not [argv for argv in docker.asked if argv[1:3] == ("image", "rm")]
    asked = [argv for argv in docker.asked if "--quiet" in argv]
    assert all(argv[-1] == f"label={LABEL}={dead}" for argv in asked)


def test_what_a_killed_run_of_an_earlier_version_left_is_removed_as_well() -> None:
    former, dead = names_of(LABEL)[1], dead_name("smoke")
    listing = ("docker", "ps", "--all")
    docker = FakeExecutor(
        {
            (*listing, "--filter", f"label={former}"): Completed(code=0, stdout=f"{dead}\n"),
            (*listing, "--quiet", "--filter", f"label={former}={dead}"): Completed(
                code=0, stdout="c1\n"
            ),
            ("docker",): Completed(code=0),
        }
    )
    assert remove_stale(docker, "thing") == (dead,)
    removed = [argv for argv in docker.asked if "rm" in argv]
    assert removed == [("docker", "rm", "--force", "--volumes", "c1")]


@pytest.mark.parametrize("kind", ["volume", "network"])
def test_what_has_no_container_any_more_is_removed_as_well(kind: str) -> None:
    dead = dead_name("smoke")
    docker = FakeExecutor(
        {
            ("docker", kind, "ls", "--filter"): Completed(code=0, stdout=f"{dead}\n"),
            ("docker", kind, "ls", "--quiet"): Completed(code=0, stdout="left\n"),
            ("docker",): Completed(code=0),
        }
    )
    assert remove_stale(docker, "thing") == (dead,)
    removed = [argv for argv in docker.asked if "rm" in argv]
    assert [(argv[1], argv[-1]) for argv in removed] == [(kind, "left")]


def _archive(path: Path) -> tuple[Path, str]:
    writer = OciWriter()
    index = writer.index(writer.image([writer.layer({"a": b"x"})]))
    return writer.write(path, {**index, "annotations": {"x": "theirs"}}), str(index["digest"])


def test_an_archive_gets_a_name_of_our_own_and_keeps_its_digest(tmp_path: Path) -> None:
    path, digest = _archive(tmp_path / "i.tar")
    with open_archive(path) as archive:
        archive.write_renamed(tmp_path / "o.tar", name_of("thing:smoke-1"))
    with open_archive(tmp_path / "o.tar") as archive:
        assert archive.top() == digest
    with tarfile.open(tmp_path / "o.tar") as tar:
        stream = tar.extractfile("index.json")
        assert stream
        (entry,) = json.load(stream)["manifests"]
    assert entry["annotations"] == {
        "io.containerd.image.name": "docker.io/library/thing:smoke-1",
        "org.opencontainers.image.ref.name": "smoke-1",
    }


def _store(digest: str, code: int = 0) -> FakeExecutor:
    return FakeExecutor(
        {
            ("docker", "load"): Completed(code=code, stderr="no room"),
            ("docker", "image", "inspect"): Completed(code=0, stdout=f"{digest}\n"),
            ("docker",): Completed(code=0),
        }
    )


def test_an_archive_is_loaded_and_removed_again(tmp_path: Path) -> None:
    path, digest = _archive(tmp_path / "i.tar")
    docker = _store(digest)
    with given(str(path), "thing:smoke-1", docker) as image:
        assert (image.reference, image.archive) == ("thing:smoke-1", path)
    assert docker.asked[-1] == ("docker", "image", "rm", "--no-prune", "thing:smoke-1")


@pytest.mark.parametrize(
    ("digest", "code", "message"),
    [("sha256:other", 0, "has another image"), ("", 1, "can't be loaded")],
    ids=["the engine has another", "the engine can not"],
)
def test_an_archive_that_is_not_what_was_loaded_is_refused_and_removed(
    tmp_path: Path, digest: str, code: int, message: str
) -> None:
    path, _ = _archive(tmp_path / "i.tar")
    docker = _store(digest, code)
    with (
        pytest.raises(EngineError, match=message),
        given(str(path), "thing:smoke-1", docker),
    ):
        raise AssertionError
    assert docker.asked[-1][1:3] == ("image", "rm")


def test_an_archive_of_several_images_is_refused(tmp_path: Path) -> None:
    writer = OciWriter()
    images = [writer.image([writer.layer({name: b""})]) for name in ("a", "b")]
    named_twice = writer.write(tmp_path / "n.tar", images[0], images[0])
    with open_archive(named_twice) as archive:
        archive.write_renamed(tmp_path / "o.tar", name_of("thing:1"))
    with open_archive(tmp_path / "o.tar") as archive:
        assert archive.top() == images[0]["digest"]
    path = writer.write(tmp_path / "i.tar", *images)
    with open_archive(path) as archive, pytest.raises(InputError, match="holds 2 images"):
        archive.write_renamed(tmp_path / "o.tar", name_of("thing:1"))
