"""What a registry, or somebody before it, answers that is nothing: never taken for something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import KNOWN, Fault, Proxy, fault_proxy, unknown

from buildlib.errors import (
    AuthorisationError,
    EngineError,
    GateError,
    InputError,
    TransientError,
)
from buildlib.registry.repository import INDEX, Document, Repository
from buildlib.registry.transfer import manifests_of, pulled
from buildlib.registry.transport import Transport
from buildlib.retry import Patience

QUICK = Patience(attempts=2, base=0.01, ceiling=0.05, timeout=5.0)
LIST = "GET /v2/team/thing/tags/list"


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    # Nothing is behind it: every answer is a test's.
    with fault_proxy(0) as found:
        yield found


def _repository(proxy: Proxy) -> Repository:
    return Repository(Transport(proxy.host, KNOWN, patience=QUICK), "team/thing")


def _found(body: object, **headers: str) -> Fault:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Fault(status=200, headers=headers, body=data)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>", id="a page"),
        pytest.param({"message": "maintenance"}, id="a message"),
        pytest.param({"tags": "latest"}, id="a word"),
        pytest.param({"tags": 5}, id="a number"),
        pytest.param({"tags": False}, id="a flag"),
        pytest.param({"tags": {"latest": "x"}}, id="an object"),
        pytest.param({"tags": [None, 1]}, id="a list of something else"),
        pytest.param(["latest"], id="a list alone"),
    ],
)
@pytest.mark.parametrize("page", ["first", "second"])
def test_what_lists_no_tags_is_not_taken_for_none(proxy: Proxy, page: str, body: object) -> None:
    if page == "second":
        onward = {"Link": '</v2/team/thing/tags/list?last=b>; rel="next"'}
        proxy.plan[0] = _found({"tags": ["b"]}, **onward)
    proxy.always[LIST] = _found(body)
    with pytest.raises(EngineError, match="lists its tags in an unknown form"):
        _repository(proxy).tags()


def test_a_list_that_leads_back_to_itself_has_an_end(proxy: Proxy) -> None:
    onward = {"Link": '</v2/team/thing/tags/list?last=b>; rel="next"'}
    proxy.always[LIST] = _found({"tags": ["b"]}, **onward)
    with pytest.raises(EngineError, match="leads back to itself"):
        _repository(proxy).tags()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_found({"tags": None}), id="nothing"),
        pytest.param(_found({"tags": []}), id="an empty list"),
        pytest.param(unknown("NAME_UNKNOWN"), id="no such repository"),
    ],
)
def test_a_repository_may_have_no_tags(proxy: Proxy, answer: Fault) -> None:
    proxy.always[LIST] = answer
    assert _repository(proxy).tags() == ()


def test_a_page_that_is_missing_is_not_the_end(proxy: Proxy) -> None:
    onward = {"Link": '</v2/team/thing/tags/list?last=b>; rel="next"'}
    proxy.plan[0] = _found({"tags": ["a", "b"]}, **onward)
    proxy.always[LIST] = unknown("NAME_UNKNOWN")
    with pytest.raises(EngineError, match="refuses GET"):
        _repository(proxy).tags()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>", id="a page"),
        pytest.param([], id="a list"),
        pytest.param({"manifests": ["x"]}, id="a word"),
        pytest.param({"manifests": [{}]}, id="nothing of it"),
    ],
)
def test_an_index_that_is_none_is_no_image(proxy: Proxy, body: object) -> None:
    proxy.always["GET .*/manifests/"] = _found(body, **{"Content-Type": INDEX})
    document = _repository(proxy).manifest("latest")
    assert document
    with pytest.raises(GateError, match="not an image of a known type"):
        manifests_of(document)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"<html>", "text/html", id="a page"),
        pytest.param({"schemaVersion": 1, "fsLayers": []}, "x/prettyjws", id="the first schema"),
    ],
)
def test_what_is_no_image_is_not_pulled(proxy: Proxy, body: object, kind: str) -> None:
    proxy.always["GET .*/manifests/"] = _found(body, **{"Content-Type": kind})
    repository = _repository(proxy)
    with (
        pytest.raises(GateError, match=f"the registry calls it {kind}"),
        pulled(repository, repository.digest("latest")),
    ):
        pass


def test_a_token_service_that_is_nowhere_is_told_without_its_address(proxy: Proxy) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="http://[::1/plant",service="x"'}
    proxy.always[LIST] = Fault(status=401, headers=challenge)
    with pytest.raises(EngineError, match="an invalid address") as caught:
        _repository(proxy).tags()
    assert "plant" not in str(caught.value)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("plant\n", id="a line"),
        pytest.param("plant\u20ac", id="what no header takes"),
        pytest.param("plant plant", id="two words"),
        pytest.param(["plant"], id="a list"),
        pytest.param(5, id="a number"),
    ],
)
def test_what_can_be_no_token_is_none_and_told_nowhere(proxy: Proxy, token: object) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{proxy.host}/token",service="x"'}
    proxy.always["GET /token"] = _found({"token": token})
    proxy.always[LIST] = Fault(status=401, headers=challenge)
    with pytest.raises(AuthorisationError, match="refuses the credentials") as caught:
        _repository(proxy).tags()
    assert "plant" not in str(caught.value)
    assert len(proxy.seen) == 2


def test_a_wait_that_is_no_number_is_none(proxy: Proxy) -> None:
    proxy.always[LIST] = Fault(status=503, headers={"Retry-After": "²"})
    with pytest.raises(TransientError, match="in 2 attempts"):
        _repository(proxy).tags()


@pytest.mark.parametrize("code", ["BLOB_UNKNOWN", "NAME_UNKNOWN"])
def test_a_blob_that_is_missing_is_told(proxy: Proxy, code: str) -> None:
    proxy.always["GET .*/blobs/"] = unknown(code)
    with pytest.raises(GateError, match="no whole blob"):
        _repository(proxy).blob("sha256:" + "1" * 64)


def test_a_disk_that_is_full_is_not_the_registrys_fault(proxy: Proxy) -> None:
    data = bytes(1 << 20)
    proxy.always["GET .*/blobs/"] = _found(data)
    repository = _repository(proxy)
    with pytest.raises(InputError, match="can't write /dev/full"):
        repository.save_blob(Document(data, "").digest, len(data), Path("/dev/full"))
    assert len(proxy.seen) == 1
