"""Which fault is met at which request of a publication, and in which registry.

A request is known by its place in the course of an undisturbed publication, which `COURSE` lists.
Each run of the tests tries the requests that differ in their purpose (`CHOSEN`) in as few
publications as meet every pair of kind and request, kind and registry, request and registry. The
whole matrix, each kind at each request to each registry, is what the marker `faults` stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from registries import Fault
from releases import QUICK

from buildlib.retry import Patience


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        fault: what happens to one request.
        refused: it ends the run; else the request is tried again, and nobody need do anything.
        patience: of the client.
    """

    fault: Fault
    refused: bool = False
    patience: Patience = QUICK


# Silent for longer than the client waits, which a slow machine is not; the registry never gets the
# request.
IMPATIENT = replace(QUICK, attempts=6, timeout=1.5)
KINDS = {
    "401": Kind(Fault(status=401), refused=True),
    "403": Kind(Fault(status=403), refused=True),
    "429": Kind(Fault(status=429, headers={"Retry-After": "1"})),
    "500": Kind(Fault(status=500)),
    "502": Kind(Fault(status=502, body=b"<html>")),
    "503 after it was done": Kind(Fault(status=503, done=True)),
    "a reset": Kind(Fault(reset=True)),
    "a reset after it was done": Kind(Fault(reset=True, done=True)),
    "a stall": Kind(Fault(stall=3.0, reset=True), patience=IMPATIENT),
    "a cut at byte 5": Kind(Fault(cut=5)),
    "a cut at byte 300": Kind(Fault(cut=300)),
}
REFUSED = tuple(name for name, kind in KINDS.items() if kind.refused)
PASSING = tuple(name for name, kind in KINDS.items() if not kind.refused)
REGISTRIES = ("first", "second")

# What the last part of a request's path stands for; every other one is a tag.
_PATHS = {
    "tags": r"/tags/list\?",
    "upload": "/blobs/uploads/",
    "blob": "/blobs/sha256:",
    "manifest": "/manifests/sha256:",
    "claim": "/manifests/buildlib-claim-",
}
_BLOB = ("HEAD blob", "POST upload", "PUT upload")
_MOVING = ("GET {}", "GET tags", "PUT {}", "GET {}", "GET tags")
# Of a publication that finds nothing in the registry, and does not sign.
COURSE = (
    *("GET tags", "GET tags", "POST upload", "DELETE upload", "GET 1.2.3"),
    *(3 * _BLOB),
    *("PUT manifest", "PUT manifest", "PUT manifest", "GET manifest"),
    *(2 * _BLOB),
    *("PUT claim", "GET tags", "GET 1.2.3", "GET manifest"),
    *("GET 1.2.3", "PUT 1.2.3", "GET 1.2.3", "GET 1.2.3"),
    *(step.format(tag) for tag in ("1.2", "1", "latest") for step in _MOVING),
    *("GET 1.2.3", "DELETE manifest"),
)
# Sent by a publication: the blobs of the image, and those of a claim.
BLOBS = COURSE.count("PUT upload")


def is_unlisted(number: int) -> bool:
    """Return whether tags that move are held back where a request is refused: none are listed."""
    return set(COURSE[: number + 1]) == {"GET tags"}


def is_finished(number: int) -> bool:
    """Return whether a publication is finished where a request is refused.

    A claim that can't be deleted is marked as released, and an upload ends by itself.
    """
    return is_unlisted(number) or COURSE[number].startswith("DELETE ")


def pattern(request: str) -> str:
    """Return what "METHOD path" of a request matches."""
    method, what = request.split()
    return f"^{method} .*{_PATHS.get(what, f'/manifests/{re.escape(what)}$')}"


def name_of(line: str) -> str:
    """Return what a request is called in the course, from its "METHOD path"."""
    return next(request for request in dict.fromkeys(COURSE) if re.search(pattern(request), line))


class Chosen(NamedTuple):
    """A request that is like no other in its purpose.

    Args:
        number: its place in the course.
        purpose: why it is made.
        after: the first of its name that comes after a request of this name; empty: of all.
    """

    number: int
    purpose: str
    after: str = ""

    @property
    def request(self) -> str:
        return COURSE[self.number]


