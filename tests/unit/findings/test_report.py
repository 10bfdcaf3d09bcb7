"""How a report is shown, whatever it is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from buildlib.findings.report import Report, show, warn

from fakes import a_console


class Weather(Report):
    """A report with a warning."""

    def as_text(self) -> str:
        return "it rains"

    def as_dict(self) -> dict[str, Any]:
        return {"rain": True}

    def warnings(self) -> Sequence[str]:
        return ("take an umbrella",)


def test_a_report_is_text_or_json_on_stdout_and_its_warnings_are_on_stderr() -> None:
    for as_json in (False, True):
        console, out, err = a_console()
        show(Weather(), console, as_json=as_json)
        printed = out.getvalue()
        assert (json.loads(printed) == {"rain": True}) if as_json else (printed == "it rains\n")
        assert "warning: take an umbrella" in err.getvalue()


def test_the_warnings_alone() -> None:
    console, out, err = a_console()
    warn(Weather(), console)
    assert (out.getvalue(), err.getvalue()) == ("", "warning: take an umbrella\n")
    assert Weather().problems() == ()
