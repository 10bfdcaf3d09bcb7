"""The whole matrix of what may happen to a publication; takes half an hour.

Each run of the tests tries the pairs that tests/faultplan.py chooses. Here each kind of fault comes
at each request to both registries, and a kill after each step.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import faults
import pytest
from faultplan import (
    BLOBS,
    COSIGN,
    COURSE,
    KINDS,
    REGISTRIES,
    Kind,
    Signed,
    is_finished,
    is_unlisted,
    name_of,
    while_signed,
)
from faults import PINNED, RESUMED, SIGNED, Setting, blobs_sent
from killing import IN_THE_BUILD, STEPS, UNBUILT, finish, kill
from releases import UNSIGNED

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(7200),
    pytest.mark.usefixtures("quick_cosign"),
]
setting, digest, _afresh = faults.setting_with_one_statement, faults.digest, faults.afresh
quick_cosign = faults.quick_cosign
PARTS = 4


@pytest.mark.parametrize("which", range(len(REGISTRIES)), ids=REGISTRIES)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "number", range(len(COURSE)), ids=[f"{at:02} {request}" for at, request in enumerate(COURSE)]
)
def test_a_fault_at_any_request_publishes_nothing_wrong(
    setting: Setting, digest: str, number: int, name: str, which: int
) -> None:
    proxy, kind = setting.proxies[which], KINDS[name]
    proxy.plan[number] = kind.fault
    code = setting.code(RESUMED, kind.patience)
    assert name_of(proxy.seen[number]) == COURSE[number]
    # What may pass is survived at once; what may not ends the run.
    assert code == (5 if kind.refused and not is_finished(number) else 0)
    setting.check(digest)
    sent, unlisted = blobs_sent(proxy), kind.refused and is_unlisted(number)
    if unlisted:
        assert setting.release.tags[which] == dict.fromkeys(PINNED, digest)
    if code or unlisted:
        proxy.forget()
        setting.release.publish(RESUMED)
        sent += blobs_sent(proxy)
    setting.finished(digest, marked=COURSE[number] == "DELETE manifest")
    # One more upload for the one that broke off, and no other twice.
    assert sent <= BLOBS + 1


@pytest.mark.parametrize("which", range(len(REGISTRIES)), ids=REGISTRIES)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("asked", COSIGN)
def test_a_fault_at_any_request_of_cosign_publishes_nothing_wrong(
    setting: Setting, digest: str, asked: str, name: str, which: int
) -> None:
    proxy = setting.proxies[which]
    proxy.once[:] = while_signed([Signed(name, asked, which)], which)
    code = setting.code(SIGNED, KINDS[name].patience)
    assert proxy.once == []
    _finish(setting, digest, KINDS[name], code, asked)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("which", range(len(REGISTRIES)), ids=REGISTRIES)
def test_a_fault_while_it_is_signed_publishes_nothing_wrong(
    setting: Setting, digest: str, which: int, part: int
) -> None:
    proxy, signed, kinds = setting.proxies[which], _signed_requests(setting, which), [*KINDS]
    for place in range(part, len(signed), PARTS):
        kind = KINDS[kinds[(place + 6 * which) % len(kinds)]]
        proxy.plan[signed[place]] = kind.fault
        code = setting.code(SIGNED, kind.patience)
        _finish(setting, digest, kind, code, proxy.seen[signed[place]])
        setting.forget()


def _signed_requests(setting: Setting, which: int) -> range:
    """Return the numbers of the requests to a registry that only a run that signs makes."""
    seen: list[str] = setting.proxies[which].seen
    marks: dict[str, int] = {}
    setting.release.publish(SIGNED, reached=lambda step: marks.update({step: len(seen)}))
    name = list(setting.release.hosts)[which]
    signed = range(marks[f"push {name}"], marks[f"sign {name}"])
    assert len(seen) == len(COURSE) + len(signed)
    assert len(signed) > 50
    setting.forget()
    return signed


def _finish(setting: Setting, digest: str, kind: Kind, code: int, asked: str) -> None:
    """See what became of a fault at one request, and publish again where that ended it."""
    assert code in {0, 5, 6, 8}
    # What may pass is survived at once; what may not ends the run, where something is sent.
    sends = asked.startswith(("PATCH ", "POST ", "PUT "))
    assert code == 0 or kind.refused, asked
    assert code != 0 or not (kind.refused and sends), asked
    if code:
        assert setting.release.tags == [{}, {}]
        for proxy in setting.proxies:
            proxy.forget()
        setting.release.publish(SIGNED)
    setting.finished(digest)


@pytest.mark.parametrize("moment", [IN_THE_BUILD, *STEPS])
def test_killed_after_any_step_it_is_finished_by_the_next_run(
    setting: Setting, digest: str, tmp_path: Path, moment: str
) -> None:
    built = moment not in UNBUILT
    if moment in {*UNBUILT, "build", "gates"}:
        shutil.rmtree(setting.release.root / "dist")
    kill(setting.release, moment, tmp_path)
    if moment == "begun":
        assert not (setting.release.root / "dist").exists()
    else:
        assert setting.release.receipt["digest"] == (digest if built else "")
    setting.check(digest)
    assert ("docker buildx build" in finish(setting, digest, UNSIGNED)) is not built