CHOSEN = (
    Chosen(0, "which tags there are"),
    Chosen(2, "whether it may be written to"),
    Chosen(3, "the upload for that is called off"),
    Chosen(4, "whether the version is there"),
    Chosen(5, "whether a blob is there"),
    Chosen(6, "a blob is begun", after="HEAD blob"),
    Chosen(7, "a blob is sent"),
    Chosen(14, "an image is put"),
    Chosen(17, "the index is read back"),
    Chosen(24, "it is claimed"),
    Chosen(25, "who else claims it", after="PUT claim"),
    Chosen(26, "whether the version came meanwhile", after="PUT claim"),
    Chosen(29, "the version is given"),
    Chosen(30, "what the version became", after="PUT 1.2.3"),
    Chosen(33, "whether a higher version is there", after="GET 1.2"),
    Chosen(34, "a tag is moved"),
    Chosen(35, "what the tag became", after="PUT 1.2"),
    Chosen(48, "the claim is given back"),
)


class Cell(NamedTuple):
    """A kind of fault at one request to one registry."""

    kind: str
    chosen: Chosen
    which: int

    def once(self) -> Iterator[tuple[str, Fault]]:
        """Yield what the registry's proxy does once."""
        if self.chosen.after:
            yield pattern(self.chosen.after), Fault()
        yield pattern(self.chosen.request), KINDS[self.kind].fault


# Publications, each of which meets a fault that may pass at each of the requests. No kind comes
# twice at the same request, and faults go to both registries in turn.
SURVIVED = tuple(
    tuple(
        Cell(PASSING[(turn + place) % len(PASSING)], chosen, (turn + place) % 2)
        for place, chosen in enumerate(CHOSEN)
    )
    for turn in range(len(PASSING))
)
# Chains of publications: each is refused at one request, and the next goes on.
ENDED = tuple(
    tuple(Cell(REFUSED[(place + which) % 2], chosen, which) for place, chosen in enumerate(CHOSEN))
    for which in range(len(REGISTRIES))
)

# What cosign asks a registry, whichever version it is, in the order in which it first does.
COSIGN = {
    "GET /v2/": "^GET /v2/$",
    "GET signatures": "^GET .*/manifests/sha256-",
    "GET manifest": "^GET .*/manifests/sha256:",
    "HEAD manifest": "^HEAD .*/manifests/",
    "HEAD blob": "^HEAD .*/blobs/sha256:",
    "POST upload": "^POST .*/blobs/uploads/",
    "PATCH upload": "^PATCH .*/blobs/uploads/",
    "PUT upload": "^PUT .*/blobs/uploads/",
    "PUT manifest": "^PUT .*/manifests/sha256",
    "GET blob": "^GET .*/blobs/sha256:",
}


class Signed(NamedTuple):
    """A kind of fault at the first request of a kind that cosign makes to one registry."""

    kind: str
    request: str
    which: int


def while_signed(cells: Sequence[Signed], which: int) -> list[tuple[str, Fault]]:
    """Return what the proxy of a registry does once, from where cosign begins."""
    begun = COSIGN["GET /v2/"]
    found = [(COSIGN[one.request], KINDS[one.kind].fault) for one in cells if one.which == which]
    # Publishing itself makes all the other requests as well, before it is signed.
    return found if found[0][0] == begun else [(begun, Fault()), *found]


# Each is met by one publication. No more than three come to one start of cosign, which is started
# four times at most; what matters is what becomes of it, not how it tries again by itself.
SIGNED = tuple(
    tuple(
        Signed(PASSING[(place + 4 * which) % len(PASSING)], request, which)
        for which in range(len(REGISTRIES))
        for place, request in enumerate(COSIGN)
        if (place + which) % 3 == turn
    )
    for turn in range(3)
)
# One publication is refused in both registries.
ENDED_SIGNED = (Signed("403", "POST upload", 0), Signed("401", "PUT manifest", 1))
