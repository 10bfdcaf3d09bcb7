"""What an index says of itself; that it is pushed is held against real registries."""

from __future__ import annotations

import json

from buildlib.registry.client import INDEX, MANIFEST, Document
from buildlib.registry.push import manifests_of


def _entry(digest: str, **platform: str) -> dict[str, object]:
    return {"digest": digest, "platform": platform} if platform else {"digest": digest}


def test_an_index_of_an_official_image_is_read() -> None:
    entries = [
        _entry("sha256:1", os="linux", architecture="amd64"),
        _entry("sha256:2", os="unknown", architecture="unknown"),
        _entry("sha256:3", os="linux", architecture="arm", variant="v7"),
        _entry("sha256:4", os="linux", architecture="arm64", variant="v8"),
        _entry("sha256:5"),
    ]
    data = json.dumps({"manifests": entries}).encode()
    assert manifests_of(Document(data, INDEX)) == {
        "sha256:1": "linux/amd64",
        "sha256:3": "linux/arm/v7",
        "sha256:4": "linux/arm64",
        "sha256:5": "",
    }
    assert manifests_of(Document(data, MANIFEST)) == {}
