"""A registry that does its worst is given up in time, in words, and with no tag given.

Each behaviour is one row. What a release does is: it lists the tags, moves `latest` where no higher
version is there, and gives its version where that is not there yet. The registry holds both, so
whatever it answers instead, nothing may change.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT
from hostile import LAYER, PATH, TAGS, VERSION, Hostile, Wire, hostile_registry, unknown
from ociwriter import OciWriter
from registries import KNOWN

from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    EngineError,
    GateError,
    InputError,
    TransientError,
)
from buildlib.image.archive import open_archive
from buildlib.registry.limits import KIB, Limits
from buildlib.registry.repository import INDEX, MANIFEST, Document, Repository
from buildlib.registry.tags import put_tag
from buildlib.registry.transfer import pulled, push_archive
from buildlib.registry.transport import Transport
from buildlib.retry import Patience

# Enough for a loaded machine, where an answer ends by itself.
CALM = Patience(attempts=2, base=0.01, ceiling=0.02, timeout=20.0)
SMALL = Limits(
    seconds=20.0, document=256 * KIB, token=16 * KIB, headers=16 * KIB, pages=20, tags=500, parts=50
)
# Where time is what ends it.
QUICK = Patience(attempts=2, base=0.01, ceiling=0.02, timeout=0.3)
BRIEF = Limits(seconds=0.5, rate=4 << 20, document=64 * KIB, headers=16 * KIB)
# What any of them may take on a machine that does something else as well.
LONGEST = 60.0
TESTS = ROOT / "tests"
BLOBS = f"GET /v2/{PATH}/blobs/{Document(LAYER, '').digest}"
UPLOAD = "PUT .*digest="
TOKEN = "GET /token"
CHALLENGE = 'WWW-Authenticate: Bearer realm="http://{host}/token",service="x"'


def _release(state: Hostile, repository: Repository, _: Path) -> None:
    if "1.4.0" not in repository.tags():
        put_tag(repository, state.new, "latest", immutable=False)
    put_tag(repository, state.new, "1.2.3", immutable=True)


def _push(_: Hostile, repository: Repository, folder: Path) -> None:
    writer = OciWriter()
    image = writer.image(
        [writer.layer({"a": bytes(8 << 20)}, "application/vnd.oci.image.layer.v1.tar")]
    )
    with open_archive(writer.write(folder / "image.tar", image)) as archive:
        push_archive(archive, repository)


def _pull(state: Hostile, repository: Repository, _: Path) -> None:
    with pulled(repository, state.new) as archive:
        archive.images()


# What stays: the version is another image.
HELD: tuple[type[BuildlibError], str] = (GateError, "already exists with a different digest")


@dataclass(frozen=True)
class Row:
    """A behaviour.

    Args:
        name: of it.
        request: what it answers, as a pattern for "METHOD path".
        behaviour: sends bytes.
        kind, words: of the error that it ends with.
        act: what is done.
        slow: time is what ends it.
    """

    name: str
    request: str
    behaviour: Callable[[Wire], object]
    kind: type[BuildlibError] = EngineError
    words: str = ""
    act: Callable[[Hostile, Repository, Path], None] = _release
    slow: bool = False


def _tags(*tags: object) -> bytes:
    return json.dumps({"tags": tags}).encode()


def _page(link: str, *tags: object, name: str = "Link") -> Callable[[Wire], object]:
    """Answer the first request with a page that goes on, and the next one with the last page."""

    def behave(wire: Wire) -> object:
        if "page=2" in wire.path:
            return wire.answer(200, _tags("1.4.0"))
        return wire.answer(200, _tags(*(tags or ("1.2.3",))), *f"{name}: {link}".split("\n"))

    return behave


def _body(body: bytes, *headers: str, status: int = 200) -> Callable[[Wire], object]:
    return lambda wire: wire.answer(status, body, *headers)


def _head(
    *headers: str, then: Callable[[Wire], object] | None = None, status: int = 200
) -> Callable[[Wire], object]:
    """Send headers, and then what is given."""

    def behave(wire: Wire) -> None:
        wire.head(*headers, status=status)
        if then:
            then(wire)

    return behave


def _raw(*parts: bytes) -> Callable[[Wire], object]:
    return lambda wire: wire.send(b"".join(parts))


def _pour(data: bytes) -> Callable[[Wire], object]:
    return lambda wire: wire.pour(data)


def _drip(data: bytes) -> Callable[[Wire], object]:
    return lambda wire: wire.drip(data)


def _starts(data: bytes, then: Callable[[Wire], object]) -> Callable[[Wire], object]:
    def behave(wire: Wire) -> None:
        wire.send(data)
        then(wire)

    return behave


def _challenge(text: str) -> Callable[[Wire], object]:
    return lambda wire: wire.answer(401, b"", text.replace("{host}", wire.host))


def _location(address: str, status: int = 202) -> Callable[[Wire], object]:
    """Lead elsewhere; `{port}` is the registry's own."""

    def behave(wire: Wire) -> object:
        port = wire.host.rpartition(":")[2]
        return wire.answer(status, b"", f"Location: {address.replace('{port}', port)}")

    return behave


