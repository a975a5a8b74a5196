"""The schema of both databases as a list of numbered steps; a published step is never edited, only followed."""

from __future__ import annotations

import sqlite3

from realm.core import changes

_FACTS_1 = (
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL DEFAULT '',
        step INTEGER, data TEXT NOT NULL DEFAULT '{}')""",
    "CREATE INDEX events_kind ON events(kind, seq)",
    """CREATE TABLE quests (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, file TEXT NOT NULL,
        sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN
            ('queued','processing','completed','failed','rejected','skipped','deleted')),
        priority TEXT NOT NULL CHECK (priority IN ('high','normal','low')),
        rows INTEGER NOT NULL DEFAULT 0, rows_done INTEGER NOT NULL DEFAULT 0, steps INTEGER, tokens INTEGER,
        skill TEXT, level INTEGER, kind TEXT NOT NULL DEFAULT 'dropped', generator TEXT,
        attempts INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
        arrived_at TEXT NOT NULL, changed_at TEXT NOT NULL,
        claim INTEGER, checkpoint TEXT, state_before TEXT, arrival TEXT UNIQUE,
        kept INTEGER NOT NULL DEFAULT 1)""",
    "CREATE INDEX quests_state ON quests(state, priority, id)",
    """CREATE TABLE checkpoints (
        name TEXT PRIMARY KEY, step INTEGER NOT NULL, state TEXT NOT NULL CHECK (state IN ('present','dropped')),
        pinned INTEGER NOT NULL DEFAULT 0, parent TEXT, generation INTEGER NOT NULL,
        weights_sha256 TEXT NOT NULL, manifest_sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        created_at TEXT NOT NULL, record TEXT NOT NULL)""",
    "CREATE UNIQUE INDEX checkpoints_step ON checkpoints(step) WHERE state = 'present'",
    """CREATE TABLE evals (
        id TEXT PRIMARY KEY, checkpoint TEXT NOT NULL, step INTEGER NOT NULL,
        skill TEXT NOT NULL, level INTEGER NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('static','gate','probe','full')),
        state TEXT NOT NULL CHECK (state IN ('queued','done','no_contest','dropped')),
        attempts INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
        n INTEGER, correct INTEGER, errors INTEGER, truncated INTEGER, static_correct INTEGER, static_n INTEGER,
        weights_sha256 TEXT, prompts_sha256 TEXT, seed TEXT, file TEXT,
        queued_at TEXT NOT NULL, finished_at TEXT, finished INTEGER,
        UNIQUE (checkpoint, skill, level, kind))""",
    "CREATE INDEX evals_state ON evals(state, step)",
    "CREATE INDEX evals_skill ON evals(skill, level, kind, state, finished)",
    """CREATE TABLE gates (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, skill TEXT NOT NULL, level INTEGER NOT NULL,
        checkpoint TEXT NOT NULL, passed INTEGER NOT NULL, evidence TEXT NOT NULL)""",
    "CREATE INDEX gates_skill ON gates(skill, level)",
    """CREATE TABLE masteries (
        skill TEXT NOT NULL, level INTEGER NOT NULL, checkpoint TEXT NOT NULL, step INTEGER NOT NULL,
        at TEXT NOT NULL, evidence TEXT NOT NULL, PRIMARY KEY (skill, level))""",
    """CREATE TABLE decisions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, skill TEXT NOT NULL, level INTEGER NOT NULL,
        strategy TEXT NOT NULL, reason TEXT NOT NULL, plan TEXT NOT NULL, rows INTEGER NOT NULL, quest TEXT)""",
    """CREATE TABLE champions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, checkpoint TEXT NOT NULL, step INTEGER NOT NULL,
        metric TEXT NOT NULL, value REAL NOT NULL, reason TEXT NOT NULL)""",
    """CREATE TABLE services (
        name TEXT PRIMARY KEY, state TEXT NOT NULL, pid INTEGER, created REAL, instance TEXT, port INTEGER,
        since TEXT NOT NULL, restarts INTEGER NOT NULL DEFAULT 0, fails INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '')""",
    "CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, generation INTEGER NOT NULL, at TEXT NOT NULL)",
    "CREATE TABLE replies (key TEXT PRIMARY KEY, at TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL)",
    "CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
)

_FACTS_2 = (
    """CREATE TABLE task_runs (
        id TEXT PRIMARY KEY, task TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('running','done','failed','interrupted')),
        asked_by TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT, seconds REAL, summary TEXT NOT NULL DEFAULT '')""",
    "CREATE INDEX task_runs_task ON task_runs(task, id)",
)

_FACTS_3 = (
    """CREATE TABLE assets (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        type TEXT NOT NULL CHECK (type IN ('checkpoint','model','data','config','snapshot','backup')),
        name TEXT NOT NULL, size INTEGER NOT NULL, file_count INTEGER NOT NULL, digest TEXT NOT NULL,
        created_at TEXT NOT NULL, registered_at TEXT NOT NULL, meta TEXT NOT NULL DEFAULT '{}')""",
    "CREATE INDEX assets_type ON assets(type, seq)",
    "CREATE TABLE asset_manifests (asset_id TEXT PRIMARY KEY REFERENCES assets(id) ON DELETE CASCADE, files TEXT NOT NULL)",
    """CREATE TABLE locations (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        asset_id TEXT NOT NULL REFERENCES assets(id) ON DELETE CASCADE,
        zone TEXT NOT NULL, stronghold TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('local','nas','remote','cloud')), path TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('present','quarantined','missing')),
        verified_at TEXT, checked INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', changed_at TEXT NOT NULL,
        UNIQUE (zone, stronghold, path))""",
    "CREATE INDEX locations_asset ON locations(asset_id)",
    "CREATE INDEX locations_checked ON locations(kind, state, checked)",
    "CREATE INDEX locations_number ON locations(checked)",
    """CREATE TABLE scanned_files (
        path TEXT PRIMARY KEY, asset_id TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX scanned_files_sha256 ON scanned_files(sha256, size)",
    "CREATE VIRTUAL TABLE asset_words USING fts5(id, name, type, words)",
)

