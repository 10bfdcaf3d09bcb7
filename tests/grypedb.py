"""Writes small vulnerability databases for grype, of its schema 6.

Source: github.com/anchore/grype, grype/db/v6/models.go and blobs.go; `grype db import` takes such a
file, adds the indexes, and keeps its checksum. Only the tables that a scan reads are here.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_SCHEMA = """
CREATE TABLE blobs (id integer PRIMARY KEY, value text NOT NULL);
CREATE TABLE db_metadata (
    build_timestamp datetime NOT NULL, model integer NOT NULL,
    revision integer NOT NULL, addition integer NOT NULL
);
CREATE TABLE providers (
    id text PRIMARY KEY, version text, processor text, date_captured datetime, input_digest text
);
CREATE TABLE vulnerability_handles (
    id integer PRIMARY KEY, name text NOT NULL, status text NOT NULL, published_date datetime,
    modified_date datetime, withdrawn_date datetime, provider_id text NOT NULL, blob_id integer
);
CREATE TABLE vulnerability_aliases (name text, alias text NOT NULL, PRIMARY KEY (name, alias));
CREATE TABLE packages (id integer PRIMARY KEY, ecosystem text, name text);
CREATE TABLE affected_package_handles (
    id integer PRIMARY KEY, vulnerability_id integer NOT NULL, operating_system_id integer,
    package_id integer, blob_id integer
);
CREATE TABLE unaffected_package_handles (
    id integer PRIMARY KEY, vulnerability_id integer NOT NULL, operating_system_id integer,
    package_id integer, blob_id integer
);
"""


@dataclass(frozen=True)
class Advisory:
    """What is known of a package.

    `affected` is a range, or several with ` || ` between them; `fixed` has as many versions, and
    may be empty.
    """

    id: str
    cve: str
    severity: str
    ecosystem: str
    package: str
    affected: str
    fixed: str = ""


def write_database(path: Path, built: datetime, *advisories: Advisory) -> Path:
    """Write a database that knows these, and was built at that time, in UTC."""
    time = built.strftime("%Y-%m-%d %H:%M:%S+00:00")
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_SCHEMA)
        database.execute("INSERT INTO db_metadata VALUES (?, 6, 1, 10)", (time,))
        provider = ("github", "1", "made by hand", time, "sha256:0")
        database.execute("INSERT INTO providers VALUES (?, ?, ?, ?, ?)", provider)
        for number, advisory in enumerate(advisories, 1):
            _insert(database, number, advisory, time)
    return path


def _insert(database: sqlite3.Connection, number: int, advisory: Advisory, time: str) -> None:
    record, ranges = 2 * number, 2 * number + 1
    blobs = ((record, json.dumps(_record(advisory))), (ranges, json.dumps(_ranges(advisory))))
    database.executemany("INSERT INTO blobs VALUES (?, ?)", blobs)
    handle = (number, advisory.id, "active", time, time, None, "github", record)
    database.execute("INSERT INTO vulnerability_handles VALUES (?, ?, ?, ?, ?, ?, ?, ?)", handle)
    database.execute("INSERT INTO vulnerability_aliases VALUES (?, ?)", (advisory.id, advisory.cve))
    # A package that several are about is there once.
    name = (advisory.ecosystem, advisory.package)
    find = "SELECT id FROM packages WHERE ecosystem = ? AND name = ?"
    (package,) = database.execute(find, name).fetchone() or (number,)
    database.execute("INSERT OR IGNORE INTO packages VALUES (?, ?, ?)", (package, *name))
    affected = (number, number, None, package, ranges)
    database.execute("INSERT INTO affected_package_handles VALUES (?, ?, ?, ?, ?)", affected)


def _record(advisory: Advisory) -> dict[str, object]:
    return {
        "id": advisory.id,
        "description": "made up",
        "refs": [{"url": f"https://example.org/{advisory.id}"}],
        "aliases": [advisory.cve],
        "severities": [{"scheme": "CHML", "value": advisory.severity, "rank": 1}],
    }


def _ranges(advisory: Advisory) -> dict[str, object]:
    affected, fixed = advisory.affected.split(" || "), advisory.fixed.split(" || ")
    return {
        "cves": [advisory.cve],
        "ranges": [
            {
                "version": {"type": "semver", "constraint": constraint},
                "fix": {"state": "fixed", "version": version}
                if version
                else {"state": "not-fixed"},
            }
            for constraint, version in zip(affected, fixed, strict=True)
        ],
    }
