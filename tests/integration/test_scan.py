"""The vulnerability gate by the real grype, over a database that knows two made-up advisories."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gosecurity
import pytest
from conftest import GOTOOLS, ROOT, Checkout
from grypedb import Advisory
from ociwriter import ELF, OciWriter

# Where the scanner is not in the cache yet it is compiled, which takes minutes.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]
LEAKY = Advisory("GHSA-leak-leak-leak", "CVE-2026-0001", "high", "npm", "leaky", "<1.2.4", "1.2.4")
STUCK = Advisory("GHSA-stck-stck-stck", "CVE-2026-0002", "critical", "npm", "stuck", "<99")
PLATFORMS = ["linux/amd64", "linux/arm64"]
NOW = datetime.now(UTC)


@pytest.fixture(scope="session")
def known(database: Callable[..., dict[str, str | None]]) -> dict[str, str | None]:
    """Return the environment in which grype knows of both."""
    return database(LEAKY, STUCK, built=NOW)


def _image(path: Path, *packages: str) -> str:
    """Write an image of two platforms that holds these packages, in version 1.2.3."""
    writer = OciWriter()
    layer = writer.layer(
        {
            "etc/hostname": b"thing\n",
            **{
                f"usr/lib/node_modules/{name}/package.json": json.dumps(
                    {"name": name, "version": "1.2.3", "license": "MIT"}
                ).encode()
                for name in packages
            },
        }
    )
    images = [writer.image([layer], platform=tuple(name.split("/"))) for name in PLATFORMS]
    return str(writer.write(path, writer.index(*images)))


def _ignore(until: str) -> str:
    return (
        f'[[scan.ignore]]\nid = "{LEAKY.cve}"\npackage = "leaky"\n'
        f'reason = "never reached"\nuntil = {until}\n'
    )


Make = Callable[..., Checkout]


def test_the_gate_is_closed_by_what_grype_knows(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    checkout = make_checkout()
    image, sarif = _image(tmp_path / "i.tar", "leaky"), tmp_path / "reports" / "scan.sarif"
    done = checkout.invoke("docker-scan", "--image", image, "--sarif", str(sarif), **known)
    assert done.returncode == 7, done.stdout + done.stderr
    for platform in PLATFORMS:
        row = f"high  {LEAKY.id}  leaky 1.2.3  {platform} /usr/lib/node_modules/leaky/package.json"
        assert f"error  {row}  fixed in 1.2.4" in done.stdout
        assert f"{row}  fixed in 1.2.4" in done.stderr
        assert f"{platform} (1 packages)" in done.stdout
    assert f"database of {NOW:%Y-%m-%dT%H:%M:%S}Z" in done.stdout
    assert f"{image} has 2 known vulnerabilities of severity high or worse" in done.stderr
    (run,) = json.loads(sarif.read_text("utf-8"))["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert (rule["id"], rule["helpUri"]) == (LEAKY.id, f"https://example.org/{LEAKY.id}")
    assert [result["level"] for result in run["results"]] == ["error", "error"]
    assert str(tmp_path) not in sarif.read_text("utf-8")


def test_an_image_that_grype_knows_nothing_of_passes(
    make_checkout: Make,
    database: Callable[..., dict[str, str | None]],
    known: dict[str, str | None],
    tmp_path: Path,
) -> None:
    image = _image(tmp_path / "i.tar", "leaky")
    done = make_checkout().invoke("docker-scan", "--image", image, "--json", **database(STUCK))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["passed"] is True
    assert [(one["platform"], one["packages"]) for one in report["platforms"]] == [
        (platform, 1) for platform in PLATFORMS
    ]
    version = GOTOOLS.TOOLS["grype"].version.removeprefix("v")
    assert (report["scanner"]["name"], report["scanner"]["version"]) == ("grype", version)
    # And where the database knows of it, but the image holds something else.
    tight = _image(tmp_path / "tight.tar", "tight")
    done = make_checkout(folder="tight").invoke("docker-scan", "--image", tight, **known)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_ignored_passes_until_its_day(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    image = _image(tmp_path / "i.tar", "leaky")
    until = f"{NOW + timedelta(days=2):%Y-%m-%d}"
    done = make_checkout(config=_ignore(until)).invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"until {until}: never reached" in done.stdout
    ended = f"{NOW - timedelta(days=2):%Y-%m-%d}"
    checkout = make_checkout(config=_ignore(ended), folder="ended")
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 7, done.stdout + done.stderr
    assert f"fixed in 1.2.4 (it was ignored until {ended})" in done.stderr
    tight = _image(tmp_path / "tight.tar", "tight")
    done = checkout.invoke("docker-scan", "--image", tight, **known)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"warning: nothing is left to ignore of {LEAKY.cve} leaky" in done.stderr


def test_what_has_no_fix_and_what_is_milder_is_only_told(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    stuck = _image(tmp_path / "stuck.tar", "stuck")
    assert make_checkout().invoke("docker-scan", "--image", stuck, **known).returncode == 7
    checkout = make_checkout(config="[scan]\nonly-fixed = true\n", folder="fixed")
    done = checkout.invoke("docker-scan", "--image", stuck, **known)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"warning  critical  {STUCK.id}" in done.stdout
    leaky = _image(tmp_path / "leaky.tar", "leaky")
    done = checkout.invoke("docker-scan", "--image", leaky, "--severity", "critical", **known)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"warning  high  {LEAKY.id}" in done.stdout
    done = checkout.invoke("docker-scan", "--image", leaky, "--severity", "hihg", **known)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "did you mean high?" in done.stderr


def test_what_an_openvex_file_says_does_not_concern_us_passes(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    image = _image(tmp_path / "i.tar", "leaky")
    checkout = make_checkout(config='[scan]\nvex = ["security/leaky.vex.json"]\n')
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "scan.vex: there is no file security/leaky.vex.json" in done.stderr
    statement = {
        "vulnerability": {"name": LEAKY.id},
        "products": [{"@id": "pkg:npm/leaky@1.2.3"}],
        "status": "not_affected",
        "justification": "vulnerable_code_not_in_execute_path",
    }
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.org/vex/1",
        "author": "us",
        "timestamp": "2026-01-02T03:04:05Z",
        "version": 1,
        "statements": [statement],
    }
    vex = checkout.root / "security" / "leaky.vex.json"
    vex.parent.mkdir()
    vex.write_text(json.dumps(document), encoding="utf-8")
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"left out  high  {LEAKY.id}" in done.stdout
    assert "VEX: not_affected" in done.stdout
    # One that says it does concern us changes nothing.
    statement["status"] = "affected"
    statement["action_statement"] = "take 1.2.4"
    del statement["justification"]
    vex.write_text(json.dumps(document), encoding="utf-8")
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 7, done.stdout + done.stderr


def test_without_a_database_that_counts_the_gate_has_not_passed(
    make_checkout: Make,
    known: dict[str, str | None],
    database: Callable[..., dict[str, str | None]],
    tmp_path: Path,
) -> None:
    image = _image(tmp_path / "i.tar", "tight")
    broken = database(LEAKY)
    Path(str(broken["GRYPE_DB_CACHE_DIR"]), "6", "vulnerability.db").write_bytes(b"no database")
    cases = {
        "none": ({**known, "GRYPE_DB_CACHE_DIR": str(tmp_path / "empty")}, "does not exist"),
        "old": (database(LEAKY, built=NOW - timedelta(days=30)), "was built 4 weeks ago"),
        "broken": (broken, ""),
    }
    for folder, (env, why) in cases.items():
        done = make_checkout(folder=folder).invoke("docker-scan", "--image", image, **env)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "grype has no vulnerability database that it would use" in done.stderr
        assert why in done.stderr
        assert "grype db update" in done.stderr
    # The age that is too old is grype's to know, and the user's to change.
    env = {**cases["old"][0], "GRYPE_DB_VALIDATE_AGE": "false"}
    done = make_checkout(folder="young").invoke("docker-scan", "--image", image, **env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_scanner_the_gate_has_not_passed(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    image = _image(tmp_path / "i.tar", "leaky")
    (tmp_path / "bin").mkdir()
    found = shutil.which("env")
    assert found
    (tmp_path / "bin" / "env").symlink_to(found)
    env = {**known, "PATH": str(tmp_path / "bin")}
    done = make_checkout().invoke("docker-scan", "--image", image, **env)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "grype and trivy not found: the gate has not passed" in done.stderr
    checkout = make_checkout(config='[scan]\nscanner = "trivy"\n', folder="trivy")
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "trivy not found: the gate has not passed" in done.stderr


def test_an_image_of_files_alone_passes_and_one_with_an_unknown_program_does_not(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    image, checkout = _image(tmp_path / "i.tar"), make_checkout()
    out = ("--output", str(tmp_path / "out"))
    for task in (("docker-scan",), ("docker-sbom", *out)):
        done = checkout.invoke(*task, "--image", image, **known)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "sees no package in the image for linux/amd64: " in done.stderr
    writer = OciWriter()
    layer = writer.layer({"usr/bin/thing": ELF})
    program = str(writer.write(tmp_path / "p.tar", writer.image([layer])))
    for task in (("docker-scan",), ("docker-sbom", *out)):
        done = checkout.invoke(*task, "--image", program, **known)
        assert done.returncode == 7, done.stdout + done.stderr
        assert "sees no package in the image for linux/amd64: nothing is known" in done.stderr
        assert "it holds a program, /usr/bin/thing" in done.stderr


def test_what_the_repositorys_own_grype_ignores_is_told(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    image = _image(tmp_path / "i.tar", "leaky")
    checkout = make_checkout()
    (checkout.root / ".grype.yaml").write_text(
        f"fail-on-severity: low\nignore:\n  - vulnerability: {LEAKY.id}\n    reason: we know\n",
        encoding="utf-8",
    )
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "grype's own configuration: we know" in done.stdout
    assert "0 ignored, 2 left out by grype" in done.stdout


def test_this_repositorys_image_is_seen_into_on_every_platform(
    tmp_path: Path, own_image: str, database: Callable[..., dict[str, str | None]]
) -> None:
    name = own_image.partition(":")[0]
    own = Checkout(ROOT, name, {"BUILDLIB_IMAGE": name})
    archive = tmp_path / "image.tar"
    built = own.invoke("docker-build", "--platform", "all", "--output", f"type=oci,dest={archive}")
    assert built.returncode == 0, built.stderr
    gopher = Advisory(
        "GO-2026-0001", "CVE-2026-0003", "medium", "go-module", "stdlib", "<99", "99.0.0"
    )
    env = database(gopher, LEAKY)
    done = own.invoke("docker-scan", "--image", str(archive), "--json", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert [one["platform"] for one in report["platforms"]] == PLATFORMS
    for one in report["platforms"]:
        (finding,) = one["findings"]
        assert (finding["id"], finding["blocks"]) == (gopher.id, False)
    # The one that the engine holds, and another threshold.
    done = own.invoke("docker-scan", "--image", own_image, "--severity", "medium", **env)
    assert done.returncode == 7, done.stdout + done.stderr


@pytest.fixture(scope="session")
def own_program(engine: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the program of the image for amd64, as the Dockerfile compiles it."""
    assert engine
    folder = tmp_path_factory.mktemp("program")
    words = ("--platform", "linux/amd64", "--target", "binary")
    done = Checkout(ROOT, "own").invoke(
        "docker-build", *words, "--output", f"type=local,dest={folder}"
    )
    assert done.returncode == 0, done.stderr
    return (folder / "dockerutilities").read_bytes()


