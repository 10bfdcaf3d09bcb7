"""Publishing when any request to a registry may fail: faults.md, rows 41 to 45.

What is held after each is in tests/faults.py.
"""

from __future__ import annotations

import faults
import pytest
from faults import KINDS, RESUMED, Setting
from releases import Release

from buildlib.errors import BuildlibError
from buildlib.registry.transport import Patience

pytestmark = [pytest.mark.release, pytest.mark.timeout(2400)]
setting, digest, _afresh = faults.setting, faults.digest, faults.afresh


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("name", KINDS)
def test_a_fault_at_any_request_publishes_nothing_wrong(
    setting: Setting, digest: str, request: pytest.FixtureRequest, name: str, which: int
) -> None:
    release, proxy, kind = setting.release, setting.proxies[which], KINDS[name]
    release.publish(RESUMED)
    total = len(proxy.seen)
    setting.forget()
    assert total > 30
    everywhere = request.config.getoption("--every-request")
    step = 1 if everywhere else kind.step * (1 + 2 * which)
    for number in range(list(KINDS).index(name) % step, total, step):
        proxy.plan[number] = kind.fault
        broken = _breaks(release, kind.patience)
        line, before = proxy.seen[number], proxy.seen[:number]
        # A claim that can't be deleted is marked as released, and an upload ends by itself: the
        # publication is finished.
        courtesy = line.startswith("DELETE ")
        marked = courtesy and "/manifests/" in line
        # Where no tags are listed, those that move are held back.
        unlisted = kind.refused and all("/tags/" in one for one in (line, *before))
        # What may pass is survived at once; what may not ends the run.
        assert broken == (kind.refused and not (courtesy or unlisted)), line
        setting.check(digest)
        arrived = [one for one in proxy.seen if "digest=" in one]
        if unlisted:
            assert release.tags[which] == dict.fromkeys(faults.PINNED, digest)
        if broken or unlisted:
            proxy.plan.clear()
            proxy.seen.clear()
            release.publish(RESUMED)
            arrived += [one for one in proxy.seen if "digest=" in one]
        setting.finished(digest, marked=marked)
        # Three blobs, and two of a claim; one more upload for the one that broke off, and no other
        # twice.
        assert len(arrived) <= 6, number
        setting.forget()


def _breaks(release: Release, patience: Patience) -> bool:
    try:
        release.publish(RESUMED, patience=patience)
    except BuildlibError:
        return True
    return False
