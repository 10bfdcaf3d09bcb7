"""Publishing when any request to a registry may fail: faults.md, rows 41 to 45.

What is held after each is in tests/faults.py, which faults are tried where in tests/faultplan.py.
"""

from __future__ import annotations

import faults
import pytest
from faultplan import (
    BLOBS,
    COURSE,
    ENDED,
    IMPATIENT,
    REGISTRIES,
    SURVIVED,
    Cell,
    is_finished,
    is_unlisted,
    name_of,
)
from faults import PINNED, RESUMED, Setting, blobs_sent

pytestmark = [pytest.mark.release, pytest.mark.unmeasured, pytest.mark.timeout(2400)]
setting, digest, _afresh = faults.setting, faults.digest, faults.afresh


def test_a_publication_makes_the_requests_that_faults_are_planned_for(
    setting: Setting, digest: str
) -> None:
    setting.release.publish(RESUMED)
    for proxy in setting.proxies:
        assert tuple(map(name_of, proxy.seen)) == COURSE
    setting.finished(digest)


@pytest.mark.parametrize("cells", SURVIVED)
def test_faults_that_pass_are_survived_at_every_kind_of_request(
    setting: Setting, digest: str, cells: tuple[Cell, ...]
) -> None:
    for cell in cells:
        setting.proxies[cell.which].once.extend(cell.once())
    steps: list[str] = []

    def reached(step: str) -> None:
        steps.append(step)
        setting.check(digest)

    setting.release.publish(RESUMED, patience=IMPATIENT, reached=reached)
    assert steps[-1] == "ended"
    # A claim that could not be deleted is marked as released.
    setting.finished(digest, marked=True)
    for which, proxy in enumerate(setting.proxies):
        assert proxy.once == []
        names = [cell.chosen.request for cell in cells if cell.which == which]
        assert blobs_sent(proxy) <= BLOBS + names.count("PUT upload")


@pytest.mark.parametrize("cells", ENDED, ids=REGISTRIES)
def test_a_refusal_at_every_kind_of_request_ends_it_and_the_next_run_goes_on(
    setting: Setting, digest: str, cells: tuple[Cell, ...]
) -> None:
    proxy = setting.proxies[cells[0].which]
    for cell in cells:
        proxy.once.extend(cell.once())
        code = setting.code(RESUMED)
        assert proxy.once == [], cell
        assert code == (0 if is_finished(cell.chosen.number) else 5), cell
        setting.check(digest)
        # One blob is sent twice, because it was refused.
        assert blobs_sent(proxy) <= BLOBS + 1
        if is_unlisted(cell.chosen.number):
            assert setting.release.tags[cell.which] == dict.fromkeys(PINNED, digest)
        elif code == 0:
            setting.finished(digest, marked=True)
        if code == 0:
            setting.forget()