@pytest.mark.parametrize("go", ["1.24.9", "1.25.9", "1.26.8", "1.27.1", ""])
def test_a_release_on_an_unsupported_or_unpatched_go_is_refused(
    make_checkout: Make,
    own_program: bytes,
    database: Callable[..., dict[str, str | None]],
    tmp_path: Path,
    go: str,
) -> None:
    # What a scanner reads in a program: the version of the Go that compiled it.
    (own,) = set(re.findall(rb"\bgo1\.\d+\.\d+\b", own_program))
    other = f"go{go}".encode() if go else own
    assert len(other) == len(own), "the program's layout stays as it is"
    writer = OciWriter()
    layer = writer.layer({"usr/local/bin/program": own_program.replace(own, other)})
    image = str(
        writer.write(tmp_path / "i.tar", writer.image([layer], platform=("linux", "amd64")))
    )
    checkout = make_checkout(config='platforms = ["linux/amd64"]\n')
    env = database(*gosecurity.STDLIB)
    done = checkout.invoke("docker-scan", "--image", image, "--json", **env)
    (one,) = json.loads(done.stdout)["platforms"]
    found = {row["id"] for row in one["findings"] if "stdlib" in json.dumps(row)}
    assert found == set(gosecurity.findings(other.decode().removeprefix("go")))
    assert done.returncode == (7 if go else 0), done.stderr