def _onward(wire: Wire) -> object:
    number = int(wire.path.rpartition("last=")[2] or 0) if "last=" in wire.path else 0
    return wire.answer(
        200, _tags(f"a{number}"), f'Link: <{TAGS[4:]}?last={number + 1}>; rel="next"'
    )


def _onward_empty(wire: Wire) -> object:
    number = int(wire.path.rpartition("last=")[2]) if "last=" in wire.path else 0
    return wire.answer(200, _tags(), f'Link: <{TAGS[4:]}?last={number + 1}>; rel="next"')


def _redirect_on(wire: Wire) -> object:
    return wire.answer(307, b"", f"Location: {wire.path}x")


def _two_answers(wire: Wire) -> object:
    body = unknown("MANIFEST_UNKNOWN")
    second = b"HTTP/1.1 404 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    wire.send(
        b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(_tags("1.4.0")), _tags("1.4.0"))
        + second * 3
    )
    return True


def _early_hints(wire: Wire) -> object:
    wire.send(b"HTTP/1.1 103 X\r\nLink: </a.css>; rel=preload\r\n\r\n")
    return wire.answer(200, _tags("1.4.0"))


def _pull_of(**found: object) -> Callable[[Hostile, Repository, Path], None]:
    """Pull what the registry holds under the digest of just this."""

    def act(state: Hostile, repository: Repository, folder: Path) -> None:
        kind = MANIFEST if "config" in found else INDEX
        document = Document(json.dumps(found).encode(), kind)
        state.documents[document.digest] = document
        state.new = document.digest
        _pull(state, repository, folder)

    return act


def _push_of(**changes: object) -> Callable[[Hostile, Repository, Path], None]:
    """Push an image whose layer has a descriptor with these changes."""

    def act(_: Hostile, repository: Repository, folder: Path) -> None:
        writer = OciWriter()
        layer = {**writer.blob(SMUGGLED), **changes}
        with open_archive(writer.write(folder / "image.tar", writer.image([layer]))) as archive:
            push_archive(archive, repository)

    return act


