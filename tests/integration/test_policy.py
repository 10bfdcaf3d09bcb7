"""The policy on real images: this repository's own, and one that breaks each rule."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, Checkout
from gitscript import commit_all

pytestmark = pytest.mark.engine
CONFIG = """
title = "thing"
description = "does things"
licenses = "MIT"
source = "https://example.org/thing"
"""
SERVES = "[smoke]\nport = 8080\n"


Message = tuple[str, str]


@dataclass(frozen=True)
class Broken:
    """Lines of a Dockerfile, and the rules that they break with a part of what is said."""

    lines: str
    said: tuple[Message, ...]
    config: str = CONFIG


EVERYTHING = """\
RUN cp /bin/busybox /su && chmod 4755 /su
HEALTHCHECK CMD true
ENTRYPOINT exec sleep 1
ENV DB_PASSWORD=hunter2
ARG API_TOKEN=hunter3
RUN echo built
RUN mkdir -p /var/cache/apk && head -c 5000 /bin/busybox > /var/cache/apk/APKINDEX
RUN echo x > /conf && chmod 666 /conf
RUN head -c 900000 /dev/urandom > /noise
COPY --from=other /bin/busybox /bin/other
RUN cd /tmp && ls
USER 0:0"""
BROKEN = {
    "in all ways": Broken(
        EVERYTHING,
        (
            ("non-root", "it runs as 0"),
            ("no-setuid", "mode 4755"),
            ("exec-healthcheck", "HEALTHCHECK runs in a shell"),
            ("exec-entrypoint", "ENTRYPOINT is a line for a shell"),
            ("no-secrets", "the variable DB_PASSWORD looks like a secret"),
            ("no-secrets", "has the value of API_TOKEN"),
            ("no-package-cache", "5 kB that apk has kept"),
            ("no-world-writable", "mode 0666"),
            ("size-budget", "10 B are allowed"),
            ("layer-budget", "and 850 kB are allowed"),
            ("complete-labels", "the label com.example.owner is missing"),
            ("pinned-base", "is not pinned to its digest"),
            ("platform-matches", "a program for arm64, and the image is for amd64"),
            ("hadolint/DL3003", "WORKDIR"),
        ),
        f'{CONFIG}[smoke]\nsize-budget = "10 B"\n'
        '[policy]\nlayer-budget = "850 kB"\nlabels = ["com.example.owner"]\n',
    ),
    "as a server without a health check": Broken(
        "USER 1001:1001",
        (
            ("exec-healthcheck", "it serves, and has no HEALTHCHECK"),
            ("pinned-base", "is not pinned to its digest"),
        ),
        CONFIG + SERVES,
    ),
}  # fmt: skip


def _dockerfile(alpine: str, lines: str) -> str:
    head = f"FROM --platform=linux/arm64 {alpine} AS other\nFROM {alpine}\n"
    return f'{head}{lines}\nCMD ["true"]\n'


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_each_fault_is_found_by_its_rule(
    make_checkout: Callable[..., Checkout], alpine: str, broken: Broken
) -> None:
    checkout = make_checkout(_dockerfile(alpine, broken.lines), broken.config)
    commit_all(checkout.root)
    built = checkout.invoke("docker-build", "--platform", "linux/amd64")
    assert built.returncode == 0, built.stderr
    done = checkout.invoke("docker-policy", "--json", "--release")
    assert done.returncode == 7, done.stdout + done.stderr
    report = json.loads(done.stdout)
    errors = [(f["rule"], f["message"]) for f in report["findings"] if f["level"] == "error"]
    # That hadolint sees some of these faults as well is what it is for.
    found = {rule for rule, _ in errors if not rule.startswith("hadolint/")}
    assert found == {rule for rule, _ in broken.said if not rule.startswith("hadolint/")}
    for rule, part in broken.said:
        assert [message for name, message in errors if name == rule and part in message], errors
    assert "hunter" not in done.stdout + done.stderr


@pytest.mark.toolchain
def test_this_repositorys_image_keeps_every_rule_on_both_platforms(
    tmp_path: Path, own_archive: Path
) -> None:
    own, sarif = Checkout(ROOT, "dockerutilities"), tmp_path / "reports" / "policy.sarif"
    done = own.invoke("docker-policy", "--image", str(own_archive), "--sarif", str(sarif))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "linux/amd64, linux/arm64: 0 errors" in done.stdout
    text = sarif.read_text(encoding="utf-8")
    (run,) = json.loads(text)["runs"]
    assert {result["level"] for result in run["results"]} <= {"warning", "note"}
    notes = [one["message"]["text"] for one in run["results"] if one["level"] == "note"]
    saw = "it starts as 0, and smoke saw every process run as 1001"
    assert sorted(notes) == [f"linux/amd64: {saw}", f"linux/arm64: {saw}"]
    assert str(ROOT) not in text
    assert str(tmp_path) not in text


CHECKED = """\
# check=skip=WorkdirRelativePath
FROM nowhere.invalid/unneeded:1 AS Unneeded
RUN true

