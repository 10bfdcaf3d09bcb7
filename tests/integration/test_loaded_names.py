"""An engine finds what it loads by the name that it was given, whatever form the archive has."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import pytest
from conftest import docker
from ociwriter import OciWriter
from savedwriter import write_saved

from buildlib.executor import PlumbumExecutor
from buildlib.smoke.load_image import given

pytestmark = pytest.mark.engine


def _archive(folder: Path, form: str) -> Path:
    if form == "docker save":
        return write_saved(folder / "image.tar", {"a": b"1"}, {"b": b"2"})
    writer = OciWriter()
    kind = f"application/vnd.oci.image.layer.v1.{form}"
    return writer.write(folder / "image.tar", writer.image([writer.layer({"a": b"1"}, kind)]))


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("thing", "tar+gzip"),
        ("owner/thing", "tar+gzip"),
        ("docker.io/owner/thing", "tar"),
        ("localhost/thing", "tar+zstd"),
        ("[::1]:5000/owner/thing", "tar+gzip"),
        ("owner/thing", "docker save"),
    ],
)
def test_what_is_loaded_is_found_by_its_name_and_gone_afterwards(
    tmp_path: Path, name: str, form: str
) -> None:
    tag = f"{name}:loaded-{secrets.token_hex(4)}"
    ask = ("docker", "image", "inspect", "--format", "{{.Id}}", tag)
    with given(str(_archive(tmp_path, form)), tag, PlumbumExecutor(dict(os.environ), tmp_path)):
        subprocess.run(ask, check=True, capture_output=True)
    assert subprocess.run(ask, check=False, capture_output=True).returncode != 0
    assert tag.rpartition(":")[2] not in docker("image", "ls")
