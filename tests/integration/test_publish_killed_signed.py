"""A signed publication, with all that BuildKit says of the build, is killed after each step."""

from __future__ import annotations

import shutil
from pathlib import Path

import faults
import pytest
from faults import SIGNED, Setting
from killing import SIGNED_STEPS, finish, kill

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(7200),
    pytest.mark.usefixtures("quick_cosign"),
]
setting, digest, _afresh = faults.setting, faults.digest, faults.afresh
quick_cosign = faults.quick_cosign


@pytest.mark.parametrize("moment", SIGNED_STEPS)
def test_killed_after_any_step_of_signing_it_is_finished_by_the_next_run(
    setting: Setting, digest: str, tmp_path: Path, moment: str
) -> None:
    if moment in SIGNED_STEPS[: SIGNED_STEPS.index("push one")]:
        shutil.rmtree(setting.release.root / "dist")
    kill(setting.release, moment, tmp_path, SIGNED)
    setting.check(digest)
    finish(setting, digest, SIGNED)
