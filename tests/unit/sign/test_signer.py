"""cosign's command lines for both of its kinds, and what its failures mean."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from buildlib.config.load import load_config
from buildlib.config.signing import Sign, Verify
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    InputError,
    TimedOutError,
    ToolError,
    TransientError,
    VerificationError,
)
from buildlib.executor import Completed
from buildlib.registry.credentials import Credentials
from buildlib.registry.transport import Transport
from buildlib.retry import LaterError, Retrier, Tally
from buildlib.sign.cosign import (
    Cosign,
    ForeignError,
    is_missing_attestation,
    key_argument,
    reason,
    signing_problem,
    surrounded,
    verifying_problem,
)
from buildlib.sign.signer import PATIENCE, Signer, find_cosign, fingerprint, opened_signer

from fakes import FakeExecutor

ROOT = Path("/repo")
DIGEST = "sha256:" + "a" * 64
REFERENCE = f"registry.example/x@{DIGEST}"
TWO, THREE = Cosign(version="2"), Cosign(version="3", signing_config=True)
KEY = Sign(key="keys/cosign.key")
PUBLIC = Verify(key="cosign.pub")
KNOWN = Credentials(username="ann", secret="pass-9d1f", source="the test")
REGISTRY = Transport("registry.example", KNOWN)
GITHUB = "https://token.actions.githubusercontent.com"


def _signer(
    executor: FakeExecutor,
    waits: list[float],
    *,
    cosign: Cosign = TWO,
    safe: Callable[[str], str] = REGISTRY.safe,
    env: Mapping[str, str] | None = None,
) -> Signer:
    retrier = Retrier(patience=PATIENCE, sleep=waits.append, chance=lambda: 1.0)
    store = Path("/store")
    return Signer(*(cosign, executor, ROOT, env or {}), store=store, safe=safe, retrier=retrier)


def test_version_3_gets_a_configuration_without_services() -> None:
    *before, services, roots_option, roots, reference = THREE.sign(REFERENCE, KEY, ROOT)
    assert before == [
        *("cosign", "sign", "--yes", "--recursive", "--key", "/repo/keys/cosign.key"),
        "--signing-config",
    ]
    assert (roots_option, reference) == ("--trusted-root", REFERENCE)
    for path in (services, roots):
        content = json.loads(Path(path).read_text("utf-8"))
        assert list(content) == ["mediaType"], "no service, and no root"


@pytest.mark.parametrize(("cosign", "without"), [(TWO, []), (THREE, ["-u", "COSIGN_TLOG_UPLOAD"])])
def test_what_contradicts_the_configuration_is_not_handed_over(
    cosign: Cosign, without: list[str]
) -> None:
    executor = FakeExecutor({("env",): Completed(code=0)})
    env = {"COSIGN_TLOG_UPLOAD": "false", "COSIGN_PASSWORD": ""}
    _signer(executor, [], cosign=cosign, env=env).sign(REFERENCE, KEY)
    (argv,) = executor.asked
    assert list(argv[1 : argv.index("cosign")]) == [*without, "DOCKER_CONFIG=/store"]


@pytest.mark.parametrize("cosign", [TWO, THREE], ids=["2", "3"])
def test_the_public_log_is_a_choice(cosign: Cosign) -> None:
    argv = cosign.sign(REFERENCE, replace(KEY, transparency_log=True), ROOT)
    assert argv[4:] == ("--key", "/repo/keys/cosign.key", REFERENCE)


@pytest.mark.parametrize("cosign", [TWO, THREE], ids=["2", "3"])
def test_without_a_key_the_service_vouches(cosign: Cosign) -> None:
    argv = cosign.sign(REFERENCE, Sign(keyless=True), ROOT)
    assert argv == ("cosign", "sign", "--yes", "--recursive", REFERENCE)


def test_a_statement_has_a_type_and_a_file() -> None:
    argv = TWO.attest(REFERENCE, Path("/dist/x.spdx.json"), "spdxjson", KEY, ROOT)
    assert argv == (
        *("cosign", "attest", "--yes", "--predicate", "/dist/x.spdx.json", "--type", "spdxjson"),
        *("--key", "/repo/keys/cosign.key", "--tlog-upload=false", REFERENCE),
    )


def test_several_are_verified_at_once() -> None:
    assert TWO.verify((REFERENCE, "other"), PUBLIC, ROOT) == (
        *("cosign", "verify", "--key", "/repo/cosign.pub", "--insecure-ignore-tlog=true"),
        *(REFERENCE, "other"),
    )
    logged = TWO.verify((REFERENCE,), replace(PUBLIC, transparency_log=True), ROOT)
    assert logged == ("cosign", "verify", "--key", "/repo/cosign.pub", REFERENCE)


def test_an_identity_is_verified_with_its_issuer() -> None:
    policy = Verify(identity="me@example.org", issuer=GITHUB)
    assert TWO.verify_attestation(REFERENCE, "spdxjson", policy, ROOT) == (
        *("cosign", "verify-attestation", "--type", "spdxjson"),
        *("--certificate-identity", "me@example.org"),
        *("--certificate-oidc-issuer", GITHUB, REFERENCE),
    )
    pattern = Verify(identity_pattern="^https://github", issuer=GITHUB)
    argv = TWO.verify((REFERENCE,), pattern, ROOT)
    assert argv[2:4] == ("--certificate-identity-regexp", "^https://github")


@pytest.mark.parametrize(
    ("key", "argument"),
    [
        ("cosign.key", "/repo/cosign.key"),
        ("/keys/cosign.key", "/keys/cosign.key"),
        ("env://SIGNING", "env://SIGNING"),
        ("awskms:///alias/release", "awskms:///alias/release"),
    ],
)
def test_a_key_is_a_file_of_the_project_or_a_reference(key: str, argument: str) -> None:
    assert key_argument(key, ROOT) == argument


def test_variables_are_taken_away_by_name_and_no_value_is_told() -> None:
    argv = surrounded(("cosign", "x"), without=("A", "B"), having={"HOME": "/h"})
    assert argv == ("env", "-u", "A", "-u", "B", "HOME=/h", "cosign", "x")


# As cosign 2.5 and 3.1 print them.
LAST = "error during command execution: "
ASKED = "signing [x]: getting signer: reading key: inappropriate ioctl for device"
LOCKED = "signing [x]: getting signer: reading key: decrypt: encrypted: decryption failed"
NO_FILE = "signing [x]: getting signer: reading key: open /k: no such file or directory"
DENIED = "signing [x]: accessing entity: GET http://r/v2/: UNAUTHORIZED: authentication required"
DOWN = 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'
BUSY = "GET http://r/v2/: unexpected status code 503 Service Unavailable"
SIGNER = "signing [r/me/x@sha256:a]: getting signer: "
NOBODY = f"{SIGNER}getting key from Fulcio: retrieving cert: error obtaining token: expired_token"
AMBIENT = "signing [x]: retrieving ID token: fetching ambient OIDC credentials: no token"
FULCIO_DOWN = f'{SIGNER}getting key from Fulcio: Post "https://f/": dial tcp: i/o timeout'
CALLED_SO = "signing [r/me/oidc-id-token@sha256:a]: getting signer: reading key: open /k: no such"
UNSIGNED = "no signatures found"
OTHER_2 = "no matching signatures: invalid signature when validating ASN.1 encoded signature"
OTHER_3 = "no matching attestations: failed to verify signature: accepted signatures do not match"
NO_TAG = "image tag not found: GET http://r/v2/a/manifests/x: MANIFEST_UNKNOWN: manifest unknown"
NO_PUB = "loading public key: open no.pub: no such file or directory"


@pytest.mark.parametrize(
    ("code", "said", "kind", "words"),
    [
        pytest.param(127, "", ToolError, "cosign not found", id="it is not here"),
        pytest.param(
            1, ASKED, InputError, "COSIGN_PASSWORD is not set, or wrong", id="there is no password"
        ),
        pytest.param(
            1,
            LOCKED,
            InputError,
            "COSIGN_PASSWORD is not set, or wrong",
            id="the password is wrong",
        ),
        pytest.param(1, NO_FILE, InputError, "can't be used", id="there is no key"),
        pytest.param(1, DENIED, AuthorisationError, "refuses", id="the registry refuses"),
        pytest.param(1, DOWN, LaterError, "does not answer", id="the registry is down"),
        pytest.param(1, BUSY, LaterError, "does not answer", id="the registry is busy"),
        pytest.param(1, NOBODY, AuthorisationError, "id-token: write", id="nobody vouches, in 2"),
        pytest.param(1, AMBIENT, AuthorisationError, "id-token: write", id="nobody vouches, in 3"),
        pytest.param(1, FULCIO_DOWN, LaterError, "the issuer of", id="the issuer is down"),
        pytest.param(1, CALLED_SO, InputError, "can't be used", id="a repository is called so"),
        pytest.param(1, "boom", VerificationError, "could not sign", id="something else"),
    ],
)
def test_why_nothing_was_signed(
    code: int, said: str, kind: type[BuildlibError], words: str
) -> None:
    before = "Enter password for private key: " if said == ASKED else ""
    error = signing_problem(code, f"WARNING: x\n{before}Error: {said}\n{LAST}{said}\n")
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("code", "said", "kind", "words"),
    [
        pytest.param(127, "", ToolError, "cosign not found", id="it is not here"),
        pytest.param(10, UNSIGNED, VerificationError, "is not signed", id="nobody signed"),
        pytest.param(12, OTHER_2, ForeignError, "somebody else", id="another key, in 2"),
        pytest.param(1, OTHER_3, ForeignError, "somebody else", id="another key, in 3"),
        pytest.param(11, NO_TAG, InputError, "there is no x", id="there is no such image"),
        pytest.param(1, NO_PUB, InputError, "public key can't be read", id="there is no key"),
        pytest.param(1, DENIED, AuthorisationError, "refuses", id="the registry refuses"),
        pytest.param(1, DOWN, LaterError, "does not answer", id="the registry is down"),
        pytest.param(1, "boom", VerificationError, "is not verified", id="something else"),
    ],
)
def test_why_something_is_not_verified(
    code: int, said: str, kind: type[BuildlibError], words: str
) -> None:
    error = verifying_problem(code, f"WARNING: x\nError: {said}\n{LAST}{said}\n", "x")
    assert type(error) is kind
    assert words in str(error)
    assert "WARNING" not in str(error)


@pytest.mark.parametrize("finds_all", [True, False])
def test_what_cosign_2_does_not_find_may_be_signed_by_cosign_3(finds_all: bool) -> None:
    error = verifying_problem(10, f"Error: {UNSIGNED}\n", "x", finds_all=finds_all)
    assert ("verify it with cosign 3" in error.hint) != finds_all


class Signatures(FakeExecutor):
    """Knows what is signed, and answers as cosign does: about the first that is not."""

    def __init__(self, *signed: str) -> None:
        super().__init__()
        self.signed = signed

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        missing = [word for word in argv if "@sha256:" in word and word not in self.signed]
        return Completed(code=10, stderr=LAST + UNSIGNED) if missing else Completed(code=0)


ONE, OTHER = (f"registry.example/x@sha256:{letter * 64}" for letter in "bc")


@pytest.mark.parametrize(
    ("signed", "manifests", "said"),
    [
        ((), True, f"{REFERENCE} is not signed"),
        ((ONE, OTHER), True, f"{REFERENCE} is not signed"),
        ((REFERENCE,), True, f"{ONE} is not signed; the index that names it is verified"),
        ((REFERENCE, ONE), True, f"{OTHER} is not signed; the index that names it is verified"),
        ((REFERENCE, ONE, OTHER), True, ""),
        ((REFERENCE,), False, ""),
        ((ONE, OTHER), False, f"{REFERENCE} is not signed"),
    ],
)
def test_what_is_not_signed_is_named(
    signed: tuple[str, ...],
    manifests: bool,
    said: str,
) -> None:
    executor = Signatures(*signed)
    signer = _signer(executor, [])
    policy = replace(PUBLIC, manifests=manifests)
    digests = [one.partition("@")[2] for one in (ONE, OTHER)]
    if not said:
        found = signer.verify(REFERENCE, policy, images=digests)
        assert found.images == (tuple(digests) if manifests else ())
        return
    with pytest.raises(VerificationError) as caught:
        signer.verify(REFERENCE, policy, images=digests)
    assert caught.value.what == said
    assert ("manifests = false" in caught.value.hint) is ("index" in said)


def test_a_statement_that_is_missing_is_told_from_one_by_somebody_else() -> None:
    none = "none of the attestations matched the predicate type: spdxjson, found: x"
    assert is_missing_attestation(f"{LAST}{none}")
    assert is_missing_attestation(f"Error: no matching attestations: \n{LAST}no matching att")
    assert not is_missing_attestation(f"{LAST}{OTHER_3}")


def test_the_reason_is_told_once() -> None:
    assert reason(f"Error: boom\n{LAST}boom\n") == "boom"
    assert reason("one\ntwo\nthree\nfour\n") == "two\nthree\nfour"


class Answers(FakeExecutor):
    """Gives one answer after the other, or raises it."""

    def __init__(self, *answers: Completed | BuildlibError) -> None:
        super().__init__()
        self.left = list(answers)

    def _answer(self, argv: Sequence[str]) -> Completed:
        self.asked.append(tuple(argv))
        answer = self.left.pop(0)
        if isinstance(answer, BuildlibError):
            raise answer
        return answer


BAD = Completed(code=1, stderr=LAST + BUSY)
GOOD = Completed(code=0)


STALL = TimedOutError("env did not answer within 180 s")


def test_what_may_pass_is_tried_again() -> None:
    waits: list[float] = []
    executor = Answers(BAD, BAD, GOOD)
    _signer(executor, waits).sign(REFERENCE, KEY)
    assert waits == [1.0, 2.0]
    assert executor.asked[0][:3] == ("env", "DOCKER_CONFIG=/store", "cosign")
    with pytest.raises(TransientError):
        _signer(Answers(*[BAD] * 4), waits).sign(REFERENCE, KEY)


def test_waits_spread_and_what_was_done_again_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    tally = Tally()
    executor = Answers(BAD, BAD, BAD, GOOD)
    chances = iter((0.5, 0.25, 0.0))
    spread = partial(Retrier, sleep=waits.append, chance=lambda: next(chances))
    monkeypatch.setattr("buildlib.sign.signer.Retrier", spread)
    transport = Transport("registry.example", KNOWN, tally=tally)
    with opened_signer(transport, TWO, executor, ROOT, {}) as signer:
        signer.sign(REFERENCE, KEY)
    assert waits == [0.5, 0.5, 0.0]
    assert (tally.retries, tally.waited) == (3, 1.0)


def test_a_registry_that_stalls_is_asked_again_and_then_it_may_work_later() -> None:
    waits: list[float] = []
    _signer(Answers(STALL, GOOD), waits).sign(REFERENCE, KEY)
    assert waits == [1.0]
    with pytest.raises(TransientError, match="cosign sign did not end within 180 s") as caught:
        _signer(Answers(*[STALL] * 4), waits).sign(REFERENCE, KEY)
    assert caught.value.exit_code == 6
    stalled = _signer(Answers(*[STALL] * 4), waits)
    with pytest.raises(TransientError, match="cosign verify-attestation did not end"):
        stalled.statements(REFERENCE, "spdxjson", PUBLIC)


TOKEN = "eyJhbGciOiJub25lIn0.plant.plant"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        pytest.param(
            "DENIED: no pass-9d1f of ann", "DENIED: no *** of ann", id="the password comes back"
        ),
        pytest.param(f"DENIED: no {KNOWN.basic}", "DENIED: no ***", id="as it was sent"),
        pytest.param(
            "GET https://s3.example/y?X-Amz-Signature=plant: DENIED",
            "GET https://s3.example/y?*** DENIED",
            id="an address is signed",
        ),
        pytest.param(
            "PATCH http://me:plant@r/x: DENIED",
            "PATCH http://***@r/x: DENIED",
            id="an address has a password",
        ),
        pytest.param(
            'parse "https://plant:plant/x": invalid port ":plant" after host: DENIED',
            "an invalid address",
            id="an address is none",
        ),
        pytest.param(f"DENIED: {TOKEN} is old", "DENIED: *** is old", id="cosign's token"),
        pytest.param("DENIED: \x1b[31mred", "DENIED:  [31mred", id="a terminal is spoken to"),
    ],
)
def test_what_the_registry_says_through_cosign_is_told_without_what_opens_anything(
    said: str, told: str
) -> None:
    bad = Completed(code=1, stderr=f"Error: {said}\n{LAST}signing [x]: {said}\n")
    with pytest.raises(BuildlibError) as caught:
        _signer(Answers(bad), []).sign(REFERENCE, KEY)
    assert caught.value.why == f"signing [x]: {told}"
    with pytest.raises(BuildlibError) as caught:
        _signer(Answers(bad), []).verify(REFERENCE, PUBLIC)
    assert caught.value.why == f"signing [x]: {told}"


def _why(said: str, safe: Callable[[str], str]) -> str:
    answers = Answers(Completed(code=1, stderr=f"{LAST}{said}\n"))
    with pytest.raises(InputError, match="the key can't be used") as caught:
        _signer(answers, [], safe=safe).sign(REFERENCE, KEY)
    return caught.value.why


def test_a_password_of_one_letter_changes_nothing_about_what_went_wrong() -> None:
    known = Credentials(username="ann", secret="e", source="the test")
    why = _why(NO_FILE, Transport("registry.example", known).safe)
    assert why == NO_FILE.replace("e", "***")


def test_a_long_answer_is_not_cut_in_the_middle_of_a_password() -> None:
    long = f"{NO_FILE} ".ljust(596, "x")
    assert _why(f"{long}{KNOWN.secret} and more", REGISTRY.safe) == f"{long}*** "


CALLED_TIMEOUT = "signing [r/me/timeout@sha256:a]: GET http://r/v2/me/timeout/manifests/a: "
LEGAL = "GET http://r/v2/: unexpected status code 451 Unavailable For Legal Reasons"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        pytest.param(DENIED, AuthorisationError, id="it is refused"),
        pytest.param(
            f"{CALLED_TIMEOUT}MANIFEST_UNKNOWN: manifest unknown",
            VerificationError,
            id="a repository is called so",
        ),
        pytest.param(LEGAL, VerificationError, id="a status below 500 is called so"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(said: str, kind: type[BuildlibError]) -> None:
    waits: list[float] = []
    with pytest.raises(kind):
        _signer(Answers(Completed(code=1, stderr=LAST + said)), waits).sign(REFERENCE, KEY)
    assert waits == []


def test_a_third_party_has_nothing_of_the_signers() -> None:
    executor = Answers(Completed(code=0, stdout="[]"))
    env = {
        "COSIGN_PASSWORD": "p",
        "SIGSTORE_ID_TOKEN": "t",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "u",
        "AWS_SECRET_ACCESS_KEY": "v",
        "HTTPS_PROXY": "http://proxy",
        "HOME": "/home/me",
    }
    found = _signer(executor, [], env=env).verify(REFERENCE, PUBLIC)
    argv = executor.asked[0]
    unset = [argv[n + 1] for n, word in enumerate(argv) if word == "-u"]
    assert unset == [name for name in sorted(env) if name not in {"HTTPS_PROXY", "HOME"}]
    assert [word for word in argv if word.startswith("HOME=")] != ["HOME=/home/me"]
    assert not set(argv) & {"p", "t", "u", "v"}
    assert found.signed_by == "cosign.pub"


def test_who_reads_the_key_from_a_cloud_needs_what_opens_it() -> None:
    executor = Answers(Completed(code=0, stdout="[]"))
    policy = Verify(key="awskms:///alias/release")
    env = {"AWS_SECRET_ACCESS_KEY": "v", "COSIGN_PASSWORD": "p"}
    found = _signer(executor, [], env=env).verify(REFERENCE, policy)
    assert "AWS_SECRET_ACCESS_KEY" not in executor.asked[0]
    assert found.signed_by == policy.key


def test_who_has_the_key_in_a_variable_needs_that_one_and_no_other() -> None:
    executor = Answers(GOOD)
    policy = Verify(key="env://COSIGN_PUBLIC_KEY")
    env = {"COSIGN_PUBLIC_KEY": "k", "COSIGN_PASSWORD": "p", "AWS_SECRET_ACCESS_KEY": "v"}
    _signer(executor, [], env=env).verify(REFERENCE, policy)
    argv = executor.asked[0]
    unset = [argv[n + 1] for n, word in enumerate(argv) if word == "-u"]
    assert unset == ["AWS_SECRET_ACCESS_KEY", "COSIGN_PASSWORD"]


def _envelope(statement: object) -> str:
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps({"payload": payload})


def test_a_signed_statement_is_read() -> None:
    told = Completed(code=0, stdout=f"{_envelope({'a': 1})}\n\n{_envelope({'b': 2})}\n")
    found = _signer(Answers(told), []).statements(REFERENCE, "spdxjson", PUBLIC)
    assert found == ({"a": 1}, {"b": 2})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("Verified OK\n", id="no JSON"),
        pytest.param('{"envelope": {}}\n', id="no payload"),
        pytest.param('{"payload": "e30"}\n', id="half a payload"),
        pytest.param('{"payload": "WzFd"}\n', id="a payload of another kind"),
        pytest.param(f"{_envelope({'a': 1})}\n[]\n", id="one of two"),
    ],
)
def test_a_form_that_is_not_known_is_not_taken_for_no_statement(text: str) -> None:
    signer = _signer(Answers(Completed(code=0, stdout=text)), [])
    with pytest.raises(ToolError, match="in an unknown form"):
        signer.statements(REFERENCE, "spdxjson", PUBLIC)


VERIFIED = Completed(code=0, stdout="[]")
FOREIGN = Completed(code=1, stderr=f"{LAST}{OTHER_3}\n")
MISSING = Completed(code=1, stderr=f"{LAST}no matching attestations: \n")
STATED = Completed(code=0, stdout=_envelope({"a": 1}))
WITH_BILLS = replace(PUBLIC, attestations=("spdxjson",))
IMAGES = ("sha256:" + "b" * 64, "sha256:" + "c" * 64)


@pytest.mark.parametrize("whole", [FOREIGN, MISSING], ids=["somebody else's", "none"])
def test_what_somebody_else_states_about_the_whole_hides_nothing_about_its_images(
    whole: Completed,
) -> None:
    answers = Answers(VERIFIED, whole, STATED, STATED)
    found = _signer(answers, []).verify(REFERENCE, WITH_BILLS, images=IMAGES)
    assert found.attestations == (("spdxjson", 2),)
    named = replace(found, images=IMAGES, platforms={IMAGES[0]: "linux/arm64/v8"})
    assert f"manifest   sha256:{'b' * 12} linux/arm64/v8\n" in named.as_text()
    assert f"manifest   sha256:{'c' * 12}\n" in named.as_text()


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        pytest.param((FOREIGN,) * 3, OTHER_3, id="all is somebody else's"),
        pytest.param((MISSING, STATED, FOREIGN), OTHER_3, id="one image's is"),
        pytest.param((FOREIGN, STATED, MISSING), OTHER_3, id="the whole's is, and one lacks"),
        pytest.param((MISSING,) * 3, "each platform's image", id="there is none"),
    ],
)
def test_what_nobody_who_counts_states_is_not_there(
    answers: tuple[Completed, ...], told: str
) -> None:
    signer = _signer(Answers(VERIFIED, *answers), [])
    with pytest.raises(VerificationError, match="no signed attestation of the type") as caught:
        signer.verify(REFERENCE, WITH_BILLS, images=IMAGES)
    assert caught.value.why.endswith(told)


def test_a_registry_that_is_down_is_no_missing_statement() -> None:
    signer = _signer(Answers(VERIFIED, *[BAD] * 4), [])
    with pytest.raises(TransientError):
        signer.verify(REFERENCE, WITH_BILLS, images=IMAGES)


def test_an_identity_is_told_as_the_certificate_has_it() -> None:
    text = '[{"optional": {"Subject": "me@example.org", "Issuer": "https://i"}}]\n'
    policy = Verify(identity="me@example.org", issuer="https://i")
    found = _signer(Answers(Completed(code=0, stdout=text)), []).verify(REFERENCE, policy)
    assert found.signed_by == "me@example.org (https://i)"
    other = _signer(Answers(Completed(code=0)), []).verify(REFERENCE, policy)
    assert other.signed_by == "me@example.org"


def test_only_a_digest_is_signed() -> None:
    with pytest.raises(InputError, match="has no digest"):
        _signer(Answers(), []).sign("registry.example/x:latest", KEY)
    with pytest.raises(InputError, match="verification is not configured"):
        _signer(Answers(), []).verify(REFERENCE, Verify())


def test_a_key_has_a_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.pub").write_text("-----BEGIN-----\nAAAA\n-----END-----\n", encoding="ascii")
    assert fingerprint("a.pub", tmp_path).startswith("key sha256:")
    (tmp_path / "b.pub").write_text("-----BEGIN-----\nAAA\n-----END-----\n", encoding="ascii")
    assert fingerprint("b.pub", tmp_path) == "b.pub"


VERSION: tuple[str, ...] = ("cosign", "version", "--json")
HELP: tuple[str, ...] = ("cosign", "sign", "--help")


# A line of each version's own help.
HELP_1 = "    --no-tlog-upload=false:  -r, --recursive=false:"
HELP_2 = "    -r, --recursive=false:  --tlog-upload=true:"
HELP_2_6 = f"{HELP_2}  --use-signing-config=false:"
HELP_3 = "    -r, --recursive=false:  --use-signing-config=true:"


def _here(told: str, options: str) -> FakeExecutor:
    return FakeExecutor(
        {VERSION: Completed(code=0, stdout=told), HELP: Completed(code=0, stdout=options)}
    )


@pytest.mark.parametrize(
    ("told", "options", "expected"),
    [
        ('{"gitVersion": "devel"}', HELP_2, Cosign(version="devel")),
        ('{"gitVersion": "v2.5.0"}', HELP_2, Cosign(version="v2.5.0")),
        ('{"gitVersion": "v3.1.3"}', HELP_3, Cosign(version="v3.1.3", signing_config=True)),
        ('{"gitVersion": "v10.0.0"}', HELP_3, Cosign(version="v10.0.0", signing_config=True)),
        ("hello", HELP_2, Cosign(version="unknown")),
        ('{"gitVersion": "v2.6.0"}', HELP_2_6, Cosign(version="v2.6.0")),
    ],
)
def test_which_cosign_it_is_its_help_tells(told: str, options: str, expected: Cosign) -> None:
    assert find_cosign(_here(told, options)) == expected


@pytest.mark.parametrize(
    ("told", "options"),
    [
        pytest.param('{"gitVersion": "v1.13.6"}', HELP_1, id="version 1"),
        pytest.param('{"gitVersion": "devel"}', HELP_1, id="version 1 that nobody gave a number"),
        pytest.param('{"gitVersion": "v1.13.6"}', HELP_2, id="its number alone"),
        pytest.param('{"gitVersion": "0.6.0"}', HELP_2, id="version 0"),
        pytest.param("", "--registry-username", id="something that is called so"),
    ],
)
def test_a_cosign_that_is_too_old_is_refused(told: str, options: str) -> None:
    with pytest.raises(ToolError, match="cosign is too old") as caught:
        find_cosign(_here(told, options))
    assert "install version 2 or 3" in caught.value.hint


def test_without_cosign_there_is_a_hint() -> None:
    with pytest.raises(ToolError, match="install version 2 or 3"):
        find_cosign(FakeExecutor())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[sign]\nkey = "a"\nkeyless = true\n', "exclude each other"),
        ('[verify]\nkey = "a"\nidentity = "b"\nissuer = "c"\n', "exclude each other"),
        ('[verify]\nidentity = "b"\n', "needs its issuer"),
        ('[verify]\nidentity-pattern = "("\nissuer = "c"\n', "regular expression"),
        ('[sign]\nkeys = "a"\n', r"did you mean sign\.key"),
    ],
)
def test_what_contradicts_itself_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "buildlib.toml").write_text(f'image = "x"\n{text}', encoding="utf-8")
    with pytest.raises(InputError, match=words):
        load_config(tmp_path, {})
