"""What scripts/terminal_svg.py draws, and what of a recorded run differs from run to run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

_PATH = Path(__file__).parent.parent / "scripts" / "terminal_svg.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("terminal_svg", _PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()


def comparable(text: str) -> list[str]:
    """Return the lines of a recorded run without what differs from run to run.

    Steps run side by side, so lines are sorted. A step that another build has at the same moment is
    listed under the name that it has there as well. Placeholder base images are used only if no
    registry is reachable.
    """
    lines = [line for line in text.splitlines() if "placeholder" not in line]
    text = "\n".join(sorted(lines, key=lambda line: line.partition("[")[2]))
    for volatile in (
        r"(?m)^ +(?:cached|[\d.]+ s)(?= \[)",
        r"\bsha256:[0-9a-f]{64}\b",
        r"(?m)(?<=^HEAD is )[0-9a-f]+",
        r"(?m)(?<=^platforms     )\S+$",
        r"(?m)(?<=^size          )\S+ \S+(?= )",
        r"(?m)(?<=^seconds       )\S+$",
        r"(?m)(?<=^cached steps  )\d+ of \d+$",
    ):
        text = re.sub(volatile, "…", text)
    return sorted(set(re.sub(r"(?m)(?<=^… \[)linux/\S+ ", "", text).splitlines()))
