"""The vulnerability gate by the real grype, over a database that knows two made-up advisories."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gosecurity
import pytest
from conftest import GOTOOLS, ROOT, Checkout, docker
from grypedb import Advisory
from ociwriter import ELF, GZIP, OciWriter

# Where the scanner is not in the cache yet it is compiled, which takes minutes.
pytestmark = [pytest.mark.engine, pytest.mark.unmeasured, pytest.mark.timeout(2400)]
LEAKY = Advisory("GHSA-leak-leak-leak", "CVE-2026-0001", "high", "npm", "leaky", "<1.2.4", "1.2.4")
STUCK = Advisory("GHSA-stck-stck-stck", "CVE-2026-0002", "critical", "npm", "stuck", "<99")
GOPHER = Advisory("GO-2026-0001", "CVE-2026-0003", "medium", "go-module", "stdlib", "<99", "99.0.0")
PLATFORMS = ["linux/amd64", "linux/arm64"]
PROGRAM = "/usr/local/bin/dockerutilities"
# Releases of Go that are not supported, or not patched.
REFUSED = ("1.24.9", "1.25.9", "1.26.8", "1.27.1")
NOW = datetime.now(UTC)


@pytest.fixture(scope="session")
def known(database: Callable[..., dict[str, str | None]]) -> dict[str, str | None]:
    """Return the environment in which grype knows of both."""
    return database(LEAKY, STUCK, built=NOW)


def _image(path: Path, *packages: str, platforms: Sequence[str] = PLATFORMS[:1]) -> str:
    """Write an image that holds these packages, in version 1.2.3.

    Of one platform, as a rule: grype takes two seconds for each, whatever is in it.
    """
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
    images = [writer.image([layer], platform=tuple(name.split("/"))) for name in platforms]
    return str(writer.write(path, writer.index(*images)))


def _ignore(advisory: Advisory, until: str) -> str:
    return (
        f'[[scan.ignore]]\nid = "{advisory.cve}"\npackage = "{advisory.package}"\n'
        f'reason = "never reached"\nuntil = {until}\n'
    )


Make = Callable[..., Checkout]


def test_the_gate_is_closed_by_what_grype_knows(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    checkout = make_checkout()
    image = _image(tmp_path / "i.tar", "leaky", platforms=PLATFORMS)
    sarif = tmp_path / "reports" / "scan.sarif"
    done = checkout.invoke("docker-scan", "--image", image, "--sarif", str(sarif), **known)
    assert done.returncode == 7, done.stdout + done.stderr
    for platform in PLATFORMS:
        row = f"high  {LEAKY.id}  leaky 1.2.3  {platform} /usr/lib/node_modules/leaky/package.json"
        assert f"error  {row}  fixed in 1.2.4" in done.stdout
        assert f"{row}  fixed in 1.2.4" in done.stderr
        assert f"{platform} (1 package)" in done.stdout
    assert f"database of {NOW:%Y-%m-%dT%H:%M:%S}Z" in done.stdout
    assert f"{image} has 2 known vulnerabilities of severity high or worse" in done.stderr
    (run,) = json.loads(sarif.read_text("utf-8"))["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert (rule["id"], rule["helpUri"]) == (LEAKY.id, f"https://example.org/{LEAKY.id}")
    assert [result["level"] for result in run["results"]] == ["error", "error"]
    assert str(tmp_path) not in sarif.read_text("utf-8")


def test_what_is_ignored_passes_until_its_day(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    until = f"{NOW + timedelta(days=2):%Y-%m-%d}"
    config = _ignore(LEAKY, until) + _ignore(STUCK, until)
    done = make_checkout(config=config).invoke(
        "docker-scan", "--image", _image(tmp_path / "i.tar", "leaky"), **known
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"until {until}: never reached" in done.stdout
    # The database knows of it, but the image does not hold it.
    assert f"warning: nothing is left to ignore of {STUCK.cve} stuck" in done.stderr


def test_what_has_no_fix_and_what_is_milder_is_only_a_warning(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    image = _image(tmp_path / "i.tar", "stuck", "leaky")
    ended = f"{NOW - timedelta(days=2):%Y-%m-%d}"
    done = make_checkout(config=_ignore(LEAKY, ended)).invoke(
        "docker-scan", "--image", image, **known
    )
    assert done.returncode == 7, done.stdout + done.stderr
    for level, one in (("critical", STUCK), ("high", LEAKY)):
        assert re.search(rf"error +{level} +{one.id}", done.stdout), done.stdout
    assert f"fixed in 1.2.4 (it was ignored until {ended})" in done.stderr
    checkout = make_checkout(config="[scan]\nonly-fixed = true\n", folder="fixed")
    done = checkout.invoke("docker-scan", "--image", image, "--severity", "critical", **known)
    assert done.returncode == 0, done.stdout + done.stderr
    for level, one in (("critical", STUCK), ("high", LEAKY)):
        assert re.search(rf"warning +{level} +{one.id}", done.stdout), done.stdout
    done = checkout.invoke("docker-scan", "--image", image, "--severity", "hihg", **known)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "did you mean high?" in done.stderr


def _statement(advisory: Advisory, **status: str) -> dict[str, object]:
    product = f"pkg:npm/{advisory.package}@1.2.3"
    return {"vulnerability": {"name": advisory.id}, "products": [{"@id": product}], **status}


def test_what_an_openvex_file_says_does_not_concern_us_passes(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    image = _image(tmp_path / "i.tar", "leaky", "stuck")
    checkout = make_checkout(config='[scan]\nvex = ["security/ours.vex.json"]\n')
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "scan.vex: there is no file security/ours.vex.json" in done.stderr
    why = "vulnerable_code_not_in_execute_path"
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.org/vex/1",
        "author": "us",
        "timestamp": "2026-01-02T03:04:05Z",
        "version": 1,
        "statements": [
            _statement(LEAKY, status="not_affected", justification=why),
            # One that says it does concern us changes nothing.
            _statement(STUCK, status="affected", action_statement="wait for a fix"),
        ],
    }
    vex = checkout.root / "security" / "ours.vex.json"
    vex.parent.mkdir()
    vex.write_text(json.dumps(document), encoding="utf-8")
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 7, done.stdout + done.stderr
    assert f"left out  high      {LEAKY.id}" in done.stdout
    assert "VEX: not_affected" in done.stdout
    assert f"{image} has 1 known vulnerabilities" in done.stderr
    assert STUCK.id in done.stderr
    assert LEAKY.id not in done.stderr


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
    done = make_checkout(folder="young").invoke("docker-scan", "--image", image, "--json", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["passed"] is True
    assert [(one["platform"], one["packages"]) for one in report["platforms"]] == [
        (PLATFORMS[0], 1)
    ]
    version = GOTOOLS.TOOLS["grype"].version.removeprefix("v")
    assert (report["scanner"]["name"], report["scanner"]["version"]) == ("grype", version)


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
    assert "grype and trivy not found: nothing was scanned" in done.stderr
    checkout = make_checkout(config='[scan]\nscanner = "trivy"\n', folder="trivy")
    done = checkout.invoke("docker-scan", "--image", image, **known)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "trivy not found: nothing was scanned" in done.stderr


def test_an_image_of_an_unknown_program_does_not_pass(
    make_checkout: Make, known: dict[str, str | None], tmp_path: Path
) -> None:
    # tests/unit/scan/test_check.py and test_sbom.py have one of files alone, which passes.
    checkout, writer = make_checkout(), OciWriter()
    layer = writer.layer({"usr/bin/thing": ELF})
    program = str(writer.write(tmp_path / "p.tar", writer.image([layer])))
    for task in (("docker-scan",), ("docker-sbom", "--output", str(tmp_path / "out"))):
        done = checkout.invoke(*task, "--image", program, **known)
        assert done.returncode == 7, done.stdout + done.stderr
        assert "sees no package in the image for linux/amd64: nothing is known" in done.stderr
        assert "it holds a program, /usr/bin/thing" in done.stderr


def test_what_the_repositorys_own_grype_ignores_is_reported(
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
    assert "0 ignored, 1 left out by grype" in done.stdout


def _of_go(report: str) -> list[dict[str, dict[str, object]]]:
    """Return what is found of Go's own library: for each platform, by file and id."""
    found = []
    for one in json.loads(report)["platforms"]:
        places: dict[str, dict[str, object]] = {}
        for row in one["findings"]:
            if row["package"] == "stdlib":
                places.setdefault(row["path"], {})[row["id"]] = row["blocks"]
        found.append(places)
    return found