FROM {base} AS last
COPY ignored* /x/
COPY ignored /y/
WORKDIR relative
CMD echo
"""


@pytest.mark.toolchain
def test_what_the_frontend_warns_of_is_a_finding_where_there_are_such_checks(
    make_checkout: Callable[..., Checkout], alpine: str
) -> None:
    config = '[[policy.ignore]]\nrule = "build-check/JSONArgsRecommended"\nreason = "a test"\n'
    checkout = make_checkout(f"FROM {alpine}\nCOPY tasks.py /\n", config)
    built = checkout.invoke("docker-build")
    assert built.returncode == 0, built.stderr
    checkout.dockerfile(CHECKED.format(base=alpine))
    (checkout.root / ".dockerignore").write_text("ignored\n", encoding="utf-8")
    done = checkout.invoke("docker-policy", "--json")
    assert done.returncode in {0, 7}, done.stderr
    report = json.loads(done.stdout)
    found = {
        (one["rule"], one["line"], one["level"])
        for one in (*report["findings"], *report["ignored"])
        if one["rule"].startswith("build-check/")
    }
    if os.environ.get("BUILDLIB_TOOLCHAIN") == "current":
        # Of all stages what can be read of them, and of the one that is built the rest.
        assert found == {
            ("build-check/StageNameCasing", 2, "warning"),
            ("build-check/CopyIgnoredFile", 7, "warning"),
            ("build-check/JSONArgsRecommended", 9, "warning"),
        }
        assert report["left_out"] == []
        checkout.dockerfile("FROM nowhere.invalid/base:1\n")
        done = checkout.invoke("docker-policy")
        assert done.returncode == 3, done.stdout
        assert "the build checks could not be made" in done.stderr
        assert "nowhere.invalid/base:1" in done.stderr
    else:
        assert found == set()
        (said,) = report["left_out"]
        assert re.search(r"^build checks left out: .* since 0\.1[45]", said)


def test_without_hadolint_the_gate_has_not_passed(tmp_path: Path, own_image: str) -> None:
    own = Checkout(ROOT, own_image)
    for program in ("docker", "git"):
        found = shutil.which(program)
        assert found
        (tmp_path / program).symlink_to(found)
    for words in (("docker-policy", "--image", own_image), ("docker-smoke",)):
        done = own.invoke(*words, PATH=str(tmp_path))
        assert done.returncode == 3, done.stdout + done.stderr
        assert "hadolint not found: the policy can't be checked" in done.stderr
        # Smoke says so before it builds anything.
        assert "buildx build" not in done.stderr


@pytest.mark.toolchain
def test_smoke_holds_the_image_against_the_policy(
    make_checkout: Callable[..., Checkout], alpine: str
) -> None:
    config = f'{CONFIG}[smoke]\ncommands = [["true"]]\n'
    checkout = make_checkout(_dockerfile(alpine, "USER 0:0"), config)
    done = checkout.invoke("docker-smoke", "--platform", "linux/amd64")
    assert done.returncode == 7
    assert "linux/amd64: policy: failed: " in done.stdout
    assert "non-root: it runs as 0" in done.stdout
    # hadolint sees it as well, in the Dockerfile.
    assert "hadolint/DL3002: Dockerfile:3: " in done.stdout
    assert "invoke docker-policy --image" in done.stdout
    without = make_checkout(_dockerfile(alpine, "USER 0:0"), f"{config}policy = false\n", "without")
    assert without.invoke("docker-smoke").returncode == 0
    ignored = config + "".join(
        f'[[policy.ignore]]\nrule = "{rule}"\nreason = "a test"\nuntil = 2999-12-31\n'
        for rule in ("non-root", "hadolint")
    )
    done = make_checkout(_dockerfile(alpine, "USER 0:0"), ignored, "ignored").invoke("docker-smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\npolicy " in done.stdout