NONE = "$^"
DIGEST = "sha256:" + "0" * 64
# A request of its own, behind as many bytes as the descriptor says.
SMUGGLED = bytes(100) + f"PUT /v2/{PATH}/manifests/smuggled HTTP/1.1\r\n\r\n".encode()
NEXT = f"<{TAGS[4:]}?page=2>"
GZIP = gzip.compress(bytes(20 << 20), 9)
HTML = b"<html>404 not found</html>"
ROWS = [
    # --- lists that go on
    Row("pages without end", TAGS, _onward, words="does not end"),
    Row("empty pages without end", TAGS, _onward_empty, words="does not end"),
    Row(
        "a page that leads to itself",
        TAGS,
        _body(_tags("a"), f'Link: <{TAGS[4:]}>; rel="next"'),
        words="leads back",
    ),
    Row(
        "too many tags",
        TAGS,
        _page(f"{NEXT}; rel=next", *(f"a{n}" for n in range(600))),
        words="more than 500 tags",
    ),
    Row(
        "a link beside the next page",
        TAGS,
        _page(f"</x.css>; rel=preload\nLink: {NEXT}; rel=next"),
        *HELD,
    ),
    Row(
        "a link after the next page",
        TAGS,
        _page(f"{NEXT}; rel=next\nLink: </x.css>; rel=preload"),
        *HELD,
    ),
    Row(
        "a relation that is not the first parameter",
        TAGS,
        _page(f'{NEXT}; title="a, b"; rel="next"'),
        *HELD,
    ),
    Row("a relation in capitals", TAGS, _page(f'{NEXT}; REL="NEXT"', name="LINK"), *HELD),
    Row("a relation in single quotes", TAGS, _page(f"{NEXT}; rel='next'"), *HELD),
    Row("several relations", TAGS, _page(f'{NEXT}; rel="last next"'), *HELD),
    Row("a link on two lines", TAGS, _page(f"{NEXT};\n   rel=next"), *HELD),
    Row("a link that does not end", TAGS, _page(f'{NEXT}; rel="next'), words="does not say where"),
    Row(
        "two next pages",
        TAGS,
        _page(f"{NEXT}; rel=next, </other>; rel=next"),
        words="does not say where",
    ),
    Row(
        "a next page behind a backslash",
        TAGS,
        _page("</\\evil.example/x>; rel=next"),
        words="invalid address",
    ),
    Row(
        "a next page with a user",
        TAGS,
        _page("<http://a@127.0.0.1/x>; rel=next"),
        words="invalid address",
    ),
    Row(
        "a next page that is a file",
        TAGS,
        _page("<file:///etc/passwd>; rel=next"),
        words="invalid address",
    ),
    Row(
        "a next page that is missing",
        TAGS,
        lambda w: (
            _page(f"{NEXT}; rel=next")(w)
            if "page=2" not in w.path
            else w.answer(404, unknown("NAME_UNKNOWN"))
        ),
        words="refuses GET",
    ),
    Row(
        "a next page that is a page",
        TAGS,
        lambda w: _page(f"{NEXT}; rel=next")(w) if "page=2" not in w.path else w.answer(200, HTML),
        words="an unknown form",
    ),
    Row(
        "a header that is none before the next page",
        TAGS,
        _raw(
            b"HTTP/1.1 200 X\r\nContent-Length: 11\r\nno header\r\nLink: ",
            NEXT.encode(),
            b'; rel=next\r\n\r\n{"tags": []}',
        ),
        TransientError,
    ),
    # --- lists that are none
    Row("a tag that is a path", TAGS, _body(_tags("../../other")), words="an unknown form"),
    Row(
        "a tag that moves the cursor",
        TAGS,
        _body(_tags("a\x1b[2J\n::error::")),
        words="an unknown form",
    ),
    Row("a tag of 200 letters", TAGS, _body(_tags("a" * 200)), words="an unknown form"),
    Row("a tag that is a number", TAGS, _body(_tags(1)), words="an unknown form"),
    Row(
        "a list as deep as it goes",
        TAGS,
        _body(b'{"tags":' + b"[" * 60_000),
        words="an unknown form",
    ),
    Row(
        "a number as long as it goes",
        TAGS,
        _body(b'{"tags": ' + b"9" * 60_000 + b"}"),
        words="an unknown form",
    ),
    Row("bytes that are no text", TAGS, _body(b'{"tags": ["\xff\xfe"]}'), words="an unknown form"),
    Row("half a surrogate", TAGS, _body(b'{"tags": ["\\ud800"]}'), words="an unknown form"),
    Row("nothing", TAGS, _body(b""), words="an unknown form"),
    Row(
        "half a list, and the end of the connection",
        TAGS,
        _head("Connection: close", then=_raw(b'{"tags": ["1.2.3", "1.')),
    ),
    # --- who says that it is not there
    Row(
        "a 404 of a proxy for the list",
        TAGS,
        _body(HTML, status=404),
        words="not in the form of a registry",
    ),
    Row(
        "a 404 in text for the list",
        TAGS,
        _body(b"404 page not found\n", status=404),
        words="not in the form of a registry",
    ),
    Row(
        "a 404 of nothing for the list",
        TAGS,
        _body(b"", status=404),
        words="not in the form of a registry",
    ),
    Row(
        "a 404 of a proxy for the version",
        VERSION,
        _body(HTML, status=404),
        words=f"answers GET {VERSION[4:]} with a 404",
    ),
    Row(
        "a 404 of an interface for the version",
        VERSION,
        _body(b'{"error": {"code": "NOT_FOUND"}}', status=404),
        words="not in the form of a registry",
    ),
    Row(
        "a 404 with errors of another kind",
        VERSION,
        _body(b'{"errors": [{"status": 404}]}', status=404),
        words="not in the form of a registry",
    ),
    Row(
        "a 404 that means something else",
        VERSION,
        _body(unknown("DENIED"), status=404),
        words="not in the form of a registry",
    ),
    Row(
        "a 404 that is packed",
        VERSION,
        _body(gzip.compress(unknown("MANIFEST_UNKNOWN")), "Content-Encoding: gzip", status=404),
        words="not in the form of a registry",
    ),
    Row("a 410 for the version", VERSION, _body(b"", status=410), words="refuses GET"),
    # --- bodies
    Row(
        "a body without end",
        VERSION,
        _head(then=_pour(bytes(65536))),
        words="more than 262144 bytes",
    ),
    Row(
        "a body of 8 GB",
        VERSION,
        _head("Content-Length: 8589934592", then=_pour(bytes(65536))),
        words="more than 262144 bytes",
    ),
    Row(
        "chunks without end",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_pour(b"4000\r\n" + bytes(16384) + b"\r\n")),
        words="more than",
    ),
    Row(
        "chunks of one byte without end",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_pour(b"1\r\na\r\n" * 1000)),
        words="more than",
    ),
    Row(
        "a chunk of 4 EB",
        VERSION,
        _head(
            "Transfer-Encoding: chunked", then=_starts(b"3fffffffffffffff\r\n", _pour(bytes(65536)))
        ),
        words="more than",
    ),
    Row(
        "a chunk of a negative size",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_starts(b"-1\r\n", _pour(bytes(65536)))),
        TransientError,
    ),
    Row(
        "a chunk of a more negative size",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_raw(b"-ffff\r\nabc\r\n")),
        TransientError,
    ),
    Row(
        "a chunk's size without end",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_pour(b"0" * 65536)),
        TransientError,
    ),
    Row(
        "a chunk's extension without end",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_starts(b"1;a=", _pour(b"b" * 65536))),
        TransientError,
    ),
    Row(
        "a chunk's size that is no number",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_raw(b"size\r\nabc\r\n")),
        TransientError,
    ),
    Row(
        "chunks that break off",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_raw(b"5\r\nabc")),
        TransientError,
    ),
    Row(
        "trailers without end",
        VERSION,
        _head(
            "Transfer-Encoding: chunked",
            then=_starts(b"1\r\na\r\n0\r\n", _pour(b"X-A: b\r\n" * 1000)),
        ),
        words="more than",
    ),
    Row(
        "a body that expands", VERSION, _body(GZIP, "Content-Encoding: gzip"), words="not asked for"
    ),
    Row(
        "a body that expands, as deflate",
        VERSION,
        _body(zlib.compress(bytes(20 << 20)), "content-encoding: DEFLATE"),
        words="not asked for",
    ),
    Row(
        "a body that expands twice",
        VERSION,
        _body(gzip.compress(GZIP), "Content-Encoding: gzip, gzip"),
        words="not asked for",
    ),
    Row(
        "a small body that is packed",
        TAGS,
        _body(gzip.compress(_tags("1.2.3")), "Content-Encoding: gzip"),
        words="not asked for",
    ),
    Row(
        "a packed transfer",
        VERSION,
        _head("Transfer-Encoding: gzip, chunked", then=_raw(b"0\r\n\r\n")),
        words="not asked for",
    ),
    Row(
        "a negative length",
        VERSION,
        _head("Content-Length: -5", then=_pour(bytes(65536))),
        words="more than 262144 bytes",
    ),
    Row(
        "two lengths",
        VERSION,
        _head("Content-Length: 5", "Content-Length: 7", then=_raw(b"abcdefg")),
        TransientError,
    ),
    Row(
        "a body that breaks off",
        VERSION,
        _head("Content-Length: 100", then=_raw(b"abc")),
        TransientError,
    ),
    Row(
        "a body in drops",
        VERSION,
        _head("Content-Length: 1000", then=_drip(b"a")),
        TransientError,
        "takes too long",
        slow=True,
    ),
    Row(
        "chunks in drops",
        VERSION,
        _head("Transfer-Encoding: chunked", then=_drip(b"1\r\na\r\n")),
        TransientError,
        "takes too long",
        slow=True,
    ),
    Row(
        "a body that stops",
        VERSION,
        _head("Content-Length: 1000", then=Wire.stall),
        TransientError,
        slow=True,
    ),
    Row(
        "a list of which JSON makes much",
        TAGS,
        _body(b'{"tags": [' + b'{"":0},' * 9000 + b"0]}"),
        words="an unknown form",
    ),
    # --- headers
    Row(
        "headers without end",
        VERSION,
        _starts(b"HTTP/1.1 200 X\r\n", _pour(b"X-A: b\r\n" * 1000)),
        words="more than",
    ),
    Row(
        "a header without end",
        VERSION,
        _starts(b"HTTP/1.1 200 X\r\nX-A: ", _pour(b"b" * 65536)),
        words="more than",
    ),
    Row(
        "a status without end",
        VERSION,
        _starts(b"HTTP/1.1 200 ", _pour(b"b" * 65536)),
        words="more than",
    ),
    Row(
        "two hundred headers", VERSION, _head(*(f"X-{n}: b" for n in range(200))), words="more than"
    ),
    Row(
        "headers in drops",
        VERSION,
        _starts(b"HTTP/1.1 200 X\r\n", _drip(b"X-A: b\r\n")),
        TransientError,
        "takes too long",
        slow=True,
    ),
    Row(
        "a status in drops",
        VERSION,
        _starts(b"HTTP/1.1 200 ", _drip(b"b")),
        TransientError,
        "takes too long",
        slow=True,
    ),
    Row(
        "interim answers without end",
        VERSION,
        _pour(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        words="more than",
    ),
    Row(
        "interim answers in drops",
        VERSION,
        _drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
        TransientError,
        "takes too long",
        slow=True,
    ),
    Row(
        "hints without end",
        VERSION,
        _pour(b"HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n" * 100),
        words="more than",
    ),
    Row("hints before an answer", TAGS, _early_hints, *HELD),
    Row(
        "another protocol",
        VERSION,
        _raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        TransientError,
    ),
    Row("no HTTP", VERSION, _raw(b"SSH-2.0-OpenSSH_9.2\r\n"), TransientError),
    Row("a status that is no number", VERSION, _raw(b"HTTP/1.1 abc X\r\n\r\n"), TransientError),
    Row("a status of four digits", VERSION, _raw(b"HTTP/1.1 2000 X\r\n\r\n"), TransientError),
    Row("a status that nobody knows", VERSION, _body(b"", status=999), words="refuses GET"),
    Row("an answer of the first HTTP", VERSION, _raw(b"<html>hello</html>\n"), TransientError),
    Row("several answers to one request", TAGS, _two_answers, *HELD),
    # --- connections
    Row("the end of the connection", VERSION, lambda _: None, TransientError),
    Row("silence", VERSION, Wire.stall, TransientError, slow=True),
    # --- redirects
    Row("redirects without end", VERSION, _redirect_on, words="without end"),
    Row("a redirect to itself", VERSION, _location(VERSION[4:], 307), words="without end"),
    Row("a redirect to nowhere", VERSION, _body(b"", status=302), words="refuses GET"),
    Row(
        "a redirect to a file",
        VERSION,
        _location("file:///etc/passwd", 302),
        words="invalid address",
    ),
    Row(
        "a redirect to a name that is too long",
        VERSION,
        _location(f"http://{'a' * 100}.example/x", 302),
        words="invalid address",
    ),
    Row(
        "a redirect that other programs read otherwise",
        VERSION,
        _location("http://evil.example\\@127.0.0.1/x", 302),
        words="invalid address",
    ),
    Row(
        "a redirect to who wants credentials",
        VERSION,
        _location("http://localhost:{port}/elsewhere", 302),
        AuthorisationError,
        "were not sent",
    ),
    # --- signing in
    Row(
        "a token service in the clear",
        TAGS,
        _challenge('WWW-Authenticate: Bearer realm="http://evil.example/token"'),
        AuthorisationError,
        "without encryption",
    ),
    Row(
        "a token service that other programs read otherwise",
        TAGS,
        _challenge('WWW-Authenticate: Bearer realm="http://evil.example\\\\@127.0.0.1/token"'),
        EngineError,
        "invalid address",
    ),
    Row(
        "a token service that is a file",
        TAGS,
        _challenge('WWW-Authenticate: Bearer realm="file:///etc/passwd"'),
        EngineError,
        "invalid address",
    ),
    Row(
        "credentials that are never enough",
        TAGS,
        _challenge("WWW-Authenticate: Basic realm=x"),
        AuthorisationError,
        "refuses the credentials",
    ),
    Row(
        "a challenge of 8 KB",
        TAGS,
        _challenge("WWW-Authenticate: " + "Basic a, " * 900),
        AuthorisationError,
        "refuses the credentials",
    ),
    Row(
        "a token without end", TOKEN, _head(then=_pour(b"a" * 65536)), words="more than 16384 bytes"
    ),
    Row(
        "a token that expands", TOKEN, _body(GZIP, "Content-Encoding: gzip"), words="not asked for"
    ),
    Row(
        "a token with a line break",
        TOKEN,
        _body(b'{"token": "a\\r\\nX-A: b"}'),
        AuthorisationError,
        "refuses the credentials",
    ),
    Row(
        "a token in drops",
        TOKEN,
        _head(then=_drip(b" ")),
        TransientError,
        "takes too long",
        slow=True,
    ),
    Row("a token service that leads on and on", TOKEN, _redirect_on, words="without end"),
    Row(
        "a token service that leads elsewhere",
        TOKEN,
        _location("http://evil.example\\@127.0.0.1/x", 302),
        words="invalid address",
    ),
    # --- errors
    Row(
        "an error without end",
        TAGS,
        _head(then=_pour(b"a" * 65536), status=400),
        words="refuses GET",
    ),
    Row(
        "an error that expands",
        TAGS,
        _body(GZIP, "Content-Encoding: gzip", status=400),
        words="refuses GET",
    ),
    Row(
        "an error in drops",
        TAGS,
        _head(then=_drip(b"a"), status=400),
        TransientError,
        "takes too long",
        slow=True,
    ),
    Row(
        "an error with what it was told",
        TAGS,
        lambda w: w.answer(
            400,
            json.dumps(
                {
                    "errors": [
                        {"code": "X", "message": f"\x1b[2J\n::error::{KNOWN.secret} {KNOWN.basic}"}
                    ]
                }
            ).encode(),
        ),
        words=re.escape("::error::*** ***"),
    ),
    Row(
        "an error as deep as it goes",
        TAGS,
        _body(b'{"errors": [{"code": ' + b"[" * 900 + b"]" * 900 + b"}]}", status=400),
        words="refuses GET",
    ),
    Row(
        "a wait of a thousand years",
        TAGS,
        _body(b"", "Retry-After: 31536000000", status=503),
        TransientError,
        "in 2 attempts",
    ),
    Row(
        "a wait that is none",
        TAGS,
        _body(b"", "Retry-After: -1e999", status=503),
        TransientError,
        "in 2 attempts",
    ),
    # --- pushing
    Row(
        "an upload to nowhere",
        "POST",
        _body(b"", status=202),
        EngineError,
        "gives no address for an upload",
        act=_push,
    ),
    Row(
        "an upload to a file",
        "POST",
        _location("file:///etc/passwd"),
        EngineError,
        "invalid address",
        act=_push,
    ),
    Row(
        "an upload behind a backslash",
        "POST",
        _location("http://evil.example\\@127.0.0.1/x"),
        EngineError,
        "invalid address",
        act=_push,
    ),
    Row(
        "an upload to who wants credentials",
        "POST",
        _location("http://localhost:{port}/elsewhere"),
        AuthorisationError,
        "were not sent",
        act=_push,
    ),
    Row(
        "an upload that is read by nobody", UPLOAD, Wire.stall, TransientError, act=_push, slow=True
    ),
    Row("an upload that is refused", UPLOAD, _body(b"", status=413), EngineError, act=_push),
    Row(
        "an upload that redirects to who wants the password in the clear",
        UPLOAD,
        _location("/elsewhere", 307),
        AuthorisationError,
        "without encryption",
        act=_push,
    ),
    Row(
        "an upload that redirects to who wants credentials",
        UPLOAD,
        _location("http://localhost:{port}/elsewhere", 307),
        AuthorisationError,
        "were not sent",
        act=_push,
    ),
    Row(
        "an upload that redirects as another request",
        UPLOAD,
        _location("/elsewhere", 302),
        EngineError,
        "refuses PUT",
        act=_push,
    ),
    Row("an upload that redirects on and on", UPLOAD, _redirect_on, words="without end", act=_push),
    Row(
        "an upload that redirects to a file",
        UPLOAD,
        _location("file:///etc/passwd", 308),
        words="invalid address",
        act=_push,
    ),
    Row(
        "a manifest that is not kept",
        "PUT .*manifests",
        _body(b"", status=201),
        GateError,
        "gives nothing under",
        act=_push,
    ),
    # --- pulling
    Row(
        "a layer without end",
        BLOBS,
        _head(then=_pour(bytes(65536))),
        EngineError,
        "more than",
        act=_pull,
    ),
    Row("a layer that is shorter", BLOBS, _body(LAYER[:10]), GateError, "no whole blob", act=_pull),
    Row(
        "a layer of other bytes",
        BLOBS,
        _body(bytes(len(LAYER))),
        GateError,
        "no whole blob",
        act=_pull,
    ),
    Row(
        "a layer in drops",
        BLOBS,
        _head(then=_drip(b"a")),
        TransientError,
        "takes too long",
        act=_pull,
        slow=True,
    ),
    Row(
        "a layer that is packed",
        BLOBS,
        _body(GZIP, "Content-Encoding: gzip"),
        EngineError,
        "not asked for",
        act=_pull,
    ),
    Row(
        "a digest that is a path",
        NONE,
        Wire.stall,
        GateError,
        "not an image",
        act=_pull_of(manifests=[{"digest": "sha256:../../../../other"}]),
    ),
    Row(
        "an index of 3000 images",
        NONE,
        Wire.stall,
        GateError,
        "not an image",
        act=_pull_of(manifests=[{"digest": DIGEST}] * 3000),
    ),
    Row(
        "an index of an image that is missing",
        NONE,
        Wire.stall,
        GateError,
        "no whole image",
        act=_pull_of(manifests=[{"digest": DIGEST}]),
    ),
    Row(
        "an index with a platform that is a list",
        NONE,
        Wire.stall,
        GateError,
        "not an image",
        act=_pull_of(manifests=[{"digest": DIGEST, "platform": {"os": ["x"]}}]),
    ),
    Row(
        "a layer of a negative size",
        NONE,
        Wire.stall,
        GateError,
        "not an image",
        act=_pull_of(config={"digest": DIGEST, "size": -1}),
    ),
    Row(
        "a layer of a size in words",
        NONE,
        Wire.stall,
        GateError,
        "not an image",
        act=_pull_of(config={"digest": DIGEST, "size": "1"}),
    ),
    Row(
        "a layer without a size",
        NONE,
        Wire.stall,
        GateError,
        "how large",
        act=_pull_of(config={"digest": DIGEST}),
    ),
    Row(
        "a manifest of too many layers",
        NONE,
        Wire.stall,
        GateError,
        "too many parts",
        act=_pull_of(
            config={"digest": DIGEST, "size": 1},
            layers=[{"digest": f"sha256:{n:064}", "size": 1} for n in range(60)],
        ),
    ),
    # --- archives that do it to the registry
    Row(
        "a request in a layer",
        NONE,
        Wire.stall,
        InputError,
        "and its descriptor says 100",
        act=_push_of(size=100),
    ),
    Row(
        "a layer that is shorter than its descriptor",
        NONE,
        Wire.stall,
        InputError,
        "and its descriptor says 10000",
        act=_push_of(size=10_000),
    ),
    Row(
        "a layer of a negative size, here",
        NONE,
        Wire.stall,
        InputError,
        "damaged",
        act=_push_of(size=-1),
    ),
    Row(
        "a layer of a size that is a fraction, here",
        NONE,
        Wire.stall,
        InputError,
        "damaged",
        act=_push_of(size=1.5),
    ),
]