def _own_go(program: bytes) -> str:
    """Return the version of the Go that compiled a program, as a scanner reads it there."""
    (own,) = set(re.findall(rb"\bgo(1\.\d+\.\d+)\b", program))
    return str(own.decode())


@pytest.fixture(scope="session")
def own_program(own_image: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the program of the image for amd64."""
    path = tmp_path_factory.mktemp("program") / "program"
    container = docker("create", own_image)
    docker("cp", f"{container}:{PROGRAM}", str(path))
    docker("rm", "--volumes", container)
    return path.read_bytes()


@pytest.fixture(scope="session")
def of_go(database: Callable[..., dict[str, str | None]]) -> dict[str, str | None]:
    """Return the environment in which grype knows what is wrong with releases of Go."""
    return database(GOPHER, *gosecurity.STDLIB)


def test_this_repositorys_image_is_seen_into_on_every_platform(
    own_archive: Path, own_image: str, own_program: bytes, of_go: dict[str, str | None]
) -> None:
    own = Checkout(ROOT, "dockerutilities")
    done = own.invoke("docker-scan", "--image", str(own_archive), "--json", **of_go)
    # It is compiled with a Go that is supported and patched.
    assert done.returncode == 0, done.stderr
    assert [one["platform"] for one in json.loads(done.stdout)["platforms"]] == PLATFORMS
    expected = {GOPHER.id, *gosecurity.findings(_own_go(own_program))}
    assert _of_go(done.stdout) == [{PROGRAM: dict.fromkeys(expected, False)}] * 2
    # The one that the engine holds, and another threshold.
    done = own.invoke("docker-scan", "--image", own_image, "--severity", "medium", **of_go)
    assert done.returncode == 7, done.stdout + done.stderr


def test_a_release_on_an_unsupported_or_unpatched_go_is_refused(
    make_checkout: Make, own_program: bytes, of_go: dict[str, str | None], tmp_path: Path
) -> None:
    own = _own_go(own_program).encode()
    assert all(len(go) == len(own) for go in REFUSED), "the program's layout stays as it is"
    writer = OciWriter()
    programs = {f"bin/{go}": own_program.replace(b"go" + own, f"go{go}".encode()) for go in REFUSED}
    # Compressing them would take seconds.
    layer = writer.layer(programs, GZIP.removesuffix("+gzip"))
    image = writer.write(tmp_path / "i.tar", writer.image([layer], platform=("linux", "amd64")))
    checkout = make_checkout(config='platforms = ["linux/amd64"]\n')
    done = checkout.invoke("docker-scan", "--image", str(image), "--json", **of_go)
    assert done.returncode == 7, done.stderr
    (found,) = _of_go(done.stdout)
    expected = {f"/bin/{go}": {GOPHER.id, *gosecurity.findings(go)} for go in REFUSED}
    assert {path: set(ids) for path, ids in found.items()} == expected
    assert all(any(ids.values()) for ids in found.values()), "each by itself is refused"
