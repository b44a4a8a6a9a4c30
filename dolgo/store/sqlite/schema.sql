-- Migrations in order; each block brings the file from version n - 1 to n (PRAGMA user_version).

-- migration: 1
CREATE TABLE line (                -- where claimable tasks of one queue, type and announcement stand; never deleted
    n           INTEGER PRIMARY KEY,
    queue       TEXT NOT NULL,
    type        TEXT NOT NULL,
    hash        TEXT NOT NULL,
    head        REAL,              -- no claimable task of the line has a smaller rank; NULL: none is claimable
    later       INTEGER NOT NULL DEFAULT 0,  -- from here on: how many tasks stand at each state
    ready       INTEGER NOT NULL DEFAULT 0,
    in_progress INTEGER NOT NULL DEFAULT 0,
    done        INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    cancelled   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (queue, type, hash)
);

CREATE TABLE task (
    n            INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    line         INTEGER NOT NULL,
    state        INTEGER NOT NULL, -- 1 later, 2 ready (both `queued`), 3 in_progress, 4 done, 5 failed, 6 cancelled
    rank         REAL NOT NULL,
    run_at       REAL NOT NULL,
    priority     INTEGER NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    failures     INTEGER NOT NULL DEFAULT 0,
    losses       INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    suspect      INTEGER NOT NULL DEFAULT 0,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    token        TEXT,             -- of the newest lease; stays on a final task
    worker       TEXT,
    lease_until  REAL,
    created_at   REAL NOT NULL,
    started_at   REAL,
    finished_at  REAL,
    tags         TEXT,             -- JSON array, NULL when empty
    history      TEXT,             -- JSON array of earlier attempts, NULL when empty
    error        TEXT,             -- JSON
    payload      BLOB NOT NULL,    -- JSON, opaque
    result       BLOB              -- JSON, opaque
);
CREATE INDEX task_ready ON task (line, rank, id) WHERE state = 2;
CREATE INDEX task_later ON task (run_at) WHERE state = 1;
CREATE INDEX task_held ON task (worker, lease_until) WHERE state = 3;
CREATE INDEX task_asked ON task (worker) WHERE state = 3 AND cancel_asked = 1;
CREATE INDEX task_created ON task (created_at, id);
CREATE INDEX task_ended ON task (finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX task_trouble ON task (state, created_at, id) WHERE state >= 5;

CREATE TABLE event (               -- appended last in every commit, so a reader never sees a later seq before an earlier one
    seq     INTEGER PRIMARY KEY,
    time    REAL NOT NULL,
    id      TEXT NOT NULL,
    line    INTEGER NOT NULL,
    state   INTEGER NOT NULL,
    attempt INTEGER NOT NULL
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