def run(row: Row, state: Hostile, folder: Path, patience: Patience, limits: Limits) -> None:
    """Do what a row says to a registry that behaves as it says."""
    state.behaviours[".* /elsewhere"] = _challenge('WWW-Authenticate: Bearer realm="http://x/y"')
    state.behaviours[row.request] = row.behaviour
    if row.request == TOKEN:
        state.behaviours[TAGS] = _challenge(CHALLENGE)
    transport = Transport(state.host, KNOWN, patience=patience, limits=limits)
    try:
        row.act(state, Repository(transport, PATH), folder)
    finally:
        transport.close()


@pytest.fixture
def state() -> Iterator[Hostile]:
    with hostile_registry() as found:
        yield found


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_nothing_hangs_or_breaks_or_moves_a_tag(state: Hostile, tmp_path: Path, row: Row) -> None:
    before = dict(state.tags)
    began = time.monotonic()
    patience, limits = (QUICK, BRIEF) if row.slow else (CALM, SMALL)
    with pytest.raises(BuildlibError) as caught:
        run(row, state, tmp_path, patience, limits)
    assert time.monotonic() - began < LONGEST
    assert isinstance(caught.value, row.kind), caught.value
    assert re.search(row.words, str(caught.value)), caught.value
    said = str(caught.value)
    assert KNOWN.secret not in said
    assert KNOWN.basic not in said
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert state.tags == before
    assert not [one for one in state.seen if "/elsewhere " in one]


