-- Migrations in order; each block brings the file to version n (PRAGMA user_version). Versions before the first one here were
-- never released.

-- migration: 2
CREATE TABLE line (                -- where claimable tasks of one queue, type and announcement stand; never deleted
    n           INTEGER PRIMARY KEY,
    queue       TEXT NOT NULL,
    type        TEXT NOT NULL,
    hash        TEXT NOT NULL,
    head        REAL,              -- no claimable task without a limit key has a smaller rank; NULL: none is claimable
    waiting     INTEGER NOT NULL DEFAULT 0,  -- from here on: how many tasks stand at each state, with and without a limit key
    later       INTEGER NOT NULL DEFAULT 0,
    ready       INTEGER NOT NULL DEFAULT 0,
    in_progress INTEGER NOT NULL DEFAULT 0,
    done        INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    cancelled   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (queue, type, hash)
);

CREATE TABLE keyed_line (          -- where those with a limit key stand; there while something is claimable or runs
    line    INTEGER NOT NULL,
    key     TEXT NOT NULL,
    head    REAL,                  -- rank of the first claimable one; NULL: none is
    first   TEXT,                  -- id of it: of a batch there may be thousands of one rank
    running INTEGER NOT NULL,      -- counted whether there is a limit or not: one may be set later
    closed  INTEGER NOT NULL DEFAULT 0,  -- 1: a claim found as many running as may; until one ends or the limit is changed
    PRIMARY KEY (line, key)
) WITHOUT ROWID;
CREATE INDEX keyed_heads ON keyed_line (line, closed, head, first) WHERE head IS NOT NULL;
CREATE INDEX keyed_idle ON keyed_line (line) WHERE head IS NULL AND running <= 0;
CREATE INDEX keyed_key ON keyed_line (key);

CREATE TABLE task (
    n            INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    line         INTEGER NOT NULL,
    state        INTEGER NOT NULL, -- 1 waiting, 2 later, 3 ready (both `queued`), 4 in_progress, 5 done, 6 failed, 7 cancelled
    rank         REAL NOT NULL,
    run_at       REAL NOT NULL,
    priority     INTEGER NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    failures     INTEGER NOT NULL DEFAULT 0,
    losses       INTEGER NOT NULL DEFAULT 0,
    deferrals    INTEGER NOT NULL DEFAULT 0,
    generation   INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    suspect      INTEGER NOT NULL DEFAULT 0,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    run_anyway   INTEGER NOT NULL DEFAULT 0,  -- 1: also when a parent ends without `done`
    limit_key    TEXT NOT NULL DEFAULT '',    -- '': none
    token        TEXT,             -- of the newest lease; stays on a final task
    worker       TEXT,
    lease_until  REAL,
    created_at   REAL NOT NULL,
    started_at   REAL,
    finished_at  REAL,
    timeout      REAL,
    keep         REAL,
    needed_until REAL,             -- not pruned before
    expires_at   REAL,
    unique_key   TEXT,
    tags         TEXT,             -- JSON array, NULL when empty
    error        TEXT,             -- JSON
    payload      BLOB NOT NULL,    -- JSON, opaque
    result       BLOB              -- JSON, opaque
);
CREATE INDEX task_ready ON task (line, limit_key, rank, id) WHERE state = 3;
CREATE INDEX task_later ON task (run_at) WHERE state = 2;
CREATE INDEX task_held ON task (worker, lease_until) WHERE state = 4;
CREATE INDEX task_asked ON task (worker) WHERE state = 4 AND cancel_asked = 1;
CREATE INDEX task_unstarted ON task (expires_at) WHERE expires_at IS NOT NULL AND state <= 3 AND attempt = 0;
CREATE INDEX task_unique ON task (unique_key) WHERE unique_key IS NOT NULL AND state < 5;
CREATE INDEX task_created ON task (created_at, id);
CREATE INDEX task_ended ON task (keep IS NULL AND needed_until IS NULL, finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX task_few ON task (state, created_at, id) WHERE state = 1 OR state >= 6;
CREATE INDEX task_kept ON task (max(coalesce(finished_at + keep, 0), coalesce(needed_until, 0)))
    WHERE finished_at IS NOT NULL AND NOT (keep IS NULL AND needed_until IS NULL);

CREATE TABLE edge (                -- what a task depends on; goes with the child
    child  INTEGER NOT NULL,       -- n of the task that waits
    place  INTEGER NOT NULL,       -- in the order of `depends_on`
    parent TEXT NOT NULL,          -- id
    ref    TEXT,
    open   INTEGER NOT NULL,       -- 1: the child is `waiting`, and for this parent too
    PRIMARY KEY (child, place)
) WITHOUT ROWID;
CREATE INDEX edge_parent ON edge (parent);
CREATE INDEX edge_open ON edge (parent) WHERE open = 1;
CREATE INDEX edge_awaited ON edge (child) WHERE open = 1;

CREATE TABLE cascade (             -- parents whose dependents one commit could not all see to
    kind   INTEGER NOT NULL,       -- 1: it has ended, 2: it was retried or revived
    parent TEXT NOT NULL,
    after  INTEGER NOT NULL,       -- dependents up to this n are seen to; an end needs none, its open edges are the list
    PRIMARY KEY (kind, parent)
) WITHOUT ROWID;

CREATE TABLE note (                -- small things under a task; earlier attempts are among them
    task  INTEGER NOT NULL,        -- n
    key   TEXT NOT NULL,
    value BLOB NOT NULL,           -- JSON, opaque
    PRIMARY KEY (task, key)
) WITHOUT ROWID;

CREATE TABLE gate (                -- there while it holds anything back
    scope               TEXT PRIMARY KEY,  -- queue/NAME or type/NAME
    paused              INTEGER NOT NULL,
    paused_until        REAL,
    reason              TEXT,
    max_running         INTEGER,
    max_running_per_key INTEGER,
    rate                REAL,
    tat                 REAL NOT NULL      -- the theoretical arrival time of the rate: see `gates.py`
) WITHOUT ROWID;

CREATE TABLE gating (              -- one row, by which other processes see that gates were changed: that is no event
    changes INTEGER NOT NULL
);
INSERT INTO gating VALUES (0);

CREATE TABLE event (               -- appended last in every commit, so a reader never sees a later seq before an earlier one
    seq     INTEGER PRIMARY KEY,
    time    REAL NOT NULL,
    id      TEXT NOT NULL,
    line    INTEGER NOT NULL,
    state   INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind    INTEGER NOT NULL DEFAULT 0,    -- 0 status, 1 progress, 2 log
    data    BLOB                           -- JSON, opaque
);

CREATE TABLE record (
    key        TEXT PRIMARY KEY,
    value      BLOB NOT NULL,
    version    INTEGER NOT NULL,
    first_at   REAL NOT NULL,
    written_at REAL NOT NULL,
    expires_at REAL
) WITHOUT ROWID;
CREATE INDEX record_expires ON record (expires_at) WHERE expires_at IS NOT NULL;

-- migration: 3
ALTER TABLE task ADD COLUMN extras BLOB;  -- JSON, opaque: what travels with it besides its payload
