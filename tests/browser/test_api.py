"""The API that the program describes is valid OpenAPI, and what it answers is as described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from pages import Service, running

pytestmark = pytest.mark.browser
SOCKET = Path("/var/run/docker.sock")


def _ask(address: str, method: str = "GET", body: object = None) -> Any:
    data = json.dumps(body).encode() if body else None
    request = Request(address, data, {"Content-Type": "application/json"}, method=method)
    with urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


@pytest.fixture
def described(service: Service) -> dict[str, Any]:
    """Return what the program says of its API."""
    found = _ask(f"{service.address}/api/openapi.json")
    assert isinstance(found, dict)
    return found


def test_the_description_is_valid(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(described).iter_errors()) == []


def _check(described: dict[str, Any], route: str, method: str, status: str, answer: object) -> None:
    """Check an answer against its schema, in which every property that is there is described."""
    content = described["paths"][route][method]["responses"][status]["content"]
    schema = {**content["application/json"]["schema"], "components": described["components"]}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    assert [error.message for error in validator.iter_errors(answer)] == []


def test_answers_are_as_described(service: Service, described: dict[str, Any]) -> None:
    api = f"{service.address}/api"
    _check(described, "/api/health", "get", "200", _ask(f"{api}/health"))
    images = _ask(f"{api}/images")
    _check(described, "/api/images", "get", "200", images)
    for image in images["images"]:
        made = _ask(f"{api}/reports", "POST", {"image": (image["tags"] or [image["id"]])[0]})
        _check(described, "/api/reports", "post", "201", made)
        _check(described, "/api/reports/{id}", "get", "200", _ask(f"{api}/reports/{made['id']}"))
    _check(described, "/api/reports", "get", "200", _ask(f"{api}/reports"))


def test_of_the_real_engine_as_well(described: dict[str, Any], tmp_path: Path) -> None:
    """The session has built the program, so the engine has at least what that took."""
    with running(tmp_path, SOCKET) as address:
        images = _ask(f"{address}/api/images")
        _check(described, "/api/images", "get", "200", images)
        for image in images["images"][:1]:
            made = _ask(f"{address}/api/reports", "POST", {"image": image["id"]})
            _check(described, "/api/reports", "post", "201", made)
            shown = urlopen(f"{address}/?q={quote(image['id'])}", timeout=60).read().decode()
            assert image["id"].removeprefix("sha256:")[:12] in shown