def test_there_are_enough_of_them() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60


def test_a_right_registry_is_no_row(state: Hostile, tmp_path: Path) -> None:
    repository = Repository(Transport(state.host, KNOWN, patience=CALM, limits=SMALL), PATH)
    put_tag(repository, state.new, "1.5.0", immutable=True)
    assert repository.tags() == ("1.2.3", "1.4.0", "1.5.0", "latest")
    _push(state, repository, tmp_path)
    _pull(state, repository, tmp_path)


BIG = [
    *(
        row
        for row in ROWS
        if row.name
        in {
            "a body without end",
            "a body of 8 GB",
            "a chunk of 4 EB",
            "a chunk of a negative size",
            "a chunk's size without end",
            "a chunk's extension without end",
            "a body that expands",
            "a body that expands twice",
            "headers without end",
            "a header without end",
            "interim answers without end",
            "a token without end",
            "a token that expands",
            "an error without end",
            "a layer without end",
        }
    ),
    Row(
        "4 MB of which JSON makes much", TAGS, _body(b'{"tags": [' + b'{"":0},' * 590_000 + b"0]}")
    ),
]


@contextmanager
def _growing() -> Iterator[list[int]]:
    """Give a list that gets, after the block, by how many bytes this process grew in it at most."""
    status = Path("/proc/self/status")
    found: list[int] = []

    def read(name: str) -> int:
        return int(status.read_text(encoding="utf-8").partition(f"{name}:")[2].split()[0]) * 1024

    # Forget the highest until now; proc(5).
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = read("VmRSS")
    yield found
    found.append(read("VmHWM") - before)


