"""Publishing with each cosign that counts, where the second registry knows the referrers API.

Version 3 alone publishes where what happens depends on buildlib: what it says of a registry that
fails is among the unit tests, for both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faults
import pytest
from conftest import git
from registries import KNOWN, Fault, Proxy, Server, fault_proxy, referrers_registry, registry
from releases import BUILDKIT, PATH, PLAIN, Release, make_keys, make_release

from buildlib.errors import TransientError
from buildlib.publish.signing import STATEMENT
from buildlib.registry.claim import PREFIX
from buildlib.registry.repository import Repository
from buildlib.registry.transport import Transport

# Where cosign 3 is not in the cache yet it is compiled, which takes minutes.
pytestmark = [
    pytest.mark.release,
    pytest.mark.unmeasured,
    pytest.mark.timeout(2400),
    pytest.mark.usefixtures("quick_cosign"),
]
quick_cosign = faults.quick_cosign
TAGS = ["1", "1.2", "1.2.3", "latest"]
one_cosign = pytest.mark.parametrize("cosign_path", ["cosign 3"], indirect=True)


@dataclass(frozen=True)
class Setting:
    """A registry that knows tags alone, and one that knows referrers, through a proxy.

    Args:
        one: the former.
        two: the proxy of the latter.
        path: a PATH with the cosign.
        third: it is version 3.
    """

    one: Server
    two: Proxy
    path: str
    third: bool

    def release(self, root: Path, *, provenance: bool = False) -> Release:
        hosts = {"one": self.one.host, "two": self.two.host}
        made = make_release(root, hosts, [self.one], provenance=provenance)
        made.env["PATH"] = self.path
        return made

    def tags(self, release: Release) -> list[dict[str, str]]:
        """Return the public tags of both."""
        there = Repository(Transport(self.two.host, KNOWN), PATH)
        # It deletes nothing, so that claims stay, marked as released.
        names = [tag for tag in there.tags() if not tag.startswith(("sha256-", PREFIX))]
        return [release.tags[0], {tag: there.digest(tag) for tag in sorted(names)}]


@pytest.fixture
def setting(tmp_path: Path, cosign_path: str, referrers: Path) -> Iterator[Setting]:
    with (
        registry(tmp_path / "one") as one,
        referrers_registry(referrers) as two,
        fault_proxy(int(two.rpartition(":")[2])) as proxy,
    ):
        yield Setting(one, proxy, cosign_path, third=cosign_path != os.environ["PATH"])


def _stated(release: Release) -> dict[str, int]:
    """Return how many statements of each type there have to be."""
    images = len(release.receipt["provenance"])
    return ({BUILDKIT: images} if images else {}) | {STATEMENT: 1}


def _check(release: Release, setting: Setting) -> None:
    """See that both hold the digest, signed, with each statement once."""
    digest = release.receipt["digest"]
    assert setting.tags(release) == [dict.fromkeys(TAGS, digest)] * 2
    stated = _stated(release)
    wanted = [word for kind in stated for word in ("--attestation", kind)]
    for host in release.hosts.values():
        done = release.invoke("docker-verify", f"{host}/{PATH}:1.2.3", "--json", *wanted)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["digest"], found["attestations"]) == (digest, stated)
        assert sorted(found["images"]) == sorted(release.receipt["platforms"].values())


def test_it_is_published_whole_a_second_time_is_nothing_and_another_key_signs_all(
    setting: Setting, tmp_path: Path
) -> None:
    # BuildKit's statements by the other one are among the tests of publishing.
    release = setting.release(tmp_path / "repo", provenance=setting.third)
    release.publish(PLAIN)
    receipt = release.receipt
    assert receipt["finished"] is True
    for target in receipt["targets"].values():
        assert target["signed_by"].startswith("key sha256:")
        assert sorted(target["tags"]) == TAGS
    text = release.publish(PLAIN)
    assert "signing" not in text
    assert "attaching" not in text
    assert [one["sent"] for one in release.receipt["targets"].values()] == [0, 0]
    # The key of before: changed for a new one, or a wrong one that was used by mistake.
    before = (tmp_path / "cosign.pub").rename(tmp_path / "before.pub")
    (tmp_path / "cosign.key").unlink()
    make_keys(tmp_path, release.env)
    text = release.publish(PLAIN)
    assert text.count("signing ") == 2
    assert text.count("attaching ") == 2 * (1 + len(release.receipt["provenance"]))
    _check(release, setting)
    # Who still has the other key finds what it signed, and once more attaches nothing.
    for host in release.hosts.values():
        done = release.invoke("docker-verify", f"{host}/{PATH}:1.2.3", "--key", str(before))
        assert done.returncode == 0, done.stderr
    assert "attaching" not in release.publish(PLAIN)


@one_cosign
def test_what_breaks_off_in_the_second_registry_is_tried_again_counted_and_finished(
    setting: Setting, tmp_path: Path
) -> None:
    release = setting.release(tmp_path / "repo")

    def reached(step: str) -> None:
        # From here on whatever is sent there is cosign's, which waits by itself after a 503.
        if step == "push two":
            setting.two.always["POST "] = Fault(status=507)

    with pytest.raises(TransientError, match="does not answer cosign"):
        release.publish(PLAIN, reached=reached)
    assert release.receipt["targets"]["two"]["retries"] == 3
    setting.two.always.clear()
    # Signed by now: the version is what breaks off, and then nothing is left but tags.
    setting.two.always["PUT .*/manifests/1"] = Fault(status=503)
    with pytest.raises(TransientError):
        release.publish(PLAIN._replace(resume=True))
    one, two = setting.tags(release)
    assert (set(one) - {"1.2.3"}, two) == (set(), {})
    setting.two.always.clear()
    text = release.publish(PLAIN._replace(resume=True))
    assert "has passed for this image" in text
    assert "signing" not in text
    assert "attaching" not in text
    _check(release, setting)


@one_cosign
def test_one_that_is_not_required_is_left_behind_without_its_credentials(
    setting: Setting, tmp_path: Path
) -> None:
    release = setting.release(tmp_path / "repo")
    config = release.root / "buildlib.toml"
    more = '[registries.two]\nrequired = false\nusername-env = "WHO"\npassword-env = "WITH"'
    text = config.read_text(encoding="utf-8").replace("[registries.two]", more)
    config.write_text(text, encoding="utf-8")
    git(release.root, "commit", "--all", "--quiet", "--message", "x")
    git(release.root, "tag", "--force", "v1.2.3")
    release.env["WHO"] = "ann"
    printed = release.publish(PLAIN)
    assert (
        "two failed, and is not required: half of the credentials for two is missing: WITH"
        in printed
    )
    assert "missing: WITH" in release.receipt["targets"]["two"]["error"]
    assert [sorted(tags) for tags in setting.tags(release)] == [TAGS, []]
    assert release.receipt["finished"] is True
