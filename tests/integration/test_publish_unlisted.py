"""A release to a registry that lists no tags: only what moves needs them."""

from __future__ import annotations

import faults
import pytest
from faults import PINNED, RESUMED, TAGS, Setting
from registries import Fault
from releases import PATH

pytestmark = [pytest.mark.release, pytest.mark.unmeasured, pytest.mark.timeout(2400)]
setting, digest, _afresh = faults.setting, faults.digest, faults.afresh


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 501])
def test_the_version_is_given_and_what_moves_is_held_back(
    setting: Setting, digest: str, status: int
) -> None:
    setting.proxy.always["/tags/list"] = Fault(status=status)
    said = setting.release.publish(RESUMED)
    assert setting.release.tags == [dict.fromkeys(PINNED, digest), dict.fromkeys(TAGS, digest)]
    one, two = (setting.release.receipt["targets"][name] for name in ("one", "two"))
    moving = set(TAGS) - set(PINNED)
    assert {tag for tag, why in one["held_back"].items() if "does not list" in why} == moving
    assert not moving & set(two["held_back"])
    assert f"GET /v2/{PATH}/tags/list" in said
    assert "claim = false" in said
    # The next run moves them, where it is allowed by then.
    setting.proxy.always.clear()
    setting.release.publish(RESUMED)
    setting.finished(digest)


def test_who_may_not_write_is_told_that_alone(setting: Setting, digest: str) -> None:
    assert digest
    setting.proxy.always["/v2/"] = Fault(status=403)
    error = setting.raised()
    assert error.exit_code == 5
    assert "POST /v2/" in str(error)


def test_a_promotion_names_the_key_that_helps(setting: Setting, digest: str) -> None:
    setting.release.publish(RESUMED)
    setting.proxy.always["/tags/list"] = Fault(status=403)
    words = ("docker-promote", digest, "stable", "--unverified", "a test")
    done = setting.release.invoke(*words)
    assert done.returncode == 5
    assert "claim = false" in done.stderr
    assert f"GET /v2/{PATH}/tags/list: 403" in done.stderr
