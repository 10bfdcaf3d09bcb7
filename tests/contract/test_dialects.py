"""Whatever docker gets through, we get through; the integration test of this name asks docker."""

from __future__ import annotations

from pathlib import Path

import pytest
from dialects import DIALECTS, Dialect, Reply, get_through, speaking
from hostile import PATH, hostile_registry

from buildlib.errors import BuildlibError

pytestmark = pytest.mark.unmeasured


@pytest.mark.parametrize("dialect", [pytest.param(one, id=one.name) for one in DIALECTS])
def test_what_docker_gets_through_is_got_through(dialect: Dialect, tmp_path: Path) -> None:
    with hostile_registry() as state, speaking(int(state.host.rpartition(":")[2])) as speaker:
        state.tags["there"] = state.new
        get_through(speaker, dialect, PATH, tmp_path)
        assert speaker.met()
        assert ("given" in state.tags) is (dialect.what == "push")


def test_no_two_of_them_are_one() -> None:
    assert len({one.name for one in DIALECTS}) == len(DIALECTS)


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"errors": [{"code": "X"}]}'])
@pytest.mark.parametrize("what", ["sha256:", "given"])
def test_a_manifest_that_is_not_given_back_is_no_other_publishers(
    tmp_path: Path, body: bytes, what: str
) -> None:
    dialect = Dialect("gone", "push", f"GET .*/manifests/{what}", lambda _: Reply(404, [], body))
    with hostile_registry() as state, speaking(int(state.host.rpartition(":")[2])) as speaker:
        before = dict(state.tags)
        with pytest.raises(BuildlibError) as caught:
            get_through(speaker, dialect, PATH, tmp_path)
        assert state.tags == before
    said = str(caught.value)
    assert f"GET /v2/{PATH}/manifests/{what}" in said
    assert "somebody else" not in said
    # Of a tag that may be there, nobody knows.
    assert ("gives nothing under sha256:" in said) is (what == "sha256:")


REQUESTS = {
    "push": {
        "HEAD .*/blobs/": "HEAD /v2/",
        "POST .*/uploads/": "POST /v2/",
        "PUT .*/uploads/": "PUT /v2/",
        "PUT .*/manifests/sha256:": "PUT /v2/",
        "GET .*/manifests/given": "GET /v2/",
        "PUT .*/manifests/given": "PUT /v2/",
    },
    "pull": {
        "GET .*/manifests/there": "GET /v2/",
        "GET .*/manifests/sha256:": "GET /v2/",
        "GET .*/blobs/": "GET /v2/",
    },
}
# By what has to be in the message where the registry answers so.
REFUSED = {
    status: str(status) for status in (301, 400, 401, 403, 405, 409, 410, 413, 416, 422, 451, 501)
} | {status: str(status) for status in (404, 429, 500, 502, 503, 504)}


@pytest.mark.parametrize("status", REFUSED)
@pytest.mark.parametrize(
    ("what", "request_", "named"),
    [
        pytest.param(what, request_, named, id=f"{what} {request_}")
        for what, requests in REQUESTS.items()
        for request_, named in requests.items()
    ],
)
def test_what_stops_us_is_told_with_the_request_and_the_answer(
    tmp_path: Path, what: str, request_: str, named: str, status: int
) -> None:
    dialect = Dialect("refused", what, request_, lambda _: Reply(status, []))
    with hostile_registry() as state, speaking(int(state.host.rpartition(":")[2])) as speaker:
        state.tags["there"] = state.new
        if (request_, status) == ("HEAD .*/blobs/", 404):
            # That is what it is asked for.
            get_through(speaker, dialect, PATH, tmp_path)
            return
        with pytest.raises(BuildlibError) as caught:
            get_through(speaker, dialect, PATH, tmp_path)
    said = str(caught.value)
    assert f"{named}{PATH}/" in said
    assert REFUSED[status] in said
    assert caught.value.hint
