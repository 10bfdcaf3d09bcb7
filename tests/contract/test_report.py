"""`docker-report` on records of builds, as a user calls it; without docker."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from buildrecords import shop as records
from conftest import Checkout
from ociwriter import OciWriter

from buildlib.config.load import load_config
from buildlib.records.report.markdown import write_summary
from buildlib.records.store import RecordStore, open_store

BEFORE, NOW = "20260228T170000.000Z-0a1b2c3d", "20260301T090000.000Z-4d5e6f70"


def _store(made: Checkout) -> RecordStore:
    store = open_store(load_config(made.root, {}), made.environment({}))
    assert store
    return store


@pytest.fixture
def shop(make_checkout: Callable[..., Checkout]) -> Checkout:
    """Return a project with the records of two builds."""
    made = make_checkout()
    (made.root / "buildlib.toml").write_text(
        f'image = "{made.image}"\nrecords = {{ max-age = 100000 }}\n', encoding="utf-8"
    )
    for one in records():
        _store(made).write(replace(one, image=made.image))
    return made


def test_the_page_of_the_last_build_is_written_to_dist(shop: Checkout) -> None:
    done = shop.invoke("docker-report")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.parent == shop.root / "dist"
    assert path.name == f"{shop.image}-report-{NOW}.html"
    text = path.read_text("utf-8")
    assert "Compared with" not in text
    assert f"{BEFORE}: 12.5 s" in text
    shop.invoke("clean")
    assert not path.exists()


def test_the_page_has_what_is_in_an_archive_that_is_still_there(
    shop: Checkout, tmp_path: Path
) -> None:
    writer = OciWriter()
    secret = "ghp_" + "a1b2c3" * 7
    layer = writer.layer({"bin/app": b"x" * 5000, secret: b"y"})
    image = writer.image([layer], [{"created_by": "COPY --chmod=755 app /bin/"}])
    path = writer.write(tmp_path / "shop.oci.tar", image)
    sbom = shop.root / "dist" / f"{shop.image}-linux-amd64.spdx.json"
    sbom.parent.mkdir()
    package = {"SPDXID": "p", "name": "chi", "versionInfo": "v5"}
    described = {"SPDXID": "i", "versionInfo": str(image["digest"])}
    relation = {"relationshipType": "DESCRIBES", "relatedSpdxElement": "i"}
    document = {"packages": [described, package], "relationships": [relation]}
    sbom.write_text(json.dumps(document), encoding="utf-8")
    store = _store(shop)
    record = replace(store.read(store.paths()[0]), archive=str(path), largest=(), packages={})
    page = ""
    for digest in ("sha256:another", str(image["digest"])):
        store.write(replace(record, digest=digest))
        done = shop.invoke("docker-report")
        assert done.returncode == 0, done.stderr
        page = Path(done.stdout.strip()).read_text("utf-8")
        assert ("bin/app" in page) == (digest == image["digest"])
        assert ("the image was not measured" in done.stderr) != (digest == image["digest"])
    assert secret not in page
    found = store.read(store.paths()[0])
    assert [(one.path, one.size) for one in found.largest[:1]] == [("bin/app", 5000)]
    assert found.packages == {"linux/amd64": {"chi": "v5"}}
    assert [(one.size, one.made_by) for one in found.layers] == [
        (layer["size"], "COPY --chmod=755 app /bin/")
    ]


def test_two_images_that_are_still_there_are_compared_on_the_page(
    shop: Checkout, tmp_path: Path
) -> None:
    store = _store(shop)
    for name, path in zip(("new", "old"), store.paths(), strict=True):
        writer = OciWriter()
        image = writer.image([writer.layer({f"only-{name}": b"x"})], config={"User": name})
        archive = writer.write(tmp_path / f"{name}.tar", image)
        record = replace(store.read(path), archive=str(archive), digest=str(image["digest"]))
        store.write(replace(record, registries=()))
    done = shop.invoke("docker-report", "--compare", BEFORE)
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.strip()).read_text("utf-8")
    assert "<h3>Image for linux/amd64</h3>" in page
    assert "<td>user</td><td>old → new</td>" in page
    assert "only-old" in page
    (tmp_path / "old.tar").unlink()
    done = shop.invoke("docker-report", "--compare", BEFORE)
    assert done.returncode == 0, done.stderr
    assert f"the images were not compared: that of {BEFORE} is neither here nor" in done.stderr
    assert "Image for" not in Path(done.stdout.strip()).read_text("utf-8")


def test_a_build_is_named_by_the_beginning_of_its_identifier(
    shop: Checkout, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "page.html"
    words = ("--id", "20260228", "--compare", NOW, "--output", str(path))
    done = shop.invoke("docker-report", *words)
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    assert f"Compared with 1.5.0 ({NOW})" in path.read_text("utf-8")


def test_records_are_listed_and_named_by_their_version(shop: Checkout) -> None:
    done = shop.invoke("docker-report", "--list")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [NOW, BEFORE]
    assert " 1.4.0 " in done.stdout.splitlines()[1]
    done = shop.invoke("docker-report", "--list", "--json")
    rows = json.loads(done.stdout)["records"]
    assert [(one["id"], one["version"]) for one in rows] == [(NOW, "1.5.0"), (BEFORE, "1.4.0")]
    done = shop.invoke("docker-report", "--id", "1.4.0", "--json")
    assert json.loads(done.stdout)["id"] == BEFORE


def test_a_comparison_is_printed_as_markdown(shop: Checkout) -> None:
    done = shop.invoke("docker-report", "--markdown", "--compare", "1.4.0")
    assert done.returncode == 0, done.stderr
    assert "#### Compared with 1.4.0" in done.stdout
    assert "| go.sum | changed |" in done.stdout
    assert "`sha256:" in done.stdout


def test_an_identifier_that_no_record_has_is_an_error_with_a_close_one(shop: Checkout) -> None:
    done = shop.invoke("docker-report", "--id", NOW[:-1] + "x")
    assert done.returncode == 2
    assert f"did you mean {NOW}?" in done.stderr
    done = shop.invoke("docker-report", "--id", "nothing")
    assert done.stderr.count(f"known: {NOW}, {BEFORE}") == done.stderr.count(NOW) == 1
    done = shop.invoke("docker-report", "--compare", "2026")
    assert done.returncode == 2
    assert "several records begin with '2026'" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], f"the record {NOW}-"),
        (
            lambda text: text.replace('"schema":1', '"schema":9'),
            "is of a newer version of buildlib",
        ),
        (lambda _: "", "is damaged"),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error(
    shop: Checkout, change: Callable[[str], str], message: str
) -> None:
    newest = _store(shop).paths()[0]
    newest.write_text(change(newest.read_text("utf-8")), encoding="utf-8")
    done = shop.invoke("docker-report", "--id", NOW)
    assert done.returncode == 2
    assert message in done.stderr
    done = shop.invoke("docker-report")
    assert "passed over" in done.stderr
    assert BEFORE in done.stdout


def test_the_record_is_printed_as_it_is_and_as_markdown(shop: Checkout) -> None:
    found = json.loads(shop.invoke("docker-report", "--json").stdout)
    assert (found["id"], found["schema"], len(found["steps"])) == (NOW, 1, 8)
    text = shop.invoke("docker-report", "--markdown").stdout
    assert "| Critical path | Time | Share | Why it ran |" in text
    assert not (shop.root / "dist").exists()
    done = shop.invoke("docker-report", "--markdown", "--json")
    assert done.returncode == 2
    assert "give one of them" in done.stdout + done.stderr


def test_a_trace_is_written_beside(shop: Checkout, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    done = shop.invoke("docker-report", "--otlp", str(path))
    assert done.returncode == 0, done.stderr
    assert json.loads(path.read_text("utf-8"))["resourceSpans"]


def test_open_opens_the_page_where_there_is_a_browser(
    shop: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def _open(address: str) -> bool:
        opened.append(address)
        return False

    monkeypatch.setattr(webbrowser, "open", _open)
    done = shop.invoke("docker-report", "--open")
    assert done.returncode == 0
    assert opened == [Path(done.stdout.strip()).as_uri()]
    assert "there is no browser here" in done.stderr


def test_a_summary_is_added_to_that_of_the_job(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    write_summary({}, lambda: "nothing")
    for text in ("one\n", "two\n"):
        write_summary({"GITHUB_STEP_SUMMARY": str(path)}, lambda text=text: text)  # type: ignore[misc]
    assert path.read_text("utf-8") == "one\ntwo\n"


def test_jinja_is_loaded_by_this_task_alone(shop: Checkout) -> None:
    tasks = shop.root / "tasks.py"
    tasks.write_text(
        tasks.read_text("utf-8")
        + "import atexit, sys\n"
        + "atexit.register(lambda: print('jinja2' in sys.modules, file=sys.stderr))\n",
        encoding="utf-8",
    )
    assert shop.invoke_process("docker-why").stderr.splitlines()[-1] == "False"
    assert shop.invoke_process("docker-report").stderr.splitlines()[-1] == "True"
