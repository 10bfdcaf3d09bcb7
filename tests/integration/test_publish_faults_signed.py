"""Publishing with signatures when cosign or its requests fail: faults.md, rows 49, 51 and 53."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import faultplan as plan
import faults
import pytest
from conftest import git
from faultplan import IMPATIENT, Signed, while_signed
from faults import SIGNED, Setting
from registries import KNOWN, PASSWORD, Fault, Proxy
from releases import PATH, PLAIN, Release, make_release, only

from buildlib.errors import AuthorisationError, BuildlibError, VerificationError, exit_code_of

pytestmark = [
    pytest.mark.release,
    pytest.mark.unmeasured,
    pytest.mark.timeout(2400),
    pytest.mark.usefixtures("quick_cosign"),
]
setting, digest, _afresh = faults.setting_with_one_statement, faults.digest, faults.afresh
quick_cosign = faults.quick_cosign


@pytest.mark.parametrize("cells", plan.SIGNED)
def test_faults_that_pass_are_survived_at_what_cosign_asks(
    setting: Setting, digest: str, cells: tuple[Signed, ...]
) -> None:
    for which, proxy in enumerate(setting.proxies):
        proxy.once[:] = while_signed(cells, which)
    assert setting.code(SIGNED, IMPATIENT) == 0
    assert [proxy.once for proxy in setting.proxies] == [[], []]
    setting.finished(digest)


def test_a_refusal_of_cosign_ends_it_and_the_next_run_goes_on(
    setting: Setting, digest: str
) -> None:
    for which, proxy in enumerate(setting.proxies):
        proxy.once[:] = while_signed(plan.ENDED_SIGNED, which)
    with pytest.raises(BuildlibError) as caught:
        setting.release.publish(SIGNED)
    assert exit_code_of(caught.value) == 5
    assert [proxy.once for proxy in setting.proxies] == [[], []]
    assert str(caught.value).count("refuses cosign") == len(setting.proxies)
    assert setting.release.tags == [{}, {}]
    setting.release.publish(SIGNED)
    setting.finished(digest)


def test_row_49_without_cosign_nothing_is_signed_and_nothing_published(
    setting: Setting, digest: str, tmp_path: Path
) -> None:
    assert digest
    env = only(tmp_path / "bin", "docker", "git", "env")
    done = setting.release.invoke("docker-publish", "--resume", **env)
    assert done.returncode == 3, done.stderr
    assert "cosign not found" in done.stderr
    assert setting.release.tags == [{}, {}]


def test_row_51_what_a_third_party_could_not_verify_gets_no_tag(
    setting: Setting, digest: str, tmp_path: Path
) -> None:
    assert digest
    release = setting.release
    public = release.root.parent / "cosign.pub"
    kept = public.read_bytes()
    subprocess.run(
        ["cosign", "generate-key-pair"],
        cwd=tmp_path,
        env=release.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )

    def replaced(step: str) -> None:
        # Later than the key is compared with the public one.
        if step == "gates":
            public.write_bytes((tmp_path / "cosign.pub").read_bytes())

    try:
        with pytest.raises(BuildlibError) as caught:
            release.publish(SIGNED, reached=replaced)
    finally:
        public.write_bytes(kept)
    assert exit_code_of(caught.value) == VerificationError.exit_code
    assert release.tags == [{}, {}]


def _everything_readable(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every file, and what is inside of archives and of signed statements."""
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield path, data
        if data[:2] == b"\x1f\x8b":
            yield path, gzip.decompress(data)
        if path.suffix == ".tar":
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for entry in tar:
                    stream = tar.extractfile(entry)
                    yield path, stream.read() if stream else b""
        if b'"payload"' in data[:2000]:
            yield path, base64.b64decode(json.loads(data)["payload"])


def _indiscreet(proxy: Proxy, secret: str) -> Iterator[tuple[dict[str, Fault], int]]:
    """Yield what a registry may say that holds a secret, and the code that it ends with."""

    def saying(status: int, text: str, **headers: str) -> Fault:
        said = {"errors": [{"code": "DENIED", "message": text}]}
        return Fault(status=status, headers=headers, body=json.dumps(said).encode())

    address = f"http://me:{secret}@{proxy.host}/v2/{PATH}/blobs/uploads/x?_state={secret}"
    links = f"{address} or https://me:{secret}@git.example/x"
    yield {"POST ": saying(403, f"no {PASSWORD} and no {KNOWN.basic}, see {links}")}, 5
    # Where a blob is to be sent: first nobody is there, and then it is no answer at all.
    yield {"POST ": Fault(status=202, headers={"Location": address})}, 4
    yield {"POST ": Fault(status=202, headers={"Location": f"https://{secret}:{secret}/x"})}, 4
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{proxy.host}/token",service="x"'}
    given = Fault(status=200, body=json.dumps({"token": secret}).encode())
    yield {"GET /token": given, ".": saying(401, f"{secret} is no token", **challenge)}, 5


