"""Facts about the repository, read once."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TypedDict

from buildlib.background import Background
from buildlib.errors import InputError
from buildlib.git.command import DESCRIBE, Ahead, GitCommand, GitResult, ask_ahead
from buildlib.git.hidden_changes import Hidden, read_hidden
from buildlib.version_schemes import Naming, Scheme, parse_semver

_NONE: Final = "not a git repository"
_DIRTY: Final = "-dirty"
_PEELED: Final = "^{}"
_TAG_FOLDER: Final = "refs/tags/"
_BRANCH_FOLDER: Final = "refs/heads/"
_NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})
# The tag's name here, and then the one in its object, which is what git prints.
_RENAMED: Final = r"^warning: tag '(\S+)' is externally known as '"
# Credentials end with the last @ before the path. Where no host is left before it, a / ? or # is
# part of the password, and they end with the last @ of all. Before the scheme may be a transport.
_CREDENTIALS: Final = (
    r"(?s)^(\s*(?:[\w-]+::)?[A-Za-z][\w+.-]*://)"
    r"(?:(?:[^/?#]*@)?(?=(?:\[[^]/]*\]|[^:/?#@]*)(?:(?::[0-9]{0,5})?(?:/|\Z)|[?#]))|.*@)"
)


class GitFacts(NamedTuple):
    """What git says about HEAD.

    Args:
        root: the top of the work tree.
        description: what `git describe --tags --always --dirty` prints.
        revision: the commit, 40 hex digits; `short` is git's own abbreviation.
        committed: the commit's time, seconds since the epoch; -1 where it has none that git reads.
        tags: every tag of the repository, annotated or not, and the commit that it is on.
        moving: tags that are moved along with longer versions, as `v1` with `v1.2.3`, and their
            commits; they are in neither of the two.
        nearest_tag: the nearest reachable tag that names a version, `distance` commits away;
            empty where there is none, or where HEAD itself has one.
        dirty: a tracked file differs from HEAD.
        branch: empty where HEAD is detached.
        remote: address of `origin` without credentials, or empty.
        shallow: the history is cut.
    """

    root: Path
    description: str
    revision: str
    short: str
    committed: int
    tags: Mapping[str, str] = _NO_TAGS
    head_tags: tuple[str, ...] = ()
    moving: Mapping[str, str] = _NO_TAGS
    nearest_tag: str = ""
    distance: int = 0
    dirty: bool = False
    branch: str = ""
    remote: str = ""
    shallow: bool = False


class NoGit(NamedTuple):
    """There is nothing to read, and why: no git, no repository, no commit."""

    reason: str
    installed: bool = True


class Changes(NamedTuple):
    """How a work tree differs from HEAD, or may differ without git noticing.

    Args:
        untracked: paths that git neither tracks nor ignores.
        hidden: what `git status` does not show.
    """

    tracked: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    hidden: Hidden = Hidden()

    @property
    def paths(self) -> tuple[str, ...]:
        """Return every file that differs, or may differ."""
        return (*self.tracked, *self.untracked, *self.hidden.assumed, *self.hidden.skipped)


class _Described(NamedTuple):
    """A description taken apart; `tag` is empty where no tag can be reached."""

    text: str
    tag: str
    distance: int
    dirty: bool


class TagRefs(Mapping[str, str]):
    """Every tag and its commit, out of what `git show-ref --tags --dereference` prints.

    That may be thousands of lines, of which most questions need one or two: they are taken apart
    when somebody asks for all of them.
    """

    def __init__(self, listing: str) -> None:
        self._listing = f"\n{listing}\n"

    def on(self, commit: str) -> tuple[str, ...]:
        """Return the names of the tags on a commit, sorted."""
        # An annotated tag comes twice: as itself, and then as the commit that it stands for.
        found = re.findall(rf"^{commit} {_TAG_FOLDER}(.*)$", self._listing, re.MULTILINE)
        return tuple(sorted({name.removesuffix(_PEELED) for name in found}))

    @cached_property
    def _all(self) -> dict[str, str]:
        found = {}
        for line in self._listing.strip("\n").split("\n"):
            commit, _, name = line.partition(f" {_TAG_FOLDER}")
            found[name.removesuffix(_PEELED)] = commit
        found.pop("", None)
        return found

    def __getitem__(self, name: str) -> str:
        """Return the tag's commit."""
        if "_all" in vars(self):
            return self._all[name]
        for suffix in (_PEELED, ""):
            end = self._listing.find(f" {_TAG_FOLDER}{name}{suffix}\n")
            if end >= 0:
                return self._listing[self._listing.rindex("\n", 0, end) + 1 : end]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Yield every name."""
        return iter(self._all)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)


def without_credentials(address: str) -> str:
    """Cut user and password out of a git address; what has none stays as it is."""
    # Not by urlsplit, which refuses brackets in a password, and prints it in its message.
    return re.sub(_CREDENTIALS, r"\1", address) if "@" in address else address


def _apart(answer: GitResult) -> tuple[str, str, int]:
    """Return what a long description says, and what it means: text, tag, distance.

    They differ for an annotated tag under another name than its own: git prints the one in the
    tag's object, and only the other can be looked up.
    """
    name, _, _ = answer.out.removesuffix(_DIRTY).rpartition("-g")
    name, _, distance = name.rpartition("-")
    renamed = re.search(_RENAMED, answer.err, re.MULTILINE)
    return name, renamed[1] if renamed else name, int(distance or 0)


def _described(git: GitCommand, answer: GitResult) -> _Described:
    """Take the long description apart; the short one is made from it."""
    name, tag, distance = _apart(answer)
    dirty = answer.out.endswith(_DIRTY)
    text = answer.out if distance or not name else name + (_DIRTY if dirty else "")
    if tag != name:
        # Such a tag git describes in a way of its own.
        text = git.must(*DESCRIBE)
    return _Described(text, tag, distance, dirty)


def _head(git: GitCommand) -> tuple[GitResult, str, str]:
    """Return revision, abbreviation and time; branch; address of origin."""
    log = git.run("log", "-1", "--no-show-signature", "--format=%H %h %ct")
    # Whole, as git's short name is `heads/x` where a tag is called x as well.
    branch = git.ask("symbolic-ref", "--quiet", "HEAD").removeprefix(_BRANCH_FOLDER)
    return log, branch, without_credentials(git.ask("config", "--get", "remote.origin.url"))


def _nearest(
    git: GitCommand, described: _Described, tags: TagRefs, moving: Container[str], naming: Naming
) -> tuple[str, int]:
    """Return the nearest tag that names a version, one with an order where there is any."""
    tag, distance = described.tag, described.distance
    if not tag:
        return "", 0
    if tag in moving or not naming.parse(naming.version_of(tag)):
        versions = [name for name in tags if naming.version_of(name) and name not in moving]
        ordered = [name for name in versions if naming.parse(naming.version_of(name))]
        matches = (_match(git, known, tags, naming) for known in (ordered, versions) if known)
        tag, distance = next(filter(None, matches), ("", 0))
    # Of several on that commit git takes the newest; we take the highest, as on HEAD.
    alike = tags.on(tags.get(tag, "")) if tag else ()
    return naming.highest(one for one in alike if one not in moving) or tag, distance


def _match(
    git: GitCommand, known: Sequence[str], tags: TagRefs, naming: Naming
) -> tuple[str, int] | None:
    """Return the nearest of some tags, and its distance."""
    begins = (f"{naming.prefix}[0-9]*", *(["[0-9]*"] if naming.prefix == "v" else []))
    # What begins alike and is not meant is left out by its name; no tag's name has a wildcard.
    others = [
        name
        for name in sorted(set(tags) - set(known))
        if any(fnmatchcase(name, pattern) for pattern in begins)
    ]
    options = [f"--match={one}" for one in begins] + [f"--exclude={one}" for one in others]
    answer = git.run("describe", "--tags", "--long", "--abbrev=40", *options)
    # It fails where there is none.
    return _apart(answer)[1:] if answer.code == 0 else None


def _moving(git: GitCommand, tags: TagRefs, naming: Naming) -> dict[str, str]:
    """Return the tags that are moved along: on a longer version's commit, or on one after it."""
    if naming.scheme is Scheme.SEMVER:
        return {}
    found = {}
    for tag, longer in naming.lines_of(tags).items():
        if tags[tag] not in {tags[other] for other in longer}:
            merged = git.must(
                *("for-each-ref", f"--merged={_TAG_FOLDER}{tag}", "--format=%(refname)"),
                *(f"{_TAG_FOLDER}{other}" for other in longer),
            )
            if not merged:
                continue
        found[tag] = tags[tag]
    return found


