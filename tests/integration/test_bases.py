"""Base images in a real registry: told about, held against it, and pinned."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from conftest import Checkout, load_script
from ociwriter import OciWriter
from registries import KNOWN, Fault, Server, docker_config, fault_proxy, free_port, registry

from buildlib.image.archive import open_archive
from buildlib.registry.repository import Repository
from buildlib.registry.tags import put_tag
from buildlib.registry.transfer import push_archive
from buildlib.registry.transport import Transport
from buildlib.retry import Patience

STANDINS = load_script("standins")
PLATFORMS = {"amd64": ("linux", "amd64"), "arm64": ("linux", "arm64", "v8")}
BOTH = tuple(PLATFORMS)
KEYS = ("os", "architecture", "variant")
Make = Callable[..., Checkout]
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@dataclass
class Shelf:
    """A registry's base images, in a repository that nobody else has."""

    server: Server
    folder: Path
    path: str = field(default_factory=lambda: f"team-{secrets.token_hex(4)}/alpine")

    @property
    def name(self) -> str:
        return f"{self.server.host}/{self.path}"

    def put(
        self, *tags: str, arches: tuple[str, ...] = BOTH, days: int = 3, index: bool = True
    ) -> str:
        """Let the tags stand for a new image that is so many days old; return its digest.

        It is as an official image is: with a variant that says nothing, and an attestation.
        """
        writer = OciWriter()
        made = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        images = [
            {
                **writer.image(
                    [writer.layer({"x": secrets.token_bytes(9)})], platform=platform, created=made
                ),
                "platform": dict(zip(KEYS, platform, strict=False)),
            }
            for platform in [*(PLATFORMS[arch] for arch in arches), ("unknown", "unknown")]
        ]
        whole = writer.index(*images) if index else images[0]
        path = writer.write(self.folder / "base.tar", whole)
        repository = Repository(Transport(self.server.host, KNOWN), self.path)
        with open_archive(path) as archive:
            digest = push_archive(archive, repository).digest
        for tag in tags:
            put_tag(repository, digest, tag, immutable=False)
        return digest


@pytest.fixture
def shelf(server: Server, tmp_path: Path) -> Shelf:
    return Shelf(server, tmp_path)


@pytest.fixture
def project(make_checkout: Make, shelf: Shelf, tmp_path: Path) -> Checkout:
    """Return a repository that stands on a line that is in its prime, with its credentials."""
    checkout = make_checkout(
        f"ARG LINE=3.22\nFROM {shelf.name}:${{LINE}} AS a\nFROM a\nFROM {shelf.name}:${{LINE}}\n",
        'platforms = ["linux/amd64", "linux/arm64"]\n[bases]\nend-of-life = "ends.toml"\n',
    )
    _ends(checkout)
    store = docker_config(tmp_path, shelf.server.host)
    return Checkout(checkout.root, checkout.image, {"DOCKER_CONFIG": str(store)})


def _ends(checkout: Checkout, *, days: int = 100, checked: int = 0) -> None:
    today = datetime.now(UTC).date()
    (checkout.root / "ends.toml").write_text(
        f'checked = {today - timedelta(days=checked)}\nsources = ["https://example.org/ends"]\n'
        f'[lines.alpine]\n"3.22" = {today + timedelta(days=days)}\n',
        encoding="utf-8",
    )


def _text(checkout: Checkout) -> str:
    return (checkout.root / "Dockerfile").read_text(encoding="utf-8")


def test_a_base_is_pinned_found_out_of_date_and_pinned_again(
    project: Checkout, shelf: Shelf
) -> None:
    first, before = shelf.put("3.22", days=40), _text(project)
    done = project.invoke("docker-bases", "--check")
    assert done.returncode == 7, done.stderr
    assert "not pinned" in done.stdout
    assert "40 days" in done.stdout
    assert _text(project) == before

    dry = project.invoke("docker-bases", "--update", "--dry-run")
    assert (dry.returncode, _text(project)) == (0, before)
    assert f"+FROM {shelf.name}:${{LINE}}@{first} AS a" in dry.stdout.splitlines()

    done = project.invoke("docker-bases", "--update")
    assert done.returncode == 0, done.stderr
    assert "not pinned" not in done.stdout
    assert _text(project) == before.replace("${LINE}", f"${{LINE}}@{first}")
    assert project.invoke("docker-bases", "--check").returncode == 0

    second = shelf.put("3.22", "3.23", "3.22.1")
    done = project.invoke("docker-bases", "--check")
    assert done.returncode == 7
    assert f"out of date: the tag is {second} now" in done.stdout
    assert "3.23" in done.stdout
    assert project.invoke("docker-bases", "--update").returncode == 0
    assert _text(project) == before.replace("${LINE}", f"${{LINE}}@{second}")
    again = project.invoke("docker-bases", "--update", "--json")
    assert json.loads(again.stdout)["changed"] is False