def _told_cosign(release: Release, proxy: Proxy, secret: str) -> None:
    """Let cosign, which tells all that it hears, meet the same registry in what it sends."""
    for said, _ in islice(_indiscreet(proxy, secret), 3):

        def reached(step: str, said: dict[str, Fault] = said) -> None:
            # From here on whatever is sent there is cosign's.
            if step == "push one":
                proxy.always.update(said)

        with pytest.raises(BuildlibError, match="cosign") as caught:
            release.publish(SIGNED._replace(registries=("one",)), reached=reached)
        told = str(caught.value), json.dumps(release.receipt)
        assert not [text for text in told for one in (secret, PASSWORD, KNOWN.basic) if one in text]
        assert release.receipt["targets"]["one"]["error"]
        proxy.always.clear()


def test_row_53_secrets_are_in_nothing_that_was_written(setting: Setting, tmp_path: Path) -> None:
    planted = {
        "variable": "plant-variable-9d1f",
        "remote": "plant-remote-77ab",
        "source": "plant-source-31c0",
        "answer": "plant-answer-52e8",
        "arg": "plant-arg-0b6c",
        "reason": "plant-reason-88fa",
    }
    hosts = dict(setting.release.hosts)
    source = f'source = "https://me:{planted["source"]}@git.example/x"\n'
    release = make_release(
        tmp_path / "work/repo",
        hosts,
        setting.servers,
        config=source,
        gates=["size"],
        provenance=True,
    )
    git(release.root, "remote", "add", "origin", f"https://me:{planted['remote']}@git.example/x")
    release.env |= {
        "SOME_TOKEN": planted["variable"],
        "https_proxy": f"http://me:{planted['arg']}@127.0.0.1:1",
        "no_proxy": "*",
        "COSIGN_PASSWORD": release.env["COSIGN_PASSWORD"],
    }
    said = {"errors": [{"code": "DENIED", "message": f"token {PASSWORD} no good"}]}
    setting.proxy.plan[8] = Fault(status=403, body=json.dumps(said).encode())
    with pytest.raises(AuthorisationError) as caught:
        release.publish(PLAIN)
    assert PASSWORD not in str(caught.value)
    setting.proxy.plan.clear()
    for said_instead, code in _indiscreet(setting.proxy, planted["answer"]):
        setting.proxy.always.update(said_instead)
        debugged = release.invoke("docker-publish", "--resume", "--json", BUILDLIB_DEBUG="1")
        assert debugged.returncode == code, debugged.stderr
        assert "Traceback" in debugged.stderr
        told = release.invoke("docker-publish", "--resume")
        assert told.returncode == code, told.stderr
        kept = (release.root / "dist/receipt.json").read_text(encoding="utf-8")
        assert '"finished": false' in kept
        assert planted["answer"] not in kept
        setting.proxy.always.clear()
    _told_cosign(release, setting.proxy, planted["answer"])
    reason = f"see https://me:{planted['reason']}@tracker.example/1"
    text = release.publish(SIGNED._replace(skips=("scan",), reason=reason))
    skipped = ("--skip-gate", "scan", "--reason", reason)
    done = release.invoke("docker-publish", "--resume", "--json", *skipped, BUILDLIB_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert "1.2.3" in text
    key = (release.root.parent / "cosign.key").read_text(encoding="utf-8").splitlines()[1]
    wanted = [*planted.values(), PASSWORD, KNOWN.basic, release.env["COSIGN_PASSWORD"], key]
    written = "".join(release.printed)
    assert not [secret for secret in wanted if secret in written]
    folders = [release.root / "dist", *(server.root for server in setting.servers)]
    number = 0
    for path, data in _everything_readable(*folders):
        number += 1
        assert not [secret for secret in wanted if secret.encode() in data], path
        # Nor where this machine keeps the project.
        if path.suffix != ".tar":
            assert str(tmp_path).encode() not in data, path
    assert number > 20
