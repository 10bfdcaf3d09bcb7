"""The claim that keeps publishers apart, over a registry in memory; simulations race it."""

from __future__ import annotations

import io
import json
import math
import tarfile

import pytest
from simulation.direct import Direct
from simulation.registries import Registry

from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    CancelledError,
    EngineError,
    GateError,
    TransientError,
)
from buildlib.registry.claim import BLOBS, PREFIX, Claim, ClaimTerms, Intent, all_claimed
from buildlib.registry.repository import Document, Repository
from buildlib.registry.response import Response
from buildlib.registry.tags import put_tag
from buildlib.retry import LaterError

TERMS = ClaimTerms(duration=90.0, poll=10.0, patience=300.0)
OURS = Intent("1.3.0 (abc1234)", "sha256:" + "a" * 64, ("1.3.0",))
THEIRS = Intent("1.3.0 (def5678)", "sha256:" + "b" * 64, ("1.3.0",))
OTHER = Intent("1.4.0 (def5678)", "sha256:" + "c" * 64, ("1.4.0",))


class Timed(Direct):
    """The way to a registry in memory, with a clock of its own."""

    def __init__(self, registry: Registry) -> None:
        self.now = 1000.0
        super().__init__(registry, sleep=self.pass_time, clock=lambda: self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds


FORMER = "io.github.smiller333.buildlib"


class World:
    """One registry, and those who claim it."""

    def __init__(self, *, deletes: bool = True) -> None:
        self.registry = Registry("r.example", deletes=deletes)
        self.way = Timed(self.registry)
        self.notes: list[str] = []

    def claim(self, name: str, intent: Intent = OURS, **more: object) -> Claim:
        given = {"terms": TERMS, "identifier": name, "clock": lambda: self.way.now, **more}
        repository = Repository(self.way, "thing")
        return Claim(repository, intent, note=self.notes.append, **given)  # type: ignore[arg-type]

    @property
    def there(self) -> set[str]:
        return {tag.removeprefix(PREFIX) for tag in self.registry.tags}


def test_a_claim_is_a_tag_as_long_as_it_lasts() -> None:
    world = World()
    with world.claim("a") as claim:
        assert world.there == {"a"}
        assert claim.tag == "buildlib-claim-a"
    assert world.registry.tags == {}
    assert world.registry.manifests == {}


def test_a_claim_is_an_image_that_any_registry_takes() -> None:
    world = World()
    with world.claim("a") as claim:
        document = world.registry.manifests[world.registry.tags[claim.tag]]
    found = json.loads(document)
    # Some know only the types of images, and some compare the layers with the configuration.
    assert "artifactType" not in found
    assert found["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert [one["mediaType"] for one in found["layers"]] == [
        "application/vnd.oci.image.layer.v1.tar"
    ]
    for part in (found["config"], *found["layers"]):
        data = BLOBS[part["digest"]]
        assert (part["digest"], part["size"]) == (Document(data, "").digest, len(data))
    config = json.loads(BLOBS[found["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [one["digest"] for one in found["layers"]]
    layer = io.BytesIO(BLOBS[found["layers"][0]["digest"]])
    with tarfile.open(fileobj=layer) as archive:
        assert archive.getnames() == []


def test_where_nothing_is_deleted_it_is_marked_and_waited_for_by_nobody() -> None:
    world = World(deletes=False)
    with world.claim("a"):
        pass
    assert world.there == {"a"}
    with world.claim("b"):
        assert world.notes == []
    # It is not tried again and again.
    assert sum(line.startswith("DELETE") for line in world.way.asked) == 2


def test_what_could_not_be_deleted_once_is_deleted_by_the_next_publisher() -> None:
    world = World()
    world.way.fails = lambda method, _path: _fail(method == "DELETE")
    with world.claim("a"):
        pass
    assert world.there == {"a"}
    world.way.fails = lambda _method, _path: None
    with world.claim("b"):
        assert world.way.now == 1000
    assert world.registry.tags == {}


def _fail(now: bool) -> None:
    if now:
        raise TransientError("down")


def test_another_publisher_is_waited_for() -> None:
    world = World()
    first = world.claim("a").__enter__()
    asked = len(world.way.asked)

    def ends(_method: str, _path: str) -> None:
        if world.way.now > 1025 and "a" in world.there:
            world.way.fails = lambda _method, _path: None
            first.__exit__(None, None, None)

    world.way.fails = ends
    with world.claim("b", OTHER):
        assert world.there == {"b"}
    assert world.notes == ["r.example/thing: waiting for 1.3.0 (abc1234)"]
    assert len(world.way.asked) > asked
    assert world.way.now < 1090


@pytest.mark.parametrize("name", ["b", "0"], ids=["sorts after", "sorts before"])
def test_it_is_not_waited_for_longer_than_patience(name: str) -> None:
    world = World()
    first = world.claim("a").__enter__()

    def renews(method: str, path: str) -> None:
        if method == "GET" and path.endswith(first.tag):
            world.way.fails = lambda _method, _path: None
            first.keep()
            world.way.fails = renews

    world.way.fails = renews
    with pytest.raises(TransientError, match="another publication gives tags") as caught:
        world.claim(name, OTHER).__enter__()
    assert "1.3.0 (abc1234)" in str(caught.value)
    assert world.there == {"a"}


def test_that_of_a_killed_publisher_expires_and_is_removed() -> None:
    world = World()
    world.claim("a", Intent("a rollback")).__enter__()
    with world.claim("b"):
        assert 1090 <= world.way.now < 1110
    assert world.registry.tags == {}


def test_yesterdays_is_not_waited_for() -> None:
    world = World()
    world.claim("a", Intent("a rollback")).__enter__()
    world.way.now += 24 * 3600
    before = world.way.now
    with world.claim("b"):
        assert world.way.now == before


def test_a_version_that_may_still_come_late_is_left_to_its_publisher() -> None:
    world = World()
    world.claim("a", THEIRS).__enter__()
    with pytest.raises(GateError, match=r"1\.3\.0 may still become another image") as caught:
        world.claim("b", OURS).__enter__()
    assert "invoke docker-publish --discard-claim a" in str(caught.value)
    assert world.there == {"a"}
    # Another version is published all the same, and does not forget it.
    with world.claim("c", OTHER):
        pass
    assert world.there == {"a"}
    # Nor does the same image have to wait for a decision.
    with world.claim("d", THEIRS):
        pass
    assert world.there == {"a"}
    # It is over when the version is there, or somebody says so.
    with world.claim("e", OURS, known=("a",)):
        pass
    assert world.there == set()


def test_one_that_was_killed_while_it_wrote_a_version_stays_until_that_is_there() -> None:
    world = World()
    for name in ("a", "0"):
        world.claim(name, known=("a",)).__enter__()
    for name, there in (("b", {"a", "0"}), ("c", {"1.3.0"})):
        claim = world.claim(name, known=("a", "0"))
        claim.late = ("a", "0")
        with claim:
            if name == "c":
                world.registry.holds(b"{}", "1.3.0")
        assert world.there == there


def test_where_the_version_of_one_that_was_killed_can_not_be_asked_for_it_stays() -> None:
    world = World()
    world.claim("a").__enter__()

    def asks(_method: str, path: str) -> None:
        if path.endswith("/1.3.0"):
            raise EngineError("no")

    claim = world.claim("b", known=("a",))
    claim.late = ("a",)
    with claim:
        world.way.fails = asks
    assert world.there == {"a"}


def test_what_a_killed_publisher_finished_is_forgotten() -> None:
    world = World()
    world.claim("a", THEIRS).__enter__()
    world.registry.holds(b"{}", "1.3.0")
    with world.claim("b", OURS):
        pass
    assert world.there == {"1.3.0"}


def test_it_is_renewed_when_it_is_due() -> None:
    world = World()
    with world.claim("a") as claim:
        before = world.registry.tags[claim.tag]
        world.way.now += 20
        claim.keep()
        assert world.registry.tags[claim.tag] == before
        world.way.now += 20
        claim.keep()
        assert world.registry.tags[claim.tag] != before
        lapsed = [claim.lapsed]
        world.way.now += 89
        assert not claim.expired()
        world.way.now += 1
        assert claim.expired()
        claim.keep()
        assert [*lapsed, claim.lapsed] == [False, True]
        assert not claim.expired()
    assert world.registry.manifests == {}


def test_a_renewal_that_takes_too_long_is_none() -> None:
    world = World()
    with world.claim("a") as claim:
        world.way.now += 40
        world.way.fails = lambda method, _path: world.way.pass_time(60) if method == "PUT" else None
        claim.keep()
        assert claim.lapsed


@pytest.mark.parametrize("kind", [EngineError, AuthorisationError])
def test_a_registry_that_does_not_take_it_is_told_with_the_setting(
    kind: type[EngineError | AuthorisationError],
) -> None:
    world = World()

    def refuses(method: str, path: str) -> None:
        if method == "PUT" and "manifests" in path:
            raise kind("it is no image")

    world.way.fails = refuses
    with pytest.raises(kind, match="does not take the claim") as caught:
        world.claim("a").__enter__()
    assert "it is no image" in str(caught.value)
    assert "claim = false" in str(caught.value)
    with world.claim("a", enabled=False) as claim:
        claim.keep()
        assert not claim.expired()


def test_publishers_of_an_earlier_version_see_a_claim() -> None:
    world = World()
    with world.claim("a"):
        (manifest,) = [json.loads(data) for data in world.registry.manifests.values()]
    names = {name.rpartition(".claim.")[0] for name in manifest["annotations"]}
    assert names == {"buildlib", FORMER}
    ours, before = (
        {name: value for name, value in manifest["annotations"].items() if name.startswith(prefix)}
        for prefix in ("buildlib.", FORMER)
    )
    assert [*ours.values()] == [*before.values()]


@pytest.mark.parametrize("namespace", ["buildlib", FORMER])
def test_one_in_no_known_form_counts_until_it_expires(namespace: str) -> None:
    world = World()
    later = {"annotations": {f"{namespace}.claim.other": ""}}
    world.registry.holds(json.dumps(later).encode(), f"{PREFIX}0")
    with world.claim("b"):
        assert world.way.now >= 1090
    assert world.notes == ["r.example/thing: waiting for an unknown publisher"]
    assert world.there == set()


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"annotations": {"a": ""}}'])
def test_an_image_under_the_tag_of_a_claim_is_neither_waited_for_nor_deleted(data: bytes) -> None:
    world = World()
    world.registry.holds(data, f"{PREFIX}0", "1.2.0", "latest")
    with world.claim("b"):
        assert world.way.now == 1000
    world.way.now += 24 * 3600
    with world.claim("c", known=("0",)):
        pass
    assert world.there == {"0", "1.2.0", "latest"}


@pytest.mark.parametrize("deletes", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, TransientError("no answer")])
def test_one_whose_request_got_no_answer_is_released_as_well(
    error: type[KeyboardInterrupt] | TransientError,
    deletes: bool,
) -> None:
    world = World(deletes=deletes)
    put = world.registry.answer

    def breaks_off(method: str, path: str, body: bytes) -> Response:
        answer = put(method, path, body)
        if method == "PUT" and PREFIX in path:
            world.registry.answer = put  # type: ignore[method-assign]
            raise error
        return answer

    world.registry.answer = breaks_off  # type: ignore[method-assign]
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        world.claim("a").__enter__()
    assert world.there == (set() if deletes else {"a"})
    with world.claim("b"):
        assert world.way.now == 1000


def test_a_claim_that_was_never_there_leaves_no_tag() -> None:
    world = World()

    def refuses(method: str, path: str) -> None:
        if method == "PUT" and PREFIX in path:
            raise EngineError("no")

    world.way.fails = refuses
    with pytest.raises(EngineError, match="does not take the claim"):
        world.claim("a").__enter__()
    assert world.notes == []
    assert not any(line.startswith("DELETE") for line in world.way.asked)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, CancelledError, GateError])