_FACTS_TRANSFERS = (
    """CREATE TABLE transfers (
        id TEXT PRIMARY KEY, asset TEXT NOT NULL, digest TEXT NOT NULL DEFAULT '',
        direction TEXT NOT NULL CHECK (direction IN ('pull','push')),
        peer TEXT NOT NULL, peer_kind TEXT NOT NULL CHECK (peer_kind IN ('zone','stronghold')),
        state TEXT NOT NULL CHECK (state IN ('queued','running','done','failed')),
        runner TEXT NOT NULL, remote_id TEXT NOT NULL DEFAULT '', limit_mb_s REAL,
        bytes_total INTEGER NOT NULL DEFAULT 0, bytes_done INTEGER NOT NULL DEFAULT 0, bytes_moved INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
        asked_at TEXT NOT NULL, changed_at TEXT NOT NULL, seconds REAL NOT NULL DEFAULT 0)""",
    # Asking twice for the same is asking once.
    "CREATE UNIQUE INDEX transfers_open ON transfers(asset, peer, direction) WHERE state IN ('queued','running')",
    "CREATE INDEX transfers_state ON transfers(state, id)",
)

# What a quest brought, stored once with its completion; where the process died while it trained a quest, and how often there.
_FACTS_BATTLES = (
    """CREATE TABLE receipts (
        quest TEXT PRIMARY KEY, at TEXT NOT NULL, step INTEGER NOT NULL, receipt TEXT NOT NULL)""",
    """CREATE TABLE deaths (
        quest TEXT PRIMARY KEY, at TEXT NOT NULL, place INTEGER NOT NULL, times INTEGER NOT NULL)""",
)

# Versions of the hero that were given a name; what was measured of one is kept with it.
_FACTS_CHRONICLE = (
    """CREATE TABLE chronicle (
        name TEXT PRIMARY KEY, checkpoint TEXT NOT NULL, step INTEGER NOT NULL, at TEXT NOT NULL,
        why TEXT NOT NULL, notes TEXT NOT NULL DEFAULT '', measured TEXT NOT NULL DEFAULT '{}')""",
)

# Where the player put a waiting quest among those of its priority; without one, its id (its age) counts.
# A kind of eval more, `passive`: a CHECK changes only with its table. Columns and their order are those of the first step.
_FACTS_PASSIVES = (
    """CREATE TABLE evals_new (
        id TEXT PRIMARY KEY, checkpoint TEXT NOT NULL, step INTEGER NOT NULL,
        skill TEXT NOT NULL, level INTEGER NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('static','gate','probe','full','passive')),
        state TEXT NOT NULL CHECK (state IN ('queued','done','no_contest','dropped')),
        attempts INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
        n INTEGER, correct INTEGER, errors INTEGER, truncated INTEGER, static_correct INTEGER, static_n INTEGER,
        weights_sha256 TEXT, prompts_sha256 TEXT, seed TEXT, file TEXT,
        queued_at TEXT NOT NULL, finished_at TEXT, finished INTEGER,
        UNIQUE (checkpoint, skill, level, kind))""",
    "INSERT INTO evals_new SELECT * FROM evals",
    "DROP TABLE evals",
    "ALTER TABLE evals_new RENAME TO evals",
    "CREATE INDEX evals_state ON evals(state, step)",
    "CREATE INDEX evals_skill ON evals(skill, level, kind, state, finished)",
)

# The same table once more, for evals of words that no training row answers with.
_FACTS_UNSEEN = tuple(text.replace("'passive')", "'passive','unseen')") for text in _FACTS_PASSIVES)

_FACTS_PLACES = ("ALTER TABLE quests ADD COLUMN place TEXT",)

_TELEMETRY_1 = (
    """CREATE TABLE steps (
        step INTEGER PRIMARY KEY, at TEXT NOT NULL, loss REAL NOT NULL, lr REAL NOT NULL, grad_norm REAL NOT NULL,
        trained_tokens INTEGER NOT NULL, tokens INTEGER NOT NULL, seconds REAL NOT NULL, quest TEXT NOT NULL)""",
    "CREATE TABLE validation (step INTEGER PRIMARY KEY, at TEXT NOT NULL, loss REAL NOT NULL, tokens INTEGER NOT NULL)",
)


def _facts_1(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_1:
        connection.execute(statement)


def _facts_2(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_2:
        connection.execute(statement)


def _facts_3(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_3:
        connection.execute(statement)


def _facts_transfers(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_TRANSFERS:
        connection.execute(statement)


def _facts_battles(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_BATTLES:
        connection.execute(statement)


def _facts_changes(connection: sqlite3.Connection) -> None:
    changes.make_table(connection)


def _facts_chronicle(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_CHRONICLE:
        connection.execute(statement)


def _facts_places(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_PLACES:
        connection.execute(statement)


def _facts_passives(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_PASSIVES:
        connection.execute(statement)


def _facts_unseen(connection: sqlite3.Connection) -> None:
    for statement in _FACTS_UNSEEN:
        connection.execute(statement)


def _telemetry_1(connection: sqlite3.Connection) -> None:
    for statement in _TELEMETRY_1:
        connection.execute(statement)


FACTS = (
    _facts_1, _facts_2, _facts_3, _facts_transfers, _facts_battles, _facts_changes, _facts_chronicle, _facts_places,
    _facts_passives, _facts_unseen,
)  # fmt: skip
TELEMETRY = (_telemetry_1,)
