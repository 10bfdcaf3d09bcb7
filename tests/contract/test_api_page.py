"""docs/api.md lists every request of the API that the program describes, and no other."""

from __future__ import annotations

import json
import re

from conftest import ROOT


def test_the_page_lists_every_request() -> None:
    described = json.loads((ROOT / "app/internal/web/pages/openapi.json").read_text("utf-8"))
    wanted = {
        f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item
    }
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Z]+ /\S+)` \|", text, re.MULTILINE)) == wanted
