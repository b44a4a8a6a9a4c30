-- The second migration: what a plain batch is written by, in one way to the server.

-- Submit, settle and claim where no rule but the order of tasks has a say. Called by itself it is a transaction of its own, which
-- takes the locks that `turn.py` tells of and does what the statements of the same names would.
-- In: the time (NULL: the server's); of each task submitted id, line, lead, run_at, delay, priority, max_attempts, tags, payload; of
-- each that ended number, id, token, line, state, result, error, failures, losses, deferrals; of each claim worker, limit, seconds
-- of the lease, lines it fits (as text), and for all of them the lines known; how many events submits and ends make, and these as
-- msgpack, one behind the other; the channel and the beginning of the notice to send (NULL: none).
-- Out: each task that was claimed, with the place of its claim; last a row of place 0, whose time, seq of the last event (NULL: there
-- was none) and next due time hold for all. No row at all: rules have a say, and nothing was done. An end that does not take is an
-- error, UD001.
CREATE FUNCTION quick_1(given double precision, ids text[], lines integer[], leads double precision[], run_ats double precision[],
    delays double precision[], priorities bigint[], most_attempts bigint[], tag_lists text[], payloads bytea[],
    ended bigint[], ended_ids text[], tokens text[], ended_lines integer[], states smallint[], results bytea[], errors text[],
    failure_counts bigint[], loss_counts bigint[], deferral_counts bigint[],
    workers text[], limits integer[], lease_seconds double precision[], fitting text[], known integer[],
    events integer, packed bytea, channel text, notice text)
RETURNS TABLE (place integer, at double precision, seq bigint, next_due double precision, rank double precision, id text, token text,
    line integer, payload bytea, attempt integer, failures bigint, losses bigint, max_attempts bigint, suspect boolean, tags text,
    deferrals bigint, generation integer, timeout double precision, limit_key text, extras bytea, run_at double precision)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan -- to plan a claim takes as long as to do it
AS $$
#variable_conflict use_column
DECLARE
    lock_key CONSTANT integer := hashtext('dolgo ' || current_schema());
    now_ double precision := given;
    ruled boolean;
    expiry double precision;
    in_lines integer[];   -- submitted: of each line how many are to wait, how many are claimable, and the smallest rank of these
    in_later bigint[];
    in_ready bigint[];
    in_first double precision[];
    lowest double precision := 'Infinity';
    took_lines integer[] := '{}';  -- claimed, in the order of ranks
    took_ranks double precision[] := '{}';
    took_joins bigint[] := '{}';
    joined bigint;
    newest bigint;
    change record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(lock_key, 1);
    now_ := coalesce(given, extract(epoch FROM clock_timestamp())::float8);
    IF cardinality(tokens) > 0 THEN
        -- `open::int`, or it might walk along all that wait
        SELECT EXISTS (SELECT 1 FROM gate) OR EXISTS (SELECT 1 FROM edge WHERE parent = ANY (ended_ids) AND open::int = 1) INTO ruled;
        IF ruled THEN
            RETURN;
        END IF;
    END IF;
    IF cardinality(limits) > 0 THEN
        SELECT (SELECT run_at FROM task WHERE state = 2 ORDER BY run_at LIMIT 1),
            (SELECT expires_at FROM task WHERE expires_at IS NOT NULL AND state <= 3 AND attempt = 0 ORDER BY expires_at LIMIT 1),
            EXISTS (SELECT 1 FROM gate) OR EXISTS (SELECT 1 FROM keyed_line WHERE head IS NOT NULL)
            OR EXISTS (SELECT 1 FROM line WHERE ready > 0 AND n <> ALL (known))
        INTO next_due, expiry, ruled;
        IF ruled OR next_due <= now_ OR expiry <= now_ THEN
            RETURN;
        END IF;
    END IF;

    IF cardinality(ids) > 0 THEN
        WITH v AS MATERIALIZED (
            SELECT nextval('body_n') AS n, u.*, CASE WHEN u.run_at <= now_ THEN 3 ELSE 2 END AS state, u.run_at - u.lead AS rank FROM (
                SELECT w.id, w.line, w.lead, coalesce(w.run_at, now_ + w.delay) AS run_at, w.priority, w.max_attempts, w.tags, w.payload
                FROM unnest(ids, lines, leads, run_ats, delays, priorities, most_attempts, tag_lists, payloads)
                    AS w (id, line, lead, run_at, delay, priority, max_attempts, tags, payload)) AS u
        ), bodies AS (
            INSERT INTO body (n, id, line, priority, max_attempts, created_at, tags, payload)
            SELECT n, id, line, priority, max_attempts, now_, tags, payload FROM v
        ), tasks AS (
            INSERT INTO task (n, id, line, state, rank, run_at, created_at) SELECT n, id, line, state, rank, run_at, now_ FROM v
        ), counted AS (
            SELECT line, count(*) FILTER (WHERE state = 2) AS later, count(*) FILTER (WHERE state = 3) AS ready,
                min(rank) FILTER (WHERE state = 3) AS first FROM v GROUP BY line
        )
        SELECT array_agg(line), array_agg(later), array_agg(ready), array_agg(first), coalesce(min(first), lowest) FROM counted
        INTO in_lines, in_later, in_ready, in_first, lowest;
    END IF;

    IF cardinality(tokens) > 0 THEN
        WITH gone AS (
            DELETE FROM task USING unnest(ended, ended_ids, tokens, states, results, errors, failure_counts, loss_counts,
                deferral_counts) AS v (n, id, token, state, result, error, failures, losses, deferrals)
            WHERE task.n = v.n AND task.id = v.id AND task.token = v.token AND task.state + 0 = 4
            RETURNING task.n, task.line, v.state, task.cancel_asked, task.attempt, task.rank, task.run_at, task.created_at,
                task.started_at, task.keep, task.needed_until, task.expires_at, v.failures, v.losses, v.deferrals, task.generation,
                task.id, task.token, task.worker, task.unique_key, v.error, v.result
        ), written AS (
            INSERT INTO final (n, line, state, cancel_asked, attempt, rank, run_at, created_at, started_at, finished_at, keep,
                needed_until, expires_at, failures, losses, deferrals, generation, id, token, worker, unique_key, error, result)
            SELECT n, line, state, cancel_asked, attempt, rank, run_at, created_at, started_at, now_, keep, needed_until, expires_at,
                failures, losses, deferrals, generation, id, token, worker, unique_key, error, result FROM gone
            RETURNING n
        )
        SELECT count(*) <> cardinality(tokens) INTO ruled FROM written;
        IF ruled THEN
            RAISE EXCEPTION 'an end does not take' USING ERRCODE = 'UD001';
        END IF;
    END IF;

    IF cardinality(limits) > 0 AND (lowest < 'Infinity' OR EXISTS (SELECT 1 FROM line WHERE ready > 0)) THEN
        PERFORM pg_advisory_xact_lock(lock_key, 3);
        now_ := coalesce(given, greatest(now_, extract(epoch FROM clock_timestamp())::float8));
        FOR i IN 1 .. cardinality(limits) LOOP
            place := i;
            FOR rank, id, token, line, payload, attempt, failures, losses, max_attempts, suspect, tags, deferrals, generation, timeout,
                limit_key, extras, run_at, joined IN
                WITH heads AS (
                    SELECT line.n, line.joins, least(line.head, lowest) AS head FROM line, LATERAL (
                        SELECT rank, id FROM task WHERE task.line = line.n AND limit_key = '' AND state = 3
                            AND rank >= least(line.head, lowest) ORDER BY rank, id LIMIT 1) AS first
                    WHERE line.n = ANY (fitting[i]::integer[]) AND (line.ready > 0 OR line.n = ANY (in_lines))
                    ORDER BY first.rank, first.id LIMIT limits[i]
                ), picked AS MATERIALIZED (
                    SELECT first.n, heads.joins FROM heads, LATERAL (
                        SELECT n, rank, id FROM task WHERE task.line = heads.n AND limit_key = '' AND state = 3 AND rank >= heads.head
                        ORDER BY rank, id LIMIT limits[i]) AS first
                    ORDER BY first.rank, first.id LIMIT limits[i]
                ), taken AS (
                    UPDATE task SET state = 4, attempt = attempt + 1, worker = workers[i], started_at = now_,
                        lease_until = now_ + lease_seconds[i],
                        token = to_hex(task.n) || '.' || replace(gen_random_uuid()::text, '-', '')
                    FROM picked JOIN body ON body.n = picked.n
                    WHERE task.n = picked.n AND state + 0 = 3 AND (expires_at IS NULL OR expires_at > now_ OR attempt > 0)
                    RETURNING rank, task.id, token, task.line, payload, attempt, failures, losses, max_attempts, suspect, tags,
                        deferrals, generation, timeout, task.limit_key, extras, run_at, picked.joins
                )
                SELECT * FROM taken ORDER BY rank, id
            LOOP
                took_lines := took_lines || line;
                took_ranks := took_ranks || rank;
                took_joins := took_joins || joined;
                events := events + 1;
                -- as msgpack: an array of four, a text of two bytes' length, three numbers of four bytes
                packed := packed || '\x94da'::bytea || int2send(octet_length(id)::smallint) || convert_to(id, 'UTF8')
                    || '\xd2'::bytea || int4send(line) || '\xd200000004d2'::bytea || int4send(attempt);
                RETURN NEXT;
            END LOOP;
        END LOOP;
    END IF;

    FOR change IN
        SELECT v.line, sum(v.later) AS later, sum(v.ready) AS ready, sum(v.running) AS running, sum(v.done) AS done,
            sum(v.failed) AS failed, sum(v.cancelled) AS cancelled, min(v.joined) AS joined, max(v.claimed) AS claimed,
            max(v.seen) AS seen
        FROM (
            SELECT u.line, u.later, u.ready, 0 AS running, 0 AS done, 0 AS failed, 0 AS cancelled, u.first AS joined,
                NULL::float8 AS claimed, NULL::bigint AS seen
            FROM unnest(in_lines, in_later, in_ready, in_first) AS u (line, later, ready, first)
            UNION ALL
            SELECT u.line, 0, 0, -1, (u.state = 5)::int, (u.state = 6)::int, (u.state = 7)::int, NULL, NULL, NULL
            FROM unnest(ended_lines, states) AS u (line, state)
            UNION ALL -- what was picked and has expired may be left before what was taken
            SELECT u.line, 0, -1, 1, 0, 0, 0, NULL, CASE WHEN expiry IS NULL THEN u.rank END, u.joins
            FROM unnest(took_lines, took_ranks, took_joins) AS u (line, rank, joins)
        ) AS v GROUP BY v.line ORDER BY v.line
    LOOP
        UPDATE line SET later = line.later + change.later, ready = line.ready + change.ready,
            in_progress = line.in_progress + change.running, done = line.done + change.done, failed = line.failed + change.failed,
            cancelled = line.cancelled + change.cancelled, joins = line.joins + (change.joined IS NOT NULL)::int,
            head = CASE WHEN change.claimed IS NOT NULL AND line.joins = change.seen THEN change.claimed
                ELSE least(line.head, change.joined) END
        WHERE line.n = change.line;
    END LOOP;
    IF events > 0 THEN
        UPDATE meta SET seq = meta.seq + events RETURNING meta.seq INTO newest;
        INSERT INTO log (last, first, time, entries)
        VALUES (newest, newest - events + 1, now_, '\xdd'::bytea || int4send(events) || packed);
        IF notice IS NOT NULL THEN
            PERFORM pg_notify(channel, notice || ' ' || newest);
        END IF;
    END IF;
    place := 0;
    at := now_;
    seq := newest;
    RETURN NEXT;
END $$;