def test_what_lies_beside_the_dockerfile_stays_and_no_link_is_followed(
    project: Checkout, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.put("3.22")
    (tmp_path / "theirs").touch(mode=0o600)
    for name in (".Dockerfile.new", ".Dockerfile.part", ".Dockerfile.tmp"):
        (project.root / name).symlink_to(tmp_path / "theirs")
    before = sorted(project.root.iterdir())
    assert project.invoke("docker-bases", "--update").returncode == 0
    assert "@sha256:" in _text(project)
    assert sorted(project.root.iterdir()) == before
    assert (tmp_path / "theirs").read_bytes() == b""
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o600


def test_json_says_everything(project: Checkout, shelf: Shelf) -> None:
    digest = shelf.put("3.22", "3.24")
    found = json.loads(project.invoke("docker-bases", "--json").stdout)
    (base,) = found["bases"]
    assert base["reference"] == f"{shelf.name}:3.22"
    assert (base["lines"], base["pinned"], base["current"]) == ([2, 4], "", digest)
    assert (base["age_days"], base["newer"]) == (3, {"minor": "3.24"})
    assert base["platforms"] == ["linux/amd64", "linux/arm64"]
    assert base["problems"] == ["not pinned"]
    assert found["end_of_life"]["age_days"] == 0


def test_a_line_past_its_end_fails_the_check_though_it_is_pinned(
    project: Checkout, shelf: Shelf
) -> None:
    shelf.put("3.22")
    assert project.invoke("docker-bases", "--update").returncode == 0
    _ends(project, days=0)
    assert project.invoke("docker-bases", "--check").returncode == 0, "its last day still counts"
    _ends(project, days=-1)
    done = project.invoke("docker-bases", "--check")
    assert done.returncode == 7
    assert "past its end of life since" in done.stdout


def test_a_table_that_is_old_itself_is_a_warning(project: Checkout, shelf: Shelf) -> None:
    shelf.put("3.22")
    _ends(project, checked=181)
    done = project.invoke("docker-bases")
    assert done.returncode == 0
    assert "181 days ago: https://example.org/ends" in done.stderr
    _ends(project, checked=180)
    assert "days ago" not in project.invoke("docker-bases").stderr


def test_a_line_that_the_table_does_not_have_is_reported(project: Checkout, shelf: Shelf) -> None:
    shelf.put("3.22", "3.23")
    told = f"{shelf.name}:3.22: the table of ends of life has no line for 3.23"
    done = project.invoke("docker-bases")
    assert (done.returncode, told in done.stdout) == (0, True), done.stdout
    ends = project.root / "ends.toml"
    ends.write_text(f'{ends.read_text("utf-8")}"3.23" = "supported"\n', encoding="utf-8")
    assert told not in project.invoke("docker-bases").stdout


def test_an_image_of_one_platform_is_checked_by_its_configuration(
    make_checkout: Make, shelf: Shelf, tmp_path: Path
) -> None:
    digest = shelf.put("3.22", arches=("arm64",), index=False)
    checkout = make_checkout(f"FROM {shelf.name}:3.22\n", 'platforms = ["linux/arm64"]\n')
    store = docker_config(tmp_path, shelf.server.host)
    done = checkout.invoke("docker-bases", "--update", DOCKER_CONFIG=str(store))
    assert done.returncode == 0, done.stderr
    assert _text(checkout) == f"FROM {shelf.name}:3.22@{digest}\n"


def test_a_newer_patch_fails_the_check(make_checkout: Make, shelf: Shelf, tmp_path: Path) -> None:
    shelf.put("3.22.0")
    checkout = make_checkout(f"FROM {shelf.name}:3.22.0\n")
    known = {"DOCKER_CONFIG": str(docker_config(tmp_path, shelf.server.host))}
    assert checkout.invoke("docker-bases", "--update", **known).returncode == 0
    assert checkout.invoke("docker-bases", "--check", **known).returncode == 0
    shelf.put("3.22.1", "3.23.0")
    done = checkout.invoke("docker-bases", "--check", **known)
    assert done.returncode == 7, done.stderr
    assert f"{shelf.name}:3.22.0: 3.22.1 is newer" in done.stdout


def test_a_stage_that_is_fixed_to_a_platform_needs_no_other(
    project: Checkout, shelf: Shelf
) -> None:
    tool = shelf.put("tool", arches=("amd64",))
    base = shelf.put("3.22")
    text = f"# syntax={shelf.name}:tool\nFROM --platform=linux/amd64 {shelf.name}:tool\n"
    project.dockerfile(f"{text}FROM {shelf.name}:3.22\n")
    done = project.invoke("docker-bases", "--update")
    assert done.returncode == 0, done.stderr
    pinned = text.replace(":tool", f":tool@{tool}")
    assert _text(project) == f"{pinned}FROM {shelf.name}:3.22@{base}\n"
    assert project.invoke("docker-bases", "--check").returncode == 0


def test_one_that_lacks_a_platform_keeps_no_other_from_being_pinned(
    project: Checkout, shelf: Shelf
) -> None:
    shelf.put("tool", arches=("amd64",))
    base = shelf.put("3.22")
    project.dockerfile(f"FROM {shelf.name}:tool\nFROM {shelf.name}:3.22\n")
    done = project.invoke("docker-bases", "--update")
    assert done.returncode == 2
    assert f"{shelf.name}:tool is not there for linux/arm64" in done.stderr
    assert _text(project) == f"FROM {shelf.name}:tool\nFROM {shelf.name}:3.22@{base}\n"


def test_the_file_behind_a_link_is_written_and_keeps_its_owner(
    project: Checkout, shelf: Shelf
) -> None:
    digest = shelf.put("3.22")
    shared = project.root / "shared"
    shared.mkdir()
    (project.root / "Dockerfile").rename(shared / "Dockerfile")
    (project.root / "Dockerfile").symlink_to("shared/Dockerfile")
    (shared / "Dockerfile").chmod(0o640)
    os.chown(shared / "Dockerfile", 1000, 1000)
    done = project.invoke("docker-bases", "--update")
    assert done.returncode == 0, done.stderr
    assert (project.root / "Dockerfile").is_symlink()
    about = (shared / "Dockerfile").stat()
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (1000, 1000, 0o640)
    assert f"@{digest}" in (shared / "Dockerfile").read_text(encoding="utf-8")


def test_an_index_without_a_platform_is_never_pinned(project: Checkout, shelf: Shelf) -> None:
    shelf.put("3.22", arches=("amd64",))
    before = _text(project)
    done = project.invoke("docker-bases", "--update")
    assert done.returncode == 2
    assert "is not there for linux/arm64" in done.stderr
    assert _text(project) == before


@pytest.mark.parametrize(
    ("dockerfile", "config", "words", "code", "said"),
    [
        pytest.param("FROM {name}:9.9\n", "", (), 2, "has no tag 9.9", id="no such tag"),
        pytest.param(
            "FROM {name}:3.22\n", "", ("--check", "--update"), 2, "contradicts", id="both"
        ),
        pytest.param(
            "FROM {name}:3.22\n",
            '[bases]\nend-of-life = "gone.toml"\n',
            (),
            2,
            "gone.toml can't be read",
            id="no table",
        ),
        pytest.param(
            "FROM {name}:3.22\n", 'dockerfile = "Gone"\n', (), 2, "Gone", id="no Dockerfile"
        ),
    ],
)
def test_bad_input_is_refused(
    make_checkout: Make,
    shelf: Shelf,
    tmp_path: Path,
    dockerfile: str,
    config: str,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    shelf.put("3.22")
    checkout = make_checkout(dockerfile.format(name=shelf.name), config)
    store = docker_config(tmp_path, shelf.server.host)
    done = checkout.invoke("docker-bases", *words, DOCKER_CONFIG=str(store))
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_credentials_nothing_is_pinned(
    project: Checkout, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.put("3.22")
    before = _text(project)
    (tmp_path / "empty").mkdir()
    done = project.invoke("docker-bases", "--update", DOCKER_CONFIG=str(tmp_path / "empty"))
    assert done.returncode == 5, done.stderr
    assert _text(project) == before


def test_where_no_registry_answers_nothing_is_pinned_and_the_rest_is_reported(
    make_checkout: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildlib.registry.open.Patience", partial(Patience, attempts=3, base=0.05))
    port = free_port()
    checkout = make_checkout(
        f"FROM 127.0.0.1:{port}/x/alpine:3.22\nFROM 127.0.0.1:{port}/x/alpine:3.21\n",
        '[bases]\nend-of-life = "ends.toml"\n',
    )
    _ends(checkout, days=-5)
    before = _text(checkout)
    done = checkout.invoke("docker-bases", "--update")
    assert done.returncode == 6, done.stderr
    assert "no answer" in done.stdout
    assert "3.22: past its end of life" in done.stdout
    assert done.stderr.count("did not answer") == 1
    assert _text(checkout) == before


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 501])
def test_a_registry_that_lists_no_tags_has_its_bases_pinned(
    project: Checkout, shelf: Shelf, tmp_path: Path, status: int
) -> None:
    digest = shelf.put("3.22", "3.24")
    with fault_proxy(shelf.server.port) as proxy:
        proxy.always["/tags/list"] = Fault(status=status)
        text = f"FROM {proxy.host}/{shelf.path}:3.22 AS a\nFROM {shelf.name}:3.22\n"
        (project.root / "Dockerfile").write_text(text, encoding="utf-8")
        store = docker_config(tmp_path / "both", proxy.host, shelf.server.host)
        done = project.invoke("docker-bases", "--update", DOCKER_CONFIG=str(store))
    assert done.returncode == 0, done.stderr
    assert _text(project) == text.replace(":3.22", f":3.22@{digest}")
    (said,) = [line for line in done.stdout.splitlines() if "newer tags are not known" in line]
    assert said.startswith(f"{proxy.host}/{shelf.path}:3.22: ")
    assert f"GET /v2/{shelf.path}/tags/list" in said


@pytest.mark.parametrize("status", [403, 405])
def test_one_registry_that_gives_nothing_does_not_hold_up_the_others(
    project: Checkout, shelf: Shelf, tmp_path: Path, status: int
) -> None:
    digest = shelf.put("3.22")
    with fault_proxy(shelf.server.port) as proxy:
        proxy.always["/v2/"] = Fault(status=status)
        text = f"FROM {proxy.host}/{shelf.path}:3.22 AS a\nFROM {shelf.name}:3.22\n"
        (project.root / "Dockerfile").write_text(text, encoding="utf-8")
        store = docker_config(tmp_path / "both", proxy.host, shelf.server.host)
        done = project.invoke("docker-bases", "--update", DOCKER_CONFIG=str(store))
    assert done.returncode == (5 if status == 403 else 4)
    assert f"GET /v2/{shelf.path}/manifests/3.22" in done.stderr
    assert _text(project) == text.replace(f"{shelf.name}:3.22", f"{shelf.name}:3.22@{digest}")


def test_a_mirror_is_asked_instead_and_a_pinned_base_is_taken_from_it(
    make_checkout: Make, shelf: Shelf, tmp_path: Path
) -> None:
    digest = shelf.put("3.22")
    checkout = make_checkout(
        "FROM alpine:3.22\n",
        f'[base-images]\n"alpine:3.22" = "docker-image://{shelf.name}:3.22"\n',
    )
    env: Mapping[str, str | None] = {
        "DOCKER_CONFIG": str(docker_config(tmp_path, shelf.server.host)),
        "BUILDLIB_BASE_IMAGES": None,
    }
    done = checkout.invoke("docker-bases", "--update", **env)
    assert done.returncode == 0, done.stderr
    assert _text(checkout) == f"FROM alpine:3.22@{digest}\n"
    line = checkout.invoke("docker-build", "--dry-run", **env).stdout
    assert f"alpine:3.22@{digest}=docker-image://{shelf.name}:3.22@{digest}" in line
    assert f"image.base.digest={digest}" in line
    assert "image.base.name=docker.io/library/alpine:3.22 " in line


@pytest.mark.parametrize(
    "dockerfile",
    [
        pytest.param("FROM {base}\nLABEL a=b\n", id="what a stage stands on"),
        pytest.param("FROM scratch\nCOPY --from={base} /etc/passwd /\n", id="what is copied from"),
        pytest.param(
            "FROM {alpine}\nRUN --mount=type=bind,from={base},target=/x cp /x/etc/passwd /y\n",
            id="what is mounted",
        ),
    ],
)
def test_a_pinned_base_is_replaced_by_a_placeholder_for_real(
    make_checkout: Make, alpine: str, tmp_path: Path, dockerfile: str
) -> None:
    base = f"base.example/thing:1@sha256:{'5' * 64}"
    checkout = make_checkout(dockerfile.format(alpine=alpine, base=base))
    env = {"BUILDLIB_BASE_IMAGES": str(_stand_in(tmp_path / "stand-ins", "base.example/thing:1"))}
    done = checkout.invoke("docker-build", **env)
    assert done.returncode == 0, done.stderr
    line = checkout.invoke("docker-build", "--dry-run", **env).stdout
    assert f"--build-context {base}=oci-layout://" in line
    assert "image.base.digest" not in line


def _stand_in(folder: Path, reference: str) -> Path:
    """Make a stand-in for a base; return a map that names it, beside what this machine maps."""
    layout = STANDINS.Layout(folder / "base")
    layer = STANDINS.Layer()
    layer.folder("etc")
    layer.file("etc/passwd", b"")
    stored = layout.layer(layer)
    index = layout.finish([layout.image(arch, [stored], {}) for arch in STANDINS.ARCHITECTURES])
    path = folder / "map.toml"
    text = STANDINS.map_text({"base": reference}, {"base": index}, folder)
    if known := os.environ.get("BUILDLIB_BASE_IMAGES"):
        text = Path(known).read_text("utf-8") + text.partition("\n")[2]
    path.write_text(text, "utf-8")
    return path