def test_an_interrupt_waits_for_no_registry(kind: type[BaseException]) -> None:
    world = World()
    before = world.way.patience
    with pytest.raises(kind), world.claim("a"):
        raise kind("stop")
    assert world.there == set()
    if kind is GateError:
        assert world.way.patience == before
    else:
        assert world.way.patience.attempts == 1
        assert max(world.way.patience.timeout, world.way.limits.seconds) <= 5


def test_a_list_of_tags_that_is_too_old_is_not_believed() -> None:
    world = World()
    old = Response(200, {}, b'{"tags": ["1.2.0"]}')
    answer, until = world.registry.answer, 1015.0

    def lags(method: str, path: str, body: bytes) -> Response:
        late = "/tags/" in path and world.way.now < until
        return old if late else answer(method, path, body)

    world.registry.answer = lags  # type: ignore[method-assign]
    with world.claim("a"):
        assert world.way.now >= until
    until = math.inf
    with pytest.raises(TransientError, match="does not list the tag that was put there") as caught:
        world.claim("b").__enter__()
    assert "claim = false" in str(caught.value)
    assert world.there == set()


def test_released_ones_are_read_once_while_another_is_waited_for() -> None:
    world = World(deletes=False)
    for name in ("c", "d", "e"):
        with world.claim(name):
            pass
    world.claim("a", Intent("a rollback")).__enter__()
    world.way.asked.clear()
    with world.claim("b"):
        pass
    read = [line for line in world.way.asked if line.startswith("GET") and line.endswith("-c")]
    looks = [line for line in world.way.asked if "/tags/" in line]
    put = [line for line in world.way.asked if line.startswith("PUT") and line.endswith("-b")]
    assert len(looks) > 8
    assert len(read) <= len(put) + 1