def growth(folder: Path) -> int:
    """Return by how many bytes the largest rows, with the usual limits, let a process grow."""
    with _growing() as found:
        for row in BIG:
            with hostile_registry() as state, suppress(BuildlibError):
                run(row, state, folder, CALM, Limits())
    return found[0]


def growth_of_a_pull() -> int:
    """Return by how many bytes a process grows that pulls a layer of 96 MB."""
    part, parts = bytes(1 << 20), 96
    sums = hashlib.sha256()
    for _n in range(parts):
        sums.update(part)

    def behave(wire: Wire) -> None:
        wire.head(f"Content-Length: {len(part) * parts}")
        for _n in range(parts):
            wire.send(part)

    layer = {"digest": f"sha256:{sums.hexdigest()}", "size": len(part) * parts}
    with hostile_registry() as state, _growing() as found:
        config = {"digest": Document(LAYER, "").digest, "size": len(LAYER)}
        state.behaviours[f"GET .*{layer['digest']}"] = behave
        repository = Repository(Transport(state.host, patience=CALM), PATH)
        document = Document(json.dumps({"config": config, "layers": [layer]}).encode(), MANIFEST)
        state.documents[document.digest] = document
        with pulled(repository, document.digest) as archive:
            assert archive.has(str(layer["digest"]))
    return found[0]


