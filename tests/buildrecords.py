"""Records of builds that nobody made: a shop's, one with hostile names, and long ones."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from jsonschema import Draft202012Validator

from buildlib.dockerfile.definitions import read_written
from buildlib.records.record import File, LargeFile, Layer, Record, Step

_SCHEMA: Final = Path(__file__).parent.parent / "docs" / "reference" / "record.schema.json"
_VALIDATOR: Final = Draft202012Validator(json.loads(_SCHEMA.read_text("utf-8")))
MARKUP: Final = "</pre></script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
DOCKERFILE = """\
FROM golang:1.27 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download && go build -trimpath -ldflags "-X main.version=$VERSION" ./cmd/shop \
  && go vet ./... && go test -count=1 ./internal/catalogue/... ./internal/payments/...
FROM alpine:3.24
COPY --from=build /out/shop /usr/local/bin/shop
"""
BEGAN: Final = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
DIGEST: Final = f"sha256:{'d1' * 32}"
# Digest, inputs, name, begin, seconds, and whether it was cached.
_STEPS = (
    ("0", "", "[internal] load build definition from Dockerfile", 0.0, 0.2, False),
    ("1", "", "[build 1/4] FROM docker.io/library/golang:1.27", 0.2, 0.0, True),
    ("2", "1", "[build 2/4] WORKDIR /src", 0.2, 0.0, True),
    ("3", "2", "[build 3/4] COPY go.mod go.sum ./", 0.3, 0.4, False),
    ("4", "3", "[build 4/4] {run}", 0.7, 31.2, False),
    ("5", "", "[stage-1 1/2] FROM docker.io/library/alpine:3.24", 0.2, 2.5, False),
    ("6", "45", "[stage-1 2/2] COPY --from=build /out/shop /usr/local/bin/shop", 31.9, 0.3, False),
    ("7", "", "exporting to image", 32.2, 1.4, False),
)


def _step(number: str, inputs: str, name: str, begin: float, seconds: float, done: bool) -> Step:
    run = read_written(DOCKERFILE).instructions[3].text
    started = BEGAN + timedelta(seconds=begin)
    return Step(
        digest=f"sha256:{number * 64}",
        name=name.format(run=run),
        inputs=tuple(f"sha256:{one * 64}" for one in inputs),
        started=started.isoformat(),
        ended=(started + timedelta(seconds=seconds)).isoformat(),
        seconds=seconds,
        cached=done,
        log=("go: downloading modules", "compiling the shop") if number == "4" else (),
    )


def check_record(text: str) -> None:
    """Check a record against the schema in the documentation."""
    _VALIDATOR.validate(json.loads(text))


def _layers(base: int, own: int) -> tuple[Layer, ...]:
    copied = "COPY /out/shop /usr/local/bin/shop # buildkit"
    return tuple(Layer("linux/amd64", size, name) for name, size in (("", base), (copied, own)))


def shop() -> tuple[Record, Record]:
    """Return two builds of a shop: a file and an argument changed in between."""
    written = read_written(DOCKERFILE)
    steps = tuple(_step(*one) for one in _STEPS)
    before = Record(
        id="20260228T170000.000Z-0a1b2c3d",
        task="docker-publish",
        started=BEGAN.isoformat(),
        seconds=12.5,
        image="example/shop",
        version="1.4.0",
        platforms=("linux/amd64",),
        native="linux/amd64",
        size=24_800_000,
        digest=f"sha256:{'c0' * 32}",
        argv=("docker", "buildx", "build", "--file", "Dockerfile", "."),
        args={"VERSION": "1.4.0", "API_TOKEN": "hunter22", "CHANNEL": "stable"},
        bases={"docker.io/library/alpine:3.24": f"sha256:{'a1' * 32}"},
        git={"revision": "4f1c2d3", "branch": "main", "dirty": False},
        tools={"docker": "29.1.0", "buildx": "0.30.0", "buildkit": "0.26.0"},
        syntax=written.syntax,
        escape=written.escape,
        instructions=written.instructions,
        files={
            "go.mod": File(mode="100644", size=310, digest="1"),
            "go.sum": File(mode="100644", size=48_000, digest="1"),
        },
        output="oci",
        layers=_layers(9_000_000, 15_700_000),
        packages={"linux/amd64": {"go/chi": "v5.0.0", "go/pgx": "v5.7.0", "go/old": "v1.0.0"}},
        steps=tuple(
            replace(one, cached=number in {1, 2, 3}, seconds=one.seconds and one.seconds / 3)
            for number, one in enumerate(steps)
        ),
        gates=({"gate": "smoke", "state": "passed"}, {"gate": "policy", "state": "passed"}),
        registries=(
            {"registry": "hub", "repository": "docker.io/example/shop", "tags": {"1.4.0": {}}},
        ),
    )
    cause = "file changed: go.sum"
    now = replace(
        before,
        id="20260301T090000.000Z-4d5e6f70",
        version="1.5.0",
        seconds=33.9,
        size=25_100_000,
        digest=DIGEST,
        args={**before.args, "VERSION": "1.5.0", "API_TOKEN": "hunter33"},
        files={**before.files, "go.sum": File(mode="100644", size=48_100, digest="2")},
        layers=_layers(9_000_000, 16_000_000),
        largest=(LargeFile("linux/amd64", "usr/local/bin/shop", 15_900_000),),
        packages={"linux/amd64": {"go/chi": "v5.1.0", "go/pgx": "v5.7.0", "go/new": "v1.0.0"}},
        steps=tuple(
            replace(one, cause=cause if number in {3, 4, 6} else "")
            for number, one in enumerate(steps)
        ),
        warnings=("FromAsCasing: 'as' and 'FROM' keywords' casing do not match",),
    )
    return before, now


def many(number: int) -> Record:
    """Return a build with many steps and long logs, of twelve stages."""
    steps, stages = list[Step](), 12
    for one in range(number):
        stage, place = one % stages, one // stages
        started = BEGAN + timedelta(seconds=place * 2)
        name = f"[stage{stage} {place + 1}/{number // stages + 1}] RUN"
        steps.append(
            Step(
                digest=f"sha256:{one:064}",
                name=f"{name} --mount=type=cache,target=/root/.cache make -C /src/module-{one} "
                f"all install DESTDIR=/out/{one} && rm -rf /var/lib/apt/lists/* /tmp/x{one}",
                inputs=(f"sha256:{one - stages:064}",) if one >= stages else (),
                started=started.isoformat(),
                ended=(started + timedelta(seconds=1 + one % 2)).isoformat(),
                seconds=1 + one % 2,
                cached=one % 3 == 0,
                log=tuple(f"line {line} of step {one} {'x' * 100}" for line in range(101)),
                cause="" if one % 3 == 0 else f"file changed: src/module-{one}/main.c",
            )
        )
    _, now = shop()
    return replace(now, steps=tuple(steps))


def hostile() -> Record:
    """Return a build in which everything that somebody names is markup."""
    _, now = shop()
    step = Step(
        digest=MARKUP,
        name=f"[{'x' * 300} 1/2] RUN {MARKUP}",
        started=BEGAN.isoformat(),
        error=MARKUP,
        log=(MARKUP, "a" * 500),
        warnings=(MARKUP,),
        cause=MARKUP,
    )
    names = {MARKUP: MARKUP}
    return replace(
        now,
        id=MARKUP,
        task=MARKUP,
        image=MARKUP,
        version=MARKUP,
        result="failed",
        error=MARKUP,
        digest=MARKUP,
        args=names,
        bases=names,
        tools=names,
        argv=(MARKUP,),
        files={MARKUP: File(mode="100644", size=1, digest="1")},
        git={"revision": MARKUP},
        layers=(Layer(MARKUP, 1, MARKUP),),
        largest=(LargeFile(MARKUP, MARKUP, 1),),
        packages={MARKUP: names},
        warnings=(MARKUP,),
        gates=({"gate": MARKUP, "state": MARKUP},),
        registries=({"repository": MARKUP, "tags": names, "digest": MARKUP, "error": MARKUP},),
        steps=(step, replace(step, digest="2", name=MARKUP, error="", ended=BEGAN.isoformat())),
    )