def test_more_claims_than_can_be_read_are_no_reason_to_wait_for_ever() -> None:
    world = World()
    for number in range(100):
        world.registry.holds(b'{"number": %d}' % number, f"{PREFIX}{number:03}")

    def slow(method: str, path: str) -> None:
        if method == "GET" and PREFIX in path:
            world.way.pass_time(60)

    world.way.fails = slow
    with pytest.raises(TransientError, match="can't all be read"):
        world.claim("b").__enter__()
    assert world.way.now < 1500


def test_one_that_cannot_be_released_is_told() -> None:
    world = World()
    claim = world.claim("a").__enter__()

    def down(_method: str, _path: str) -> None:
        raise TransientError("down")

    world.way.fails = down
    claim.__exit__(None, None, None)
    assert world.notes == [
        "r.example/thing: the claim could not be released; it expires within 90 s"
    ]


@pytest.mark.parametrize("deletes", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, CancelledError("interrupted")])
def test_an_interrupt_of_the_release_does_not_leave_it(
    error: type[KeyboardInterrupt] | CancelledError,
    deletes: bool,
) -> None:
    world = World(deletes=deletes)
    claim = world.claim("a").__enter__()

    def interrupted(_method: str, _path: str) -> None:
        world.way.fails = lambda _method, _path: None
        raise error

    world.way.fails = interrupted
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        claim.__exit__(None, None, None)
    assert world.way.patience.attempts == 1
    with world.claim("b"):
        assert world.way.now == 1000