class _TagFacts(TypedDict):
    description: str
    dirty: bool
    tags: Mapping[str, str]
    head_tags: tuple[str, ...]
    moving: Mapping[str, str]
    nearest_tag: str
    distance: int


def _tag_facts(
    git: GitCommand, described: _Described, refs: TagRefs, head: str, naming: Naming
) -> _TagFacts:
    moving = _moving(git, refs, naming)
    tags: Mapping[str, str] = refs
    if moving:
        tags = {name: commit for name, commit in refs.items() if name not in moving}
    head_tags = tuple(tag for tag in refs.on(head) if tag not in moving)
    on_version = naming.highest(head_tags)
    nearest, distance = ("", 0) if on_version else _nearest(git, described, refs, moving, naming)
    return {
        "description": described.text,
        "dirty": described.dirty,
        "tags": tags,
        "head_tags": head_tags,
        "moving": moving,
        "nearest_tag": nearest,
        "distance": distance,
    }


def _top(git: GitCommand) -> tuple[Path, bool] | NoGit:
    """Return the top of the work tree, and whether the history is cut.

    Raises:
        ToolError, InputError: as `read_git_facts`.
    """
    questions = ("--is-bare-repository", "--is-shallow-repository", "--show-toplevel")
    answer = git.run("rev-parse", *questions)
    if not answer.installed:
        return NoGit(reason="git is not installed", installed=False)
    if answer.code != 0 and not answer.out:
        # In the plain case it goes on with where it looked.
        plain = answer.complaint.startswith(f"{_NONE} (or any")
        return NoGit(reason=_NONE if plain else answer.complaint or _NONE)
    # A path may hold anything, a line break as well: it comes last.
    bare, shallow, *top = answer.out.split("\n", 2)
    if bare == "true" or answer.code != 0:
        raise InputError(
            "a bare repository has no files to build", hint="run this in a clone or a worktree"
        )
    return Path(top[0]), shallow == "true"


