-- The first migration: every table, in the schema that is first on the search path.
--
-- What a task is lies in `body` from the day it is submitted and is not written again; where it stands lies in `task` while it is
-- unfinished and in `final` from its end on. So what changes all the time is small and narrow, and what is kept for days has no
-- dead rows until it is pruned.

CREATE TABLE meta (                -- one row, written last in every transaction that logs something
    seq bigint NOT NULL            -- of the newest event there ever was
) WITH (fillfactor = 10);
INSERT INTO meta VALUES (0);

CREATE TABLE line (                -- where claimable tasks of one queue, type and announcement stand; never deleted
    n           integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    queue       text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    hash        text COLLATE "C" NOT NULL,
    waiting     bigint NOT NULL DEFAULT 0,  -- from here on: how many tasks stand at each state, with and without a limit key
    later       bigint NOT NULL DEFAULT 0,
    ready       bigint NOT NULL DEFAULT 0,
    in_progress bigint NOT NULL DEFAULT 0,
    done        bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    cancelled   bigint NOT NULL DEFAULT 0,
    head        double precision NOT NULL DEFAULT '-Infinity',  -- no claimable task without a limit key has a smaller rank: a claim
                                   -- begins there, and does not walk over all that was claimed since the last vacuum
    joins       bigint NOT NULL DEFAULT 0,  -- transactions that brought a claimable one: a head is raised only if it is as it was
    UNIQUE (queue, type, hash)
) WITH (fillfactor = 20);

CREATE TABLE keyed_line (          -- where those with a limit key stand; there while something is claimable or runs
    line    integer NOT NULL,
    key     text COLLATE "C" NOT NULL,
    head    double precision,      -- rank of the first claimable one; NULL: none is
    first   text COLLATE "C",      -- id of it: of a batch there may be thousands of one rank
    running bigint NOT NULL,       -- counted whether there is a limit or not: one may be set later
    closed  boolean NOT NULL DEFAULT false,  -- a claim found as many running as may; until one ends or the limit is changed
    PRIMARY KEY (line, key)
);
CREATE INDEX keyed_heads ON keyed_line (line, closed, head, first) WHERE head IS NOT NULL;
CREATE INDEX keyed_idle ON keyed_line (line) WHERE head IS NULL AND running <= 0;
CREATE INDEX keyed_key ON keyed_line (key);

CREATE SEQUENCE body_n CACHE 64;
CREATE TABLE body (                -- of every task: what it was submitted with
    n            bigint PRIMARY KEY,  -- from `body_n`
    id           text COLLATE "C" NOT NULL UNIQUE,
    line         integer NOT NULL,
    priority     bigint NOT NULL,
    max_attempts bigint NOT NULL,
    run_anyway   boolean NOT NULL DEFAULT false,  -- also when a parent ends without `done`
    created_at   double precision NOT NULL,
    timeout      double precision,
    limit_key    text COLLATE "C" NOT NULL DEFAULT '',  -- '': none
    tags         text,             -- JSON array, NULL when empty
    payload      bytea NOT NULL,   -- JSON, opaque
    extras       bytea             -- JSON, opaque: what travels with it besides its payload
);
ALTER TABLE body ALTER COLUMN payload SET STORAGE EXTERNAL;  -- here and below: to compress a MiB takes longer than to write it
CREATE INDEX body_created ON body (created_at, id);

