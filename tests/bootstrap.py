"""The bootstrap's functions, read into a shell alone, with stubs in the place of what they call."""

from __future__ import annotations

import os
import shlex
import subprocess

from conftest import ROOT

SCRIPT = ROOT / "scripts" / "bootstrap.sh"


def define(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a shell that has read the script, which then only defines its functions."""
    return subprocess.run(
        ["bash", "-c", f"source {shlex.quote(str(SCRIPT))}; {code}"],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