def test_none_takes_more_memory_than_is_there(tmp_path: Path) -> None:
    code = (
        "import sys, test_hostile_registry as rows; folder = rows.Path(sys.argv[1]); "
        "print(rows.growth(folder), rows.growth_of_a_pull())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, TESTS, TESTS / "contract"))),
        },
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    all_of_them, a_pull = map(int, done.stdout.split())
    assert all_of_them < 200 << 20
    assert a_pull < 48 << 20


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _interrupted(then: Callable[[Wire], object]) -> Callable[[Wire], object]:
    def behave(wire: Wire) -> None:
        _interrupt()
        then(wire)

    return behave


@pytest.mark.parametrize(
    "row",
    [
        Row("silence", VERSION, _interrupted(Wire.stall)),
        Row("drops", VERSION, _head(then=_interrupted(_drip(b"a")))),
        Row("an upload", UPLOAD, _interrupted(Wire.stall), act=_push),
    ],
    ids=lambda row: row.name,
)
def test_an_interrupt_is_heard_at_once(state: Hostile, tmp_path: Path, row: Row) -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(row, state, tmp_path, CALM, SMALL)
    assert time.monotonic() - began < LONGEST


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Return what makes every name take until the end of the test, after having done something."""
    over = threading.Event()

    def block(first: Callable[[], object]) -> None:
        def resolve(*_: object, **__: object) -> object:
            first()
            over.wait()
            raise socket.gaierror

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    yield block
    over.set()


def test_a_name_that_is_not_resolved_is_given_up(
    resolver: Callable[[Callable[[], object]], None],
) -> None:
    resolver(lambda: None)
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"registry\.example"):
        Repository(Transport("registry.example", patience=QUICK, limits=BRIEF), PATH).tags()
    assert time.monotonic() - began < LONGEST


def test_an_interrupt_is_heard_while_a_name_is_resolved(
    resolver: Callable[[Callable[[], object]], None],
) -> None:
    resolver(_interrupt)
    with pytest.raises(KeyboardInterrupt):
        Repository(Transport("registry.example", patience=CALM, limits=SMALL), PATH).tags()
