"""The faults that each run of the tests tries: every pair, and none drops out unseen."""

from __future__ import annotations

from itertools import product

from faultplan import CHOSEN, COURSE, ENDED, KINDS, REGISTRIES, SURVIVED, name_of

ROWS = (*SURVIVED, *ENDED)
CELLS = [cell for row in ROWS for cell in row]
# A line a request, a column a kind of `KINDS`, in that order: the publications that meet it, or the
# chain of publications (9 and 10), and the registry.
LISTED = """
9a  10b 0a  1b  2a  3b  4a  5b  6a  7b  8a  which tags there are
10b 9a  8b  0b  1a  2b  3a  4b  5a  6b  7a  whether it may be written to
9a  10b 7b  8a  0a  1b  2a  3b  4a  5b  6a  the upload for that is called off
10b 9a  6b  7a  8b  0b  1a  2b  3a  4b  5a  whether the version is there
9a  10b 5b  6a  7b  8a  0a  1b  2a  3b  4a  whether a blob is there
10b 9a  4b  5a  6b  7a  8b  0b  1a  2b  3a  a blob is begun
9a  10b 3b  4a  5b  6a  7b  8a  0a  1b  2a  a blob is sent
10b 9a  2b  3a  4b  5a  6b  7a  8b  0b  1a  an image is put
9a  10b 1b  2a  3b  4a  5b  6a  7b  8a  0a  the index is read back
10b 9a  0b  1a  2b  3a  4b  5a  6b  7a  8b  it is claimed
9a  10b 8a  0a  1b  2a  3b  4a  5b  6a  7b  who else claims it
10b 9a  7a  8b  0b  1a  2b  3a  4b  5a  6b  whether the version came meanwhile
9a  10b 6a  7b  8a  0a  1b  2a  3b  4a  5b  the version is given
10b 9a  5a  6b  7a  8b  0b  1a  2b  3a  4b  what the version became
9a  10b 4a  5b  6a  7b  8a  0a  1b  2a  3b  whether a higher version is there
10b 9a  3a  4b  5a  6b  7a  8b  0b  1a  2b  a tag is moved
9a  10b 2a  3b  4a  5b  6a  7b  8a  0a  1b  what the tag became
10b 9a  1a  2b  3a  4b  5a  6b  7a  8b  0b  the claim is given back
"""


def test_every_pair_is_tried_in_each_run() -> None:
    purposes = [chosen.purpose for chosen in CHOSEN]
    which = range(len(REGISTRIES))
    assert {(cell.kind, cell.chosen.purpose) for cell in CELLS} == set(product(KINDS, purposes))
    assert {(cell.kind, cell.which) for cell in CELLS} == set(product(KINDS, which))
    assert {(cell.chosen.purpose, cell.which) for cell in CELLS} == set(product(purposes, which))


def test_what_is_tried_is_what_is_listed_here() -> None:
    found: dict[tuple[str, str], list[str]] = {}
    for number, row in enumerate(ROWS):
        for cell in row:
            place = found.setdefault((cell.chosen.purpose, cell.kind), [])
            place.append(f"{number}{'ab'[cell.which]}")
    lines = [
        " ".join([*(f"{' '.join(found[one.purpose, kind]):3}" for kind in KINDS), one.purpose])
        for one in CHOSEN
    ]
    assert "\n".join(lines) == LISTED.strip()


def test_every_kind_of_request_is_among_the_chosen() -> None:
    # Of the tags that move, one stands for the others.
    others = {f"{method} {tag}" for method in ("GET", "PUT") for tag in ("1", "latest")}
    assert {chosen.request for chosen in CHOSEN} == set(COURSE) - others


def test_a_request_is_known_by_its_path() -> None:
    digest = "sha256:" + 64 * "0"
    lines = {
        "/tags/list?n=1000": "GET tags",
        f"/manifests/{digest}": "GET manifest",
        "/manifests/1.2.3": "GET 1.2.3",
        "/manifests/1": "GET 1",
    }
    assert {name_of(f"GET /v2/team/thing{path}") for path in lines} == set(lines.values())
