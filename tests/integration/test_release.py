"""A release of this repository from beginning to end, on two registries of this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import git
from grypedb import Advisory
from registries import Server, registry
from releases import Release, own_release

pytestmark = [pytest.mark.publish, pytest.mark.timeout(2400)]
PATH = "team/own"
# Of a release that is about tags that move; without smoke, policy does not know whether root runs.
SKIPPED = ("smoke", "policy", "scan")
# Nothing that the image holds: that a scanner with an empty database finds nothing proves little.
ELSEWHERE = Advisory("GHSA-else-wher-else", "CVE-2026-0009", "critical", "npm", "elsewhere", "<9")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("registries")
    with registry(folder / "first") as first, registry(folder / "second") as second:
        yield [first, second]


@pytest.fixture(scope="module")
def release(
    tmp_path_factory: pytest.TempPathFactory,
    servers: list[Server],
    database: Callable[..., dict[str, str | None]],
) -> Release:
    """Return a throw-away copy of this repository that publishes to the two registries."""
    known = {name: str(value) for name, value in database(ELSEWHERE).items()}
    return own_release(tmp_path_factory.mktemp("release"), servers, known, path=PATH)


def _commit(release: Release, tag: str) -> None:
    git(release.root, "add", "--all")
    git(release.root, "commit", "--quiet", "--allow-empty", "--message", tag)
    git(release.root, "tag", tag)


def _do(release: Release, *words: str) -> str:
    """Run a task, and show it as it would be seen."""
    print(f"$ invoke {' '.join(words)}")
    done = release.invoke_process(*words)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _tags(release: Release) -> list[dict[str, str]]:
    return [
        {tag: digest for tag, digest in server.tags(PATH).items() if tag[:7] != "sha256-"}
        for server in release.servers
    ]


def test_two_releases_to_two_registries_and_back_again(release: Release) -> None:
    _commit(release, "v1.0.0")
    _do(release, "docker-publish", "--dry-run")
    assert _tags(release) == [{}, {}]
    _do(release, "docker-publish")
    first = release.receipt
    assert [gate["gate"] for gate in first["gates"]] == ["smoke", "policy", "size", "scan", "sbom"]
    assert {gate["state"] for gate in first["gates"]} == {"passed"}
    assert sorted(first["platforms"]) == ["linux/amd64", "linux/arm64"]
    checks = first["gates"][0]["figures"]["checks"]
    assert min(checks.values()) > 15
    one = dict.fromkeys(["1", "1.0", "1.0.0", "latest"], first["digest"])
    assert _tags(release) == [one] * 2
    for host in release.hosts.values():
        text = _do(release, "docker-verify", f"{host}/{PATH}:1.0.0", "--json")
        found = json.loads(text)
        assert found["digest"] == first["digest"]
        expected = {"spdxjson": 2, "cyclonedx": 2, "slsaprovenance1": 1}
        assert found["attestations"] == expected

    # The first one was built without the cache; this one is about tags.
    with (release.root / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write("[tool.buildlib.publish]\ncache = true\n")
    _commit(release, "v1.1.0")
    skips = (word for gate in SKIPPED for word in ("--skip-gate", gate))
    _do(release, "docker-publish", *skips, "--reason", "the first release passed them")
    second = release.receipt
    left_out = {gate["gate"] for gate in second["gates"] if gate["state"] == "left out"}
    assert left_out == set(SKIPPED)
    assert second["digest"] != first["digest"]
    two = {**one, "1": second["digest"], "latest": second["digest"]}
    two |= dict.fromkeys(["1.1", "1.1.0"], second["digest"])
    assert _tags(release) == [two] * 2
    _do(release, "docker-rollback")
    back = {**two, "1": first["digest"], "latest": first["digest"]}
    assert _tags(release) == [back] * 2
    _do(release, "docker-verify", f"{release.hosts['second']}/{PATH}:latest")


def test_what_was_published_runs(release: Release) -> None:
    reference = f"{release.hosts['first']}/{PATH}@{_tags(release)[0]['1.0.0']}"
    run = ["docker", "run", "--rm", reference, "version"]
    done = subprocess.run(run, env=release.env, capture_output=True, text=True, check=False)
    subprocess.run(["docker", "image", "rm", reference], capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1.0.0")


def test_the_statement_tells_what_it_was_made_from(release: Release, tmp_path: Path) -> None:
    digest = _tags(release)[0]["1.0.0"]
    reference = f"{release.hosts['first']}/{PATH}@{digest}"
    key = release.root.parent / "cosign.pub"
    argv = ["cosign", "verify-attestation", "--key", str(key), "--insecure-ignore-tlog=true"]
    done = subprocess.run(
        [*argv, "--type", "slsaprovenance1", reference],
        env={**release.env, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    from base64 import b64decode  # noqa: PLC0415 - only here

    statement = json.loads(b64decode(json.loads(done.stdout)["payload"]))
    assert statement["subject"][0]["digest"] == {"sha256": digest.removeprefix("sha256:")}
    predicate = statement["predicate"]
    parameters = predicate["buildDefinition"]["externalParameters"]
    assert parameters["version"] == "1.0.0"
    assert parameters["buildArgs"]["VERSION"] == "1.0.0"
    source = predicate["buildDefinition"]["resolvedDependencies"][0]
    assert source["digest"]["gitCommit"] == git(release.root, "rev-parse", "v1.0.0^{commit}")
    gates = {one["name"] for one in predicate["runDetails"]["byproducts"]}
    assert gates == {"gate/smoke", "gate/policy", "gate/size", "gate/scan", "gate/sbom"}
    assert str(release.root) not in json.dumps(statement)
