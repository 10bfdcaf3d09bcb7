"""How what a registry answers is read, whatever it answers."""

from __future__ import annotations

import json
from http.client import RemoteDisconnected

import pytest
from urllib3.exceptions import HTTPError, ProxyError

from buildlib.errors import GateError
from buildlib.registry.repository import INDEX, MANIFEST, Document
from buildlib.registry.response import Response, clean, on_one_line, read_object, reason_of


def _answer(body: object = "", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(200, named, json.dumps(body).encode())


REFUSED = "_Encrypted(host='h', port=1): Failed to connect: [Errno 111] Connection refused"
REASONS = {
    "a connection": (HTTPError(REFUSED), "h:1: Failed to connect: [Errno 111] Connection refused"),
    "a proxy": (
        ProxyError("Unable to connect to proxy", HTTPError(REFUSED)),
        "Unable to connect to proxy: h:1: Failed to connect: [Errno 111] Connection refused",
    ),
    "one that breaks": (
        HTTPError("Connection aborted.", RemoteDisconnected("Remote end closed it")),
        "Connection aborted: Remote end closed it",
    ),
    "the system's": (OSError(104, "reset by peer"), "[Errno 104] reset by peer"),
    "one without words": (TimeoutError(), "TimeoutError"),
}  # fmt: skip


@pytest.mark.parametrize(("error", "reason"), REASONS.values(), ids=REASONS)
def test_why_there_is_no_answer(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("Thu, 01 Jan 1970 00:01:40 GMT", 90.0, id="a time"),
        pytest.param("Thu, 01 Jan 1970 00:00:01 GMT", 0.0, id="a time that is over"),
        pytest.param("", 0.0, id="nothing"),
        pytest.param("soon", 0.0, id="a word"),
        pytest.param("²", 0.0, id="a digit that is no number"),
        pytest.param("٣", 0.0, id="a digit of another script"),
        pytest.param("-5", 0.0, id="less than nothing"),
        pytest.param(
            "Thu, 01 Jan 1970 00:01:40 -99999999999999999999", 0.0, id="a place that is nowhere"
        ),
    ],
)
def test_how_long_to_wait(said: str, seconds: float) -> None:
    assert _answer(retry_after=said).asked_wait(10.0) == seconds


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("MANIFEST_UNKNOWN", "manifest unknown", id="distribution 2.8 and 3"),
        pytest.param(
            "NAME_UNKNOWN", "repository name not known to registry", id="its lists, zot's"
        ),
        pytest.param("MANIFEST_UNKNOWN", "Requested image not found", id="ECR"),
        pytest.param("NAME_UNKNOWN", 'Repository "x" not found', id="Artifact Registry"),
        pytest.param("NOT_FOUND", "artifact team/thing:v2 not found", id="Harbor 2"),
        pytest.param("TAG_EXPIRED", "Tag x was deleted or has expired", id="Quay"),
        pytest.param("UNKNOWN", "Not Found", id="Red Hat"),
    ],
)
def test_what_registries_say_of_what_they_do_not_have(code: str, message: str) -> None:
    data = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
    assert Response(404, {}, data).is_unknown
    assert not Response(200, {}, data).is_unknown
    assert not Response(400, {}, data).is_unknown


@pytest.mark.parametrize(
    "body",
    [
        "",
        {},
        {"errors": []},
        {"errors": {}},
        {"errors": ["NOT_FOUND"]},
        {"errors": [{"status": 404, "message": "Not Found"}]},
        {"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]},
        {"errors": [{"code": [], "message": "not found"}]},
        {"errors": [{"code": "UNKNOWN", "message": ["not found"]}]},
        {"error": "NOT_FOUND"},
        {"message": "page not found"},
    ],
)
def test_a_404_that_may_be_of_somebody_else(body: object) -> None:
    assert not Response(404, {}, json.dumps(body).encode()).is_unknown


@pytest.mark.parametrize(
    ("body", "token"),
    [
        pytest.param({"token": "abc-._~+/="}, "abc-._~+/=", id="a token"),
        pytest.param({"access_token": "abc"}, "abc", id="by its other name"),
        pytest.param({"token": "", "access_token": "abc"}, "abc", id="by both names"),
        pytest.param({"token": "abc\n"}, "", id="a line"),
        pytest.param({"token": "a b"}, "", id="two words"),
        pytest.param({"token": "t\u20acken"}, "", id="what no header takes"),
        pytest.param({"token": ["x"]}, "", id="a list"),
        pytest.param({"token": 5}, "", id="a number"),
        pytest.param({}, "", id="nothing"),
        pytest.param(["abc"], "", id="no object"),
    ],
)
def test_a_token_is_what_a_header_takes(body: object, token: str) -> None:
    assert _answer(body).token == token


def test_what_is_no_object_is_none() -> None:
    for data in (b"", b"<html>", b"[]", b"5", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            read_object(data)
    assert read_object(b'{"a": 1}') == {"a": 1}


def test_words_are_told_without_what_they_open() -> None:
    text = "no abc-longer, abc\nor https://me:plant@r/x?y=plant\tand \x1b[1m"
    assert clean(text, ["abc", "abc-longer", ""]) == (
        "no ***, ***\nor https://***@r/x?*** and  [1m"
    )
    assert on_one_line("a\nb " + "c" * 400) == "a b " + "c" * 296


WRONG_INDEXES = [
    pytest.param(b"<html>captive portal", id="a page"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'{"manifests": 5}', id="a number"),
    pytest.param(b'{"manifests": ["x"]}', id="a word"),
    pytest.param(b'{"manifests": [{}]}', id="nothing of it"),
    pytest.param(b'{"manifests": [{"digest": 5}]}', id="a digest that is none"),
    pytest.param(
        b'{"manifests": [{"digest": "sha256:x", "platform": "linux"}]}', id="half a platform"
    ),
]


@pytest.mark.parametrize("data", WRONG_INDEXES)
def test_an_index_that_is_none_is_told_by_its_type(data: bytes) -> None:
    with pytest.raises(GateError, match="is not an image of a known type") as caught:
        Document(data, INDEX).manifests()
    assert caught.value.why.endswith(INDEX)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<html>captive portal", id="a page"),
        pytest.param(b'{"schemaVersion": 1, "fsLayers": []}', id="one of the first schema"),
        pytest.param(b'{"config": {}, "layers": []}', id="nothing of its configuration"),
        pytest.param(b'{"config": {"digest": "sha256:x"}, "layers": 5}', id="a number"),
        pytest.param(
            b'{"config": {"digest": "sha256:x"}, "layers": [{}]}', id="nothing of a layer"
        ),
    ],
)
def test_a_manifest_that_is_none_is_told(data: bytes) -> None:
    with pytest.raises(GateError, match="is not an image of a known type"):
        Document(data, MANIFEST).blobs()


def test_a_manifest_needs_no_layers() -> None:
    data = b'{"config": {"digest": "sha256:x"}}'
    assert [one["digest"] for one in Document(data, MANIFEST).blobs()] == ["sha256:x"]
