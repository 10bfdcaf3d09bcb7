"""Links and challenges, in every form that the specifications allow, and in others."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from contextlib import suppress

import pytest

from buildlib.registry.headers import read_challenges, read_links
from buildlib.registry.response import Response

NEXT = "/v2/team/thing/tags/list?n=2&last=b"


def _onward(text: str) -> tuple[str, ...]:
    return Response(200, {"link": text}, b"").next_pages


@pytest.mark.parametrize(
    "text",
    [
        f'<{NEXT}>; rel="next"',
        f"<{NEXT}>;rel=next",
        f"<{NEXT}>; rel=next;",
        f"<{NEXT}> ;  rel = next ",
        f'<{NEXT}>; title="x"; rel="next"',
        f'<{NEXT}>; title="a, b; \\" <c>"; rel="next"; type="text/html"',
        f"<{NEXT}>; crossorigin; rel=next",
        f"<{NEXT}>; title*=UTF-8''x%20y; rel=next",
        f'<{NEXT}>; REL="next"',
        f'<{NEXT}>; rel="NEXT"',
        f"<{NEXT}>; rel='next'",
        f'<{NEXT}>; rel="last next"',
        f'<{NEXT}>; rel="next\tlast"',
        f'</app.css>; rel=preload; as=style, <{NEXT}>; rel="next"',
        f'<{NEXT}>; rel="next", </app.css>; rel=preload',
        f'</first>; rel=first, </last>; rel="last",,<{NEXT}>; rel="next",',
        f'<{NEXT}>; rel="next", <{NEXT}>; rel="next"',
    ],
)
def test_the_next_page_is_found_in_every_form(text: str) -> None:
    assert _onward(text) == (NEXT,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "</a>",
        "</a>; rel=prev",
        '</a>; rel="nextish"',
        "</a>; rev=next",
        "</a>; rel=prev; rel=next",
    ],
)
def test_what_is_no_next_page_is_none(text: str) -> None:
    assert _onward(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        NEXT,
        f'<{NEXT}; rel="next"',
        f'<{NEXT}> rel="next"',
        f'<{NEXT}>; rel="next',
        f"<{NEXT}>; rel=next; =",
        f"<{NEXT}>; rel=last next",
        f'rel="next"; <{NEXT}>',
    ],
)
def test_what_could_be_a_next_page_and_can_not_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_links(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a \\"b\\""', [("basic", {"realm": 'a "b"'})]),
        (
            'Bearer realm="https://r/t",service="s",scope="repository:a:pull,push"',
            [
                (
                    "bearer",
                    {"realm": "https://r/t", "service": "s", "scope": "repository:a:pull,push"},
                )
            ],
        ),
        (
            "bEARER Realm=https://r/t?account=x , SERVICE = s",
            [("bearer", {"realm": "https://r/t?account=x", "service": "s"})],
        ),
        (
            'Negotiate, NTLM, Basic realm="b", Bearer realm="https://r/t"',
            [
                ("negotiate", {}),
                ("ntlm", {}),
                ("basic", {"realm": "b"}),
                ("bearer", {"realm": "https://r/t"}),
            ],
        ),
        (
            'Negotiate YWJj==, Digest qop="auth, auth-int", nonce=x',
            [("negotiate", {}), ("digest", {"qop": "auth, auth-int", "nonce": "x"})],
        ),
        ('Bearer realm="https://a", realm="https://b"', [("bearer", {"realm": "https://a"})]),
        ('Bearer realm="https://a', [("bearer", {})]),
        ("=x", []),
    ],
)
def test_every_challenge_is_read(text: str, found: list[tuple[str, Mapping[str, str]]]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in read_challenges(text)] == found


def test_no_text_is_too_much_for_them() -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    alphabet = string.ascii_letters[:6] + "<>\";,= \t\\='é"
    for _ in range(3000):
        text = "".join(chance.choices(alphabet, k=chance.randrange(40)))
        read_challenges(text)
        try:
            found = read_links(text)
        except ValueError:
            continue
        assert all(one.target in text for one in found)


@pytest.mark.unmeasured
@pytest.mark.parametrize("part", ["<a>;", "<", "a=", 'a="', '"\\', ", ", "; ", "a ", "<a>,"])
def test_none_takes_longer_than_its_length_is_worth(part: str) -> None:
    text = part * (65536 // len(part))
    read_challenges(text)
    with suppress(ValueError):
        read_links(text)
