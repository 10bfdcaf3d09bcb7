"""Which credentials cosign gets for which registry, and what is signed a second time."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from buildlib.errors import AuthorisationError
from buildlib.executor import Completed
from buildlib.git.facts import Changes
from buildlib.project import Project
from buildlib.publish.plan import PublishPlan, make_publish_plan
from buildlib.publish.receipt import (
    GateRecord,
    Receipt,
    TargetRecord,
    new_receipt,
    read_receipt,
    write_receipt,
)
from buildlib.publish.report import as_text
from buildlib.publish.signing import ReleaseSigner, make_verifier
from buildlib.registry.credentials import Credentials
from buildlib.registry.repository import Document, Repository
from buildlib.registry.transport import Transport
from buildlib.versioning.preconditions import Mode

from fakes import PINNED, FakeExecutor, a_console, a_project, git_facts, write_project

DIGEST = "sha256:" + "a" * 64
CONFIG = """\
image = "thing"
[registries.one]
repository = "registry.example/one/thing"
[registries.two]
repository = "registry.example/two/thing"
[sign]
key = "cosign.key"
[verify]
key = "cosign.pub"
"""
HELP: tuple[str, ...] = ("cosign", "sign", "--help")
FOREIGN = (
    "error during command execution: no matching attestations: "
    "accepted signatures do not match threshold, Found: 0, Expected 1\n"
)
NONE = "error during command execution: no matching attestations: \n"


class Cosign(FakeExecutor):
    """Signs, and remembers as whom; `there` are the statements that it finds."""

    def __init__(self, *there: object) -> None:
        super().__init__({HELP: Completed(code=0, stdout="--tlog-upload")})
        self.there = there
        self.accounts: list[tuple[str, str]] = []
        self.failing = 0
        self.foreign = False

    def _answer(self, argv: Sequence[str]) -> Completed:
        if argv[0] != "env":
            return Completed(code=0) if argv[1] == "version" else super()._answer(argv)
        words = list(argv[argv.index("cosign") :])
        folder = next(word for word in argv if word.startswith("DOCKER_CONFIG="))
        text = Path(folder.partition("=")[2], "config.json").read_text(encoding="utf-8")
        ((host, entry),) = json.loads(text)["auths"].items()
        name = base64.b64decode(entry["auth"]).decode().partition(":")[0]
        self.accounts.append((words[-1].partition("@")[0], f"{name} at {host}"))
        self.asked.append(tuple(words))
        if self.failing:
            self.failing -= 1
            return Completed(code=1, stderr="connection refused")
        if words[1] != "verify-attestation":
            return Completed(code=0)
        if self.foreign and not self.did("attest"):
            return Completed(code=1, stderr=FOREIGN)
        lines = "\n".join(map(_envelope, self.there))
        return Completed(code=0 if lines else 1, stdout=lines, stderr="" if lines else NONE)

    def did(self, verb: str) -> int:
        return sum(words[1] == verb for words in self.asked)


def _envelope(predicate: object) -> str:
    payload = json.dumps({"predicate": predicate}).encode()
    return json.dumps({"payload": base64.b64encode(payload).decode()})


def _repository(name: str) -> Repository:
    known = Credentials(username=name, secret="x", source="the test")
    return Repository(Transport("registry.example", known), f"{name}/thing")


class _Held(Repository):
    def manifest(self, reference: str) -> Document:
        assert reference == DIGEST
        return Document(b"{}", "")


def _planned(root: Path) -> tuple[Project, PublishPlan, Receipt]:
    project = a_project(write_project(root, CONFIG), git=git_facts(root=root))
    registries = project.config.registries
    plan = make_publish_plan(
        project, PINNED, Changes(), registries, mode=Mode.RELEASE, in_registry={}
    )
    receipt = new_receipt(project.config, plan, started="")
    receipt.digest = DIGEST
    receipt.gates = [GateRecord(gate="size", state="passed")]
    return project, plan, receipt


def _signer(root: Path, executor: FakeExecutor) -> tuple[ReleaseSigner, PublishPlan, Receipt]:
    project, plan, receipt = _planned(root)
    there = {name: _repository(name) for name in ("one", "two")}
    return ReleaseSigner(project, plan, executor, a_console()[0], there), plan, receipt


def test_two_accounts_on_one_host_each_sign_their_own(tmp_path: Path) -> None:
    cosign = Cosign()
    signer, plan, receipt = _signer(tmp_path, cosign)
    for target in plan.targets:
        signer.sign(target, receipt)
    assert set(cosign.accounts) == {
        (f"registry.example/{name}/thing", f"{name} at registry.example") for name in ("one", "two")
    }


def test_two_accounts_on_one_host_each_verify_their_own(tmp_path: Path) -> None:
    cosign = Cosign()
    project, _, _ = _planned(tmp_path)
    verify = make_verifier(project.config, cosign, {}, a_console()[0])
    for name in ("one", "two"):
        verify(_Held(_repository(name).transport, f"{name}/thing"), DIGEST)
        assert cosign.accounts[-1][1] == f"{name} at registry.example"


def test_what_cosign_did_again_is_counted_where_it_was(tmp_path: Path) -> None:
    cosign = Cosign()
    project, plan, receipt = _planned(tmp_path)
    there = {name: _repository(name) for name in ("one", "two")}
    cosign.failing = 1
    signer = ReleaseSigner(project, plan, cosign, a_console()[0], there)
    for target in plan.targets:
        signer.sign(target, receipt)
    assert [one.transport.tally.retries for one in there.values()] == [1, 0]


BUILD_TYPE = "buildlib/docker-publish/v1"
OURS = {
    "buildDefinition": {"buildType": BUILD_TYPE},
    "runDetails": {"byproducts": [{"name": "gate/size", "annotations": {"state": "passed"}}]},
}
# What BuildKit 0.34 writes by default, without what is in it besides.
BUILDKIT = {
    "buildDefinition": {
        "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/"
        "slsa-definitions.md",
        "externalParameters": {"configSource": {"path": "Dockerfile"}, "request": {}},
    },
    "runDetails": {"builder": {"id": ""}, "metadata": {"invocationId": "4wxk8a"}},
}
OTHERS = [
    BUILDKIT,
    {"runDetails": {"byproducts": [{"uri": "https://example.org/log"}]}},
    {"runDetails": {"byproducts": [{"name": "log"}, {"name": "x", "annotations": {}}]}},
    {"runDetails": {"byproducts": ["x"]}},
    {"runDetails": ["x"]},
    "x",
    None,
]


def test_another_tools_statement_is_no_reason_not_to_give_ours(tmp_path: Path) -> None:
    cosign = Cosign(*OTHERS)
    signer, plan, receipt = _signer(tmp_path, cosign)
    signer.sign(plan.targets[0], receipt)
    assert cosign.did("attest") == 1


def test_and_ours_among_them_is_not_given_again(tmp_path: Path) -> None:
    cosign = Cosign(*OTHERS, OURS)
    signer, plan, receipt = _signer(tmp_path, cosign)
    signer.sign(plan.targets[0], receipt)
    assert cosign.did("attest") == 0


def test_buildkits_provenance_and_ours_about_one_image_are_both_attached_once(
    tmp_path: Path,
) -> None:
    """An image of one platform without an index, no gate, and provenance v1 from BuildKit."""
    file = tmp_path / "one.buildkit.json"
    file.write_text(json.dumps(BUILDKIT), encoding="utf-8")
    known = {"platform": "linux/amd64", "digest": DIGEST, "file": file.name}
    mine = {**OURS, "runDetails": {}}
    for there, attached in (
        ((), 2),
        ((BUILDKIT,), 1),
        ((mine,), 1),
        ((BUILDKIT, mine), 0),
    ):
        cosign = Cosign(*there)
        signer, plan, receipt = _signer(tmp_path, cosign)
        receipt.gates.clear()
        receipt.provenance[:] = [{**known, "type": "slsaprovenance1"}]
        signer.sign(plan.targets[0], receipt)
        assert cosign.did("attest") == attached


def test_somebody_elses_statements_are_no_reason_not_to_give_ours(tmp_path: Path) -> None:
    cosign = Cosign(OURS)
    cosign.foreign = True
    signer, plan, receipt = _signer(tmp_path, cosign)
    signer.sign(plan.targets[0], receipt)
    assert cosign.did("attest") == 1
    signer.sign(plan.targets[0], receipt)
    assert cosign.did("attest") == 1


class _Refused(Cosign):
    """Meets a registry that tells what it was told."""

    def _answer(self, argv: Sequence[str]) -> Completed:
        answer = super()._answer(argv)
        refused = argv[0] == "env"
        return Completed(code=1, stderr="DENIED: no pass-77ab\n") if refused else answer


def test_what_cosign_is_refused_with_is_told_without_the_password(tmp_path: Path) -> None:
    project, plan, receipt = _planned(tmp_path)
    known = Credentials(username="one", secret="pass-77ab", source="the test")
    there = Repository(Transport("registry.example", known), "one/thing")
    signer = ReleaseSigner(project, plan, _Refused(), a_console()[0], {"one": there})
    with pytest.raises(AuthorisationError, match=r"DENIED: no \*\*\*"):
        signer.sign(plan.targets[0], receipt)
    verify = make_verifier(project.config, _Refused(), {}, a_console()[0])
    with pytest.raises(AuthorisationError, match=r"DENIED: no \*\*\*"):
        verify(_Held(there.transport, "one/thing"), DIGEST)


def test_a_receipt_has_nothing_that_opens_what_a_registry_spoke_of(tmp_path: Path) -> None:
    _, _, receipt = _planned(tmp_path)
    told = "see https://me:plant@registry.example/x"
    receipt.gates[0].detail = told
    receipt.targets["one"] = TargetRecord(repository="registry.example/one/thing", error=told)
    write_receipt(tmp_path / "receipt.json", receipt)
    kept = read_receipt(tmp_path / "receipt.json")
    assert kept
    wanted = "see https://***@registry.example/x"
    assert (kept.gates[0].detail, kept.targets["one"].error) == (wanted, wanted)
    assert "plant" not in as_text(receipt)


class _Unsigned(Cosign):
    """Finds no signature until it has signed."""

    def _answer(self, argv: Sequence[str]) -> Completed:
        answer = super()._answer(argv)
        signed = "verify" not in argv or self.did("sign")
        return answer if signed else Completed(code=10, stderr="no signatures found\n")


def test_cosign_is_looked_at_once_and_asked_no_more_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildlib.publish.signing.tracked_key", lambda _: None)
    cosign = _Unsigned()
    signer, plan, receipt = _signer(tmp_path, cosign)
    receipt.platforms = {"linux/amd64": "sha256:" + "b" * 64, "linux/arm64": "sha256:" + "c" * 64}
    cosign.answers["cosign", "public-key"] = Completed(code=0)
    signer.check()
    cosign.asked.clear()
    signer.sign(plan.targets[0], receipt)
    # Not which of the manifests it is that nobody has signed: all of it is signed next.
    verbs = ["verify", "sign", "verify-attestation", "attest", "verify"]
    assert [words[1] for words in cosign.asked] == verbs