def _tag_refs(ahead: Ahead) -> TagRefs:
    answer = ahead.tags.get()
    # 1: there is none.
    return TagRefs("" if answer.code == 1 else answer.checked().out)


def read_git_facts(
    root: Path,
    *,
    tag_prefix: str = "v",
    scheme: Scheme = Scheme.SEMVER,
    ahead: Ahead | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> GitFacts | NoGit:
    """Read the facts about the repository that `root` lies in.

    Args:
        tag_prefix: of the tags that name versions.
        scheme: by which the rest of a tag is a version.
        ahead: what was asked before; what was asked elsewhere does not count.
        meanwhile: called once while git works, for what is slow to load and needed later.

    Raises:
        ToolError: git refuses the repository because another user owns it, or does not report what
            HEAD is, although there is a commit (exit 3).
        InputError: the repository is bare (exit 2).
    """
    if not ahead or ahead.root.resolve() != root.resolve():
        ahead = ask_ahead(root)
    git = GitCommand(root)
    asked = Background(lambda: _head(git))
    top = _top(git)
    if isinstance(top, NoGit):
        return top
    parse_semver("")
    meanwhile()
    log, branch, remote = asked.get()
    if "does not have any commits yet" in log.err:
        return NoGit(reason="the repository has no commit yet")
    if log.code != 0:
        return NoGit(reason=f"git can't read the commit of HEAD: {log.complaint}")
    revision, short, *committed = log.out.split()
    described, tags = _described(git, ahead.description.get().checked()), _tag_refs(ahead)
    return GitFacts(
        root=top[0],
        revision=revision,
        short=short,
        committed=int(committed[0]) if committed else -1,
        branch=branch,
        remote=remote,
        shallow=top[1],
        **_tag_facts(git, described, tags, revision, Naming(prefix=tag_prefix, scheme=scheme)),
    )


def with_naming(facts: GitFacts, naming: Naming, ahead: Ahead) -> GitFacts:
    """Return the facts as they are where other tags name versions.

    Args:
        facts: as `read_git_facts` returned them.
        ahead: what git was asked for these facts.
    """
    git = GitCommand(facts.root)
    described, tags = _described(git, ahead.description.get().checked()), _tag_refs(ahead)
    return facts._replace(**_tag_facts(git, described, tags, facts.revision, naming))


def read_changes(root: Path) -> Changes:
    """Return what `git status` would list, and what it hides; ignored files are left out.

    Raises:
        ToolError: git fails, so that nothing is known of them (exit 3).
    """
    hidden = Background(lambda: read_hidden(root))
    listing = GitCommand(root).must(
        *("status", "--porcelain=v1", "-z", "--untracked-files=normal"),
        # A committed .gitmodules may say `ignore = all`.
        "--ignore-submodules=none",
    )
    tracked, untracked = [], []
    entries = iter(listing.split("\0"))
    for entry in entries:
        if entry.startswith("??"):
            untracked.append(entry[3:])
        elif entry:
            tracked.append(entry[3:])
            if "R" in entry[:2] or "C" in entry[:2]:
                next(entries, None)  # the name that it had before
    return Changes(tracked=tuple(tracked), untracked=tuple(untracked), hidden=hidden.get())


def read_revision(root: Path) -> str:
    """Return the commit that HEAD is now, whole; empty where there is none."""
    return GitCommand(root).ask("rev-parse", "--verify", "--quiet", "HEAD")


def hash_changes(root: Path, changes: Changes, without: Iterable[Path] = ()) -> str:
    """Return one hash of all that is not committed, `sha256:…`; empty where everything is.

    Args:
        root: the top of the work tree.
        changes: as `read_changes` lists them.
        without: directories that do not count.

    Raises:
        InputError: a file can't be read (exit 2).
        ToolError: as `read_changes`.
    """
    if changes == Changes():
        return ""
    # What `git status` lists as a directory, by its files; what is ignored there stays so.
    listing = GitCommand(root).must("ls-files", "--others", "--exclude-standard", "-z")
    hidden = {*changes.hidden.assumed, *changes.hidden.skipped}
    names = {*changes.tracked, *hidden, *filter(None, listing.split("\0"))}
    apart = tuple(without)
    counted = [n for n in names if not any(Path(root, n).is_relative_to(one) for one in apart)]
    if not counted:
        return ""
    whole = hashlib.sha256()
    for name in sorted(counted):
        whole.update(f"{name}\0{_content(root / name)}\0".encode(errors="surrogateescape"))
    return f"sha256:{whole.hexdigest()}"


def _content(path: Path) -> str:
    """Return a digest of the content; a file that was removed has none."""
    try:
        if path.is_symlink():
            return f"link {path.readlink()}"
        if path.is_dir():
            # A repository in this one, which git lists as one entry.
            head = GitCommand(path).ask("rev-parse", "HEAD")
            return f"{head} {hash_changes(path, read_changes(path))}"
        with path.open("rb") as file:
            runs = bool(path.stat().st_mode & stat.S_IXUSR)
            return f"{runs} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(f"can't read {path.name}", why=str(error)) from error
