"""The images of the fake engine: such as a machine has, and such as no machine should have."""

from __future__ import annotations

from enginesocket import Image

ALPINE = ("ADD alpine-minirootfs-3.24.0-x86_64.tar.gz / # buildkit", 8_400_000)
CLEAN_NAME = "registry.example.com/shop/checkout"


def _service(version: str, program: int, env: str, hours: int) -> Image:
    return Image(
        [f"{CLEAN_NAME}:{version}"],
        hours,
        [
            ALPINE,
            ('CMD ["/bin/sh"]', 0),
            ("COPY /out/ / # buildkit", 41_200),
            (f"COPY checkout-{version} /usr/local/bin/checkout # buildkit", program),
            ("WORKDIR /app", 4_096),
            ("ENV CHECKOUT_MODE=production", 0),
            ("USER 1001:1001", 0),
        ],
        env=["PATH=/usr/local/bin:/usr/bin:/bin", env],
        labels={
            "org.opencontainers.image.title": "checkout",
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.source": "https://git.example.com/shop/checkout",
        },
        user="1001:1001",
    )


def usual() -> list[Image]:
    """Return what a developer's machine has."""
    new = _service("2.4.0", 14_300_000, "CHECKOUT_WORKERS=8", 2)
    new.platforms = ("linux/amd64", "linux/arm64")
    new.containers = [("checkout-web", "running"), ("checkout-worker", "running")]
    old = _service("2.3.1", 12_100_000, "CHECKOUT_WORKERS=4", 24 * 9)
    database = [("RUN apt-get update && apt-get install -y postgresql-18", 268_000_000)]
    database += [("ADD rootfs.tar.xz /", 74_800_000), ("EXPOSE 5432", 0)]
    return [
        new,
        old,
        Image(["alpine:3.24", "alpine:latest"], 24 * 40, [ALPINE, ('CMD ["/bin/sh"]', 0)]),
        Image(["postgres:18"], 24 * 3, database, containers=[("db", "running")]),
        Image(["redis:8"], 24 * 70, [("RUN make install", 31_000_000)]),
        Image([], 30, [ALPINE, ("RUN go build ./...", 612_000_000)]),
        Image([], 24 * 5, [("COPY . . # buildkit", 90_400)], containers=[("try", "exited")]),
    ]


MARKUP = "<script>document.title='taken'</script><img src=x onerror=alert(1)>:1"
REVERSED = "\u202eexe.gnp.egami:1"
ENDLESS = "registry.example.com/" + "a" * 3_970 + ":1"
SENTENCE = (
    "registry.example.com/a/very/long/path/with/many/parts/and-a-long-name-that-goes-on"
    ":2026.11.30-build.1234567-feature-branch-name"
)


def hostile() -> list[Image]:
    """Return images whose every text tries something."""
    labels = {MARKUP: MARKUP, "rtl": REVERSED, "lines": "one\ntwo", "long": "b" * 4_000}
    steps = [(f"RUN echo {MARKUP}", 1_000), ("RUN " + "c" * 4_000, 2_000)]
    odd = Image(["safe:1", MARKUP, REVERSED, ENDLESS], 1, steps, labels=labels)
    odd.env = [f"A={MARKUP}", f"B={ENDLESS}"]
    odd.containers = [(MARKUP, "running"), (ENDLESS, MARKUP)]
    long = [Image([SENTENCE], 2, steps), Image([ENDLESS], 3, steps), Image([MARKUP], 4, steps)]
    many = Image([f"many:{number}" for number in range(60)], 5, steps)
    return [odd, *long, Image([REVERSED], 5, steps), many, Image([], 6, steps)]


def thousands(number: int) -> list[Image]:
    """Return a number of images, of which every tenth has no tag."""
    return [
        Image(
            [f"registry.example.com/team-{index % 40}/image-{index:05}:1.2.3"]
            if index % 10
            else [],
            index,
            [("RUN make", 1_000 + index)],
        )
        for index in range(number)
    ]