def test_several_are_taken_in_one_order_and_none_is_left_where_one_fails() -> None:
    world = World()
    other = World()

    def refuses(_method: str, _path: str) -> None:
        raise EngineError("no")

    other.way.host = "s.example"
    other.way.fails = refuses
    with pytest.raises(EngineError), all_claimed([other.claim("a"), world.claim("a")]):
        pass
    assert world.way.asked[0].startswith("HEAD")
    assert world.there == set()


@pytest.mark.parametrize(
    "error", [LaterError("no answer"), CancelledError("no"), KeyboardInterrupt]
)
def test_a_tag_that_may_still_be_written_keeps_its_claim(
    error: BuildlibError | type[KeyboardInterrupt],
) -> None:
    world = World()
    world.registry.holds(b"{}")

    def silent(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("/1.3.0"):
            raise error

    world.way.fails = silent
    digest = next(iter(world.registry.manifests))
    with pytest.raises((BuildlibError, KeyboardInterrupt)), world.claim("a") as claim:
        put_tag(claim.repository, digest, "1.3.0", immutable=True, claim=claim)
    assert world.there == {"a"}
    # Whoever publishes the same image goes on, and another one does not.
    world.way.fails = lambda _method, _path: None
    with pytest.raises(GateError, match=r"1\.3\.0 may still become another image"):
        world.claim("b", THEIRS).__enter__()
    with world.claim("c", known=("a",)) as claim:
        put_tag(claim.repository, digest, "1.3.0", immutable=True, claim=claim)
    assert world.there == {"1.3.0"}