CREATE TABLE task (                -- of every unfinished task: where it stands
    n            bigint PRIMARY KEY,
    line         integer NOT NULL,
    state        smallint NOT NULL,  -- 1 waiting, 2 later, 3 ready (both `queued`), 4 in_progress
    suspect      boolean NOT NULL DEFAULT false,
    cancel_asked boolean NOT NULL DEFAULT false,
    attempt      integer NOT NULL DEFAULT 0,
    rank         double precision NOT NULL,
    run_at       double precision NOT NULL,
    created_at   double precision NOT NULL,
    started_at   double precision,
    lease_until  double precision,
    keep         double precision,
    needed_until double precision, -- not pruned before
    expires_at   double precision,
    failures     bigint NOT NULL DEFAULT 0,
    losses       bigint NOT NULL DEFAULT 0,
    deferrals    bigint NOT NULL DEFAULT 0,
    generation   integer NOT NULL DEFAULT 0,
    id           text COLLATE "C" NOT NULL,
    limit_key    text COLLATE "C" NOT NULL DEFAULT '',
    token        text COLLATE "C", -- of the newest lease
    worker       text COLLATE "C",
    unique_key   text COLLATE "C"
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX task_ready ON task (line, limit_key, rank, id) WHERE state = 3;
CREATE INDEX task_later ON task (run_at) WHERE state = 2;
CREATE INDEX task_waiting ON task (created_at, id) WHERE state = 1;
CREATE INDEX task_held ON task (worker) WHERE state = 4;
CREATE INDEX task_unstarted ON task (expires_at) WHERE expires_at IS NOT NULL AND state <= 3 AND attempt = 0;
CREATE INDEX task_unique ON task (unique_key) WHERE unique_key IS NOT NULL;

CREATE TABLE final (               -- of every final task: how it ended
    n            bigint PRIMARY KEY,
    line         integer NOT NULL,
    state        smallint NOT NULL,  -- 5 done, 6 failed, 7 cancelled
    cancel_asked boolean NOT NULL DEFAULT false,
    attempt      integer NOT NULL,
    rank         double precision NOT NULL,
    run_at       double precision NOT NULL,
    created_at   double precision NOT NULL,
    started_at   double precision,
    finished_at  double precision NOT NULL,
    keep         double precision,
    needed_until double precision,
    expires_at   double precision,
    failures     bigint NOT NULL,
    losses       bigint NOT NULL,
    deferrals    bigint NOT NULL,
    generation   integer NOT NULL,
    id           text COLLATE "C" NOT NULL,
    token        text COLLATE "C", -- of the lease it was settled under: the same settlement told again is known by it
    worker       text COLLATE "C",
    unique_key   text COLLATE "C",
    error        text,             -- JSON
    result       bytea             -- JSON, opaque
);
ALTER TABLE final ALTER COLUMN result SET STORAGE EXTERNAL;
CREATE INDEX final_ended ON final (finished_at, id);
CREATE INDEX final_few ON final (state, created_at, id) WHERE state >= 6;
CREATE INDEX final_plain ON final (finished_at, id) WHERE keep IS NULL AND needed_until IS NULL;
CREATE INDEX final_kept ON final (greatest(finished_at + keep, needed_until))
    WHERE NOT (keep IS NULL AND needed_until IS NULL);

CREATE VIEW every_task AS          -- a task whole, wherever it stands
SELECT body.n, body.id, body.line, body.priority, body.max_attempts, body.run_anyway, body.created_at, body.timeout,
    body.limit_key, body.tags, body.payload, body.extras,
    coalesce(task.state, final.state) AS state, coalesce(task.suspect, false) AS suspect,
    coalesce(task.cancel_asked, final.cancel_asked) AS cancel_asked, coalesce(task.attempt, final.attempt) AS attempt,
    coalesce(task.rank, final.rank) AS rank, coalesce(task.run_at, final.run_at) AS run_at,
    coalesce(task.started_at, final.started_at) AS started_at, final.finished_at, task.lease_until,
    coalesce(task.keep, final.keep) AS keep, coalesce(task.needed_until, final.needed_until) AS needed_until,
    coalesce(task.expires_at, final.expires_at) AS expires_at, coalesce(task.failures, final.failures) AS failures,
    coalesce(task.losses, final.losses) AS losses, coalesce(task.deferrals, final.deferrals) AS deferrals,
    coalesce(task.generation, final.generation) AS generation, coalesce(task.token, final.token) AS token,
    coalesce(task.worker, final.worker) AS worker, coalesce(task.unique_key, final.unique_key) AS unique_key,
    final.error, final.result
FROM body LEFT JOIN task ON task.n = body.n LEFT JOIN final ON final.n = body.n;

CREATE TABLE edge (                -- what a task depends on; goes with the child
    child  bigint NOT NULL,        -- n of the task that waits
    place  integer NOT NULL,       -- in the order of `depends_on`
    parent text COLLATE "C" NOT NULL,  -- id
    ref    text,
    open   boolean NOT NULL,       -- the child is `waiting`, and for this parent too
    PRIMARY KEY (child, place)
);
CREATE INDEX edge_parent ON edge (parent, child);
CREATE INDEX edge_open ON edge (parent) WHERE open;
CREATE INDEX edge_awaited ON edge (child) WHERE open;

CREATE TABLE cascade (             -- parents whose dependents one commit could not all see to
    kind   smallint NOT NULL,      -- 1: it has ended, 2: it was retried or revived
    parent text COLLATE "C" NOT NULL,
    after  bigint NOT NULL,        -- dependents up to this n are seen to; an end needs none, its open edges are the list
    PRIMARY KEY (kind, parent)
);

CREATE TABLE note (                -- small things under a task; earlier attempts are among them
    task  bigint NOT NULL,         -- n
    key   text COLLATE "C" NOT NULL,
    value bytea NOT NULL,          -- JSON, opaque
    PRIMARY KEY (task, key)
);

CREATE TABLE gate (                -- there while it holds anything back
    scope               text COLLATE "C" PRIMARY KEY,  -- queue/NAME or type/NAME
    paused              boolean NOT NULL,
    paused_until        double precision,
    reason              text,
    max_running         bigint,
    max_running_per_key bigint,
    rate                double precision,
    tat                 double precision NOT NULL      -- the theoretical arrival time of the rate: see `gates.py`
);

CREATE TABLE log (                 -- events; one row for those of one commit
    last    bigint PRIMARY KEY,    -- seq of the newest of them
    first   bigint NOT NULL,       -- and of the oldest
    time    double precision NOT NULL,
    entries bytea NOT NULL         -- msgpack: of each event id, line, state, attempt, kind and data
);
ALTER TABLE log ALTER COLUMN entries SET STORAGE EXTERNAL;

CREATE TABLE log_floor (           -- one row: events up to this seq are trimmed
    seq bigint NOT NULL
);
INSERT INTO log_floor VALUES (0);

CREATE TABLE record (
    key        text COLLATE "C" PRIMARY KEY,
    value      bytea NOT NULL,
    version    bigint NOT NULL,
    first_at   double precision NOT NULL,
    written_at double precision NOT NULL,
    expires_at double precision
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX record_expires ON record (expires_at) WHERE expires_at IS NOT NULL;

-- Write the counts of lines and the log: the end of every transaction, because `meta` is locked from here to its commit.
-- lines: numbers in order; changes: seven of each line, in the order of its columns; joined: the smallest rank that became claimable
-- in each, NULL for none; claimed: up to which rank it was claimed, NULL for not; seen: its `joins` before that; count: of events.
-- Out: the seq of the last.
CREATE FUNCTION finish_1(lines integer[], changes bigint[], joined double precision[], claimed double precision[], seen bigint[],
    count integer, at double precision, packed bytea) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    i integer;
    b integer;
    newest bigint;
BEGIN
    FOR i IN 1 .. cardinality(lines) LOOP
        b := (i - 1) * 7;
        UPDATE line SET waiting = waiting + changes[b + 1], later = later + changes[b + 2], ready = ready + changes[b + 3],
            in_progress = in_progress + changes[b + 4], done = done + changes[b + 5], failed = failed + changes[b + 6],
            cancelled = cancelled + changes[b + 7], joins = joins + (joined[i] IS NOT NULL)::int,
            head = CASE WHEN claimed[i] IS NOT NULL AND joins = seen[i] THEN claimed[i] ELSE least(head, joined[i]) END
        WHERE line.n = lines[i];
    END LOOP;
    IF count > 0 THEN
        UPDATE meta SET seq = seq + count RETURNING seq INTO newest;
        INSERT INTO log (last, first, time, entries) VALUES (newest, newest - count + 1, at, packed);
    END IF;
    RETURN newest;
END $$;

-- See to the dependents of tasks that have ended: close their edges, cancel those that mind how it was, release those that wait
-- for nothing more, and go on with what was cancelled. The parents of what is left over when the budget is spent are kept in
-- `cascade`. reasons: the errors of dependents of a failed and of a cancelled parent, for whose id {parent} stands.
-- Out: each task that moved, in order; last a row with what is left of the budget as `n` alone.
CREATE FUNCTION follow_ends_1(ended text[], budget integer, at double precision, reasons text[])
RETURNS TABLE (n bigint, id text, line integer, limit_key text, state smallint, after smallint, attempt integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    parents text[] := ended;
    next text[];
    children bigint[];
    through text[];
    ends smallint[];
    moved record;
BEGIN
    WHILE cardinality(parents) > 0 LOOP
        next := '{}';
        WITH final_ones AS MATERIALIZED (
            SELECT v.parent, coalesce(final.state, 5::smallint) AS state FROM unnest(parents) AS v (parent)
            LEFT JOIN body ON body.id = v.parent LEFT JOIN task ON task.n = body.n LEFT JOIN final ON final.n = body.n
            WHERE task.n IS NULL
        ), over AS (
            SELECT edge.child, edge.place, edge.parent, final_ones.state FROM final_ones
            JOIN edge ON edge.parent = final_ones.parent AND edge.open LIMIT greatest(budget, 0)
        ), closed AS (
            UPDATE edge SET open = false FROM over WHERE edge.child = over.child AND edge.place = over.place
            RETURNING over.child, over.parent, over.state
        )
        SELECT array_agg(child), array_agg(parent), array_agg(closed.state) INTO children, through, ends FROM closed;
        budget := budget - coalesce(cardinality(children), 0);
        FOR moved IN
            WITH bad AS (
                SELECT DISTINCT ON (v.child) v.child, replace(reasons[v.how - 5], '{parent}',
                    substr(to_json(v.parent)::text, 2, length(to_json(v.parent)::text) - 2)) AS error
                FROM unnest(children, through, ends) AS v (child, parent, how) JOIN body ON body.n = v.child
                WHERE v.how > 5 AND NOT body.run_anyway
            ), gone AS (
                DELETE FROM task USING bad WHERE task.n = bad.child AND task.state <= 3 RETURNING task.*, bad.error
            ), closed AS (
                UPDATE edge SET open = false FROM bad WHERE edge.child = bad.child AND edge.open
            ), cancelled AS (
                INSERT INTO final (n, line, state, cancel_asked, attempt, rank, run_at, created_at, finished_at, keep, needed_until,
                    expires_at, failures, losses, deferrals, generation, id, unique_key, error)
                SELECT n, line, 7, cancel_asked, attempt, rank, run_at, created_at, at, keep, needed_until, expires_at, failures,
                    losses, deferrals, generation, id, unique_key, error FROM gone
            )
            SELECT gone.n, gone.id, gone.line, gone.limit_key, gone.state, 7::smallint AS after, gone.attempt FROM gone ORDER BY gone.n
        LOOP
            next := next || moved.id;
            RETURN QUERY SELECT moved.n, moved.id, moved.line, moved.limit_key, moved.state, moved.after, moved.attempt;
        END LOOP;
        RETURN QUERY
        WITH freed AS (
            UPDATE task SET state = CASE WHEN task.run_at <= at THEN 3 ELSE 2 END, run_at = greatest(task.run_at, at),
                rank = task.rank + (greatest(task.run_at, at) - task.run_at)
            WHERE task.n = ANY(children) AND task.state + 0 = 1 -- or it might walk along all that wait
                AND NOT EXISTS (SELECT 1 FROM edge WHERE edge.child = task.n AND edge.open)
            RETURNING task.n, task.id, task.line, task.limit_key, task.state, task.attempt
        )
        SELECT freed.n, freed.id, freed.line, freed.limit_key, 1::smallint, freed.state, freed.attempt FROM freed ORDER BY freed.n;
        IF budget <= 0 THEN
            INSERT INTO cascade (kind, parent, after) SELECT 1, v.parent, 0 FROM unnest(parents) AS v (parent)
            WHERE EXISTS (SELECT 1 FROM edge WHERE edge.parent = v.parent AND edge.open) ON CONFLICT DO NOTHING;
        END IF;
        parents := next;
        IF cardinality(parents) > 0 THEN
            budget := budget - 4; -- a generation of one costs as much as a few dependents of one parent
        END IF;
    END LOOP;
    RETURN QUERY SELECT budget::bigint, NULL::text, 0, ''::text, 0::smallint, 0::smallint, 0;
END $$;

-- See to the dependents of tasks that have begun anew, behind the n of those that are seen to already: what still waits waits for
-- them again, and what was cancelled through them alone is revived, and its dependents after it. What is left over when the
-- budget is spent is kept in `cascade`; so many parents looked at as `a_step` says weigh as much as one dependent.
-- Out: as `follow_ends_1`.
CREATE FUNCTION follow_restarts_1(restarted text[], seen bigint[], budget integer, at double precision, a_step integer)
RETURNS TABLE (n bigint, id text, line integer, limit_key text, state smallint, after smallint, attempt integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    parents text[] := restarted;
    places bigint[] := seen;
    i integer := 1;
    this bigint;
    old record;
    known integer;
    waits boolean;
    bad boolean;
    due double precision;
    becomes smallint;
BEGIN
    WHILE i <= cardinality(parents) LOOP
        LOOP
            SELECT edge.child INTO this FROM edge WHERE edge.parent = parents[i] AND edge.child > places[i] ORDER BY edge.child LIMIT 1;
            EXIT WHEN this IS NULL;
            IF budget <= 0 THEN
                INSERT INTO cascade (kind, parent, after) VALUES (2, parents[i], places[i])
                ON CONFLICT (kind, parent) DO UPDATE SET after = excluded.after;
                EXIT;
            END IF;
            budget := budget - 1;
            places[i] := this;
            IF EXISTS (SELECT 1 FROM task WHERE task.n = this) THEN
                UPDATE edge SET open = true WHERE edge.child = this AND NOT edge.open
                    AND EXISTS (SELECT 1 FROM task WHERE task.n = this AND task.state = 1)
                    AND EXISTS (SELECT 1 FROM body JOIN task ON task.n = body.n WHERE body.id = edge.parent);
                CONTINUE;
            END IF;
            SELECT final.*, body.run_anyway, body.limit_key, line.type INTO old FROM final JOIN body ON body.n = final.n
            JOIN line ON line.n = final.line WHERE final.n = this AND final.state = 7 AND NOT final.cancel_asked;
            CONTINUE WHEN NOT FOUND OR old.error::json ->> 'code' IS DISTINCT FROM 'dependency_failed' OR EXISTS (
                SELECT 1 FROM task JOIN line ON line.n = task.line WHERE task.unique_key = old.unique_key AND line.type = old.type);
            SELECT count(*), count(task.n) > 0, count(*) FILTER (WHERE final.state > 5) > 0 INTO known, waits, bad
            FROM edge LEFT JOIN body ON body.id = edge.parent LEFT JOIN task ON task.n = body.n LEFT JOIN final ON final.n = body.n
            WHERE edge.child = this;
            budget := budget - known / a_step;
            CONTINUE WHEN bad AND NOT old.run_anyway;
            due := greatest(old.run_at, at);
            becomes := CASE WHEN waits THEN 1 WHEN due <= at THEN 3 ELSE 2 END;
            DELETE FROM final WHERE final.n = this;
            INSERT INTO task (n, line, state, attempt, rank, run_at, created_at, keep, needed_until, expires_at, generation, id,
                limit_key, unique_key)
            VALUES (this, old.line, becomes, old.attempt, old.rank + (due - old.run_at), due, old.created_at, old.keep,
                old.needed_until, CASE WHEN old.expires_at > at THEN old.expires_at END, old.generation + 1, old.id, old.limit_key,
                old.unique_key);
            IF waits THEN
                UPDATE edge SET open = true WHERE edge.child = this AND NOT edge.open
                    AND EXISTS (SELECT 1 FROM body JOIN task ON task.n = body.n WHERE body.id = edge.parent);
            END IF;
            budget := budget - 2; -- it costs more than to look at one that stays as it is
            parents := parents || old.id;
            places := places || 0::bigint;
            RETURN QUERY SELECT this, old.id, old.line, old.limit_key, 7::smallint, becomes, old.attempt;
        END LOOP;
        i := i + 1;
    END LOOP;
    RETURN QUERY SELECT budget::bigint, NULL::text, 0, ''::text, 0::smallint, 0::smallint, 0;
END $$;
