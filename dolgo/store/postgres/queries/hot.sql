-- The statements of submits, claims and ends. Arrays that are given together are columns of rows. Where rows are known by their
-- numbers, `state + 0` keeps PostgreSQL from walking along a partial index instead, as it would while it has no statistics.

-- name: in_order            out: the time, once it is our turn
WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtext('dolgo ' || current_schema()), 3))
SELECT extract(epoch FROM clock_timestamp())::float8 FROM turn

-- name: extras              out: the time, the next time something is due, the next time something expires, whether there is a gate,
--                           a keyed line to claim from, and a task that waits for another; the lines with something claimable, and how often something joined each
SELECT extract(epoch FROM clock_timestamp())::float8, (SELECT run_at FROM task WHERE state = 2 ORDER BY run_at LIMIT 1),
    (SELECT expires_at FROM task WHERE expires_at IS NOT NULL AND state <= 3 AND attempt = 0 ORDER BY expires_at LIMIT 1),
    EXISTS (SELECT 1 FROM gate), EXISTS (SELECT 1 FROM keyed_line WHERE head IS NOT NULL),
    EXISTS (SELECT 1 FROM edge WHERE open), ARRAY(SELECT n FROM line WHERE ready > 0 ORDER BY n),
    ARRAY(SELECT joins FROM line WHERE ready > 0 ORDER BY n)

-- name: finish              in: lines; of each seven changes, the rank that joined, that was claimed, joins seen; how many events, time,
--                           events
SELECT finish_1($1, $2, $3, $4, $5, $6, $7, $8)

-- name: lines_all
SELECT n, queue, type, hash FROM line

-- name: lines_add           in: queues, types, hashes
INSERT INTO line (queue, type, hash) SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING

-- name: lines_named         in: queues, types, hashes
SELECT n, queue, type, hash FROM unnest($1::text[], $2::text[], $3::text[]) AS v (queue, type, hash)
JOIN line USING (queue, type, hash)

-- name: lines_running       out: how many tasks of each line are in progress
SELECT n, in_progress FROM line WHERE in_progress > 0

-- name: gates
SELECT scope, paused, paused_until, reason, max_running, max_running_per_key, rate, tat FROM gate ORDER BY scope

-- name: gate_started        in: scopes, tats
UPDATE gate SET tat = v.tat FROM unnest($1::text[], $2::float8[]) AS v (scope, tat) WHERE gate.scope = v.scope

-- name: submit              one task each; in: ids, lines, states, ranks, run_ats, priorities, max_attempts, tags, payloads, created_at;
--                           out: their numbers, in the order given
WITH v AS MATERIALIZED (
    SELECT nextval('body_n') AS n, u.* FROM unnest($1::text[], $2::int[], $3::smallint[], $4::float8[], $5::float8[], $6::bigint[],
        $7::bigint[], $8::text[], $9::bytea[])
        AS u (id, line, state, rank, run_at, priority, max_attempts, tags, payload)
), bodies AS (
    INSERT INTO body (n, id, line, priority, max_attempts, created_at, tags, payload)
    SELECT n, id, line, priority, max_attempts, $10, tags, payload FROM v
)
INSERT INTO task (n, id, line, state, rank, run_at, created_at) SELECT n, id, line, state, rank, run_at, $10 FROM v

-- name: submit_full         the same with all there is, of tasks that are not yet final; in: ids, lines, states, ranks, run_ats,
--                           priorities, max_attempts, tags, payloads, limit keys, timeouts, keeps, needed_untils, expires_ats,
--                           run_anyways, unique keys, extras, created_at
WITH v AS MATERIALIZED (
    SELECT nextval('body_n') AS n, u.* FROM unnest($1::text[], $2::int[], $3::smallint[], $4::float8[], $5::float8[], $6::bigint[],
        $7::bigint[], $8::text[], $9::bytea[], $10::text[], $11::float8[], $12::float8[], $13::float8[], $14::float8[], $15::bool[],
        $16::text[], $17::bytea[])
        AS u (id, line, state, rank, run_at, priority, max_attempts, tags, payload, limit_key, timeout, keep, needed_until,
            expires_at, run_anyway, unique_key, extras)
), bodies AS (
    INSERT INTO body (n, id, line, priority, max_attempts, created_at, tags, payload, limit_key, timeout, run_anyway, extras)
    SELECT n, id, line, priority, max_attempts, $18, tags, payload, limit_key, timeout, run_anyway, extras FROM v
), tasks AS (
    INSERT INTO task (n, id, line, state, rank, run_at, created_at, limit_key, keep, needed_until, expires_at, unique_key)
    SELECT n, id, line, state, rank, run_at, $18, limit_key, keep, needed_until, expires_at, unique_key FROM v
)
SELECT n FROM v ORDER BY n

-- name: born_final          tasks just submitted that are cancelled at once; in: numbers, errors, finished_at
WITH gone AS (
    DELETE FROM task USING unnest($1::bigint[], $2::text[]) AS v (n, error) WHERE task.n = v.n RETURNING task.*, v.error
)
INSERT INTO final (n, line, state, attempt, rank, run_at, created_at, finished_at, keep, needed_until, expires_at, failures, losses,
    deferrals, generation, id, unique_key, error)
SELECT n, line, 7, attempt, rank, run_at, created_at, $3, keep, needed_until, expires_at, failures, losses, deferrals, generation, id,
    unique_key, error FROM gone

-- name: due                 tasks whose time has come join their lines; in: now, how many
UPDATE task SET state = 3 WHERE n IN (SELECT n FROM task WHERE state = 2 AND run_at <= $1 ORDER BY run_at LIMIT $2) AND state + 0 = 2
RETURNING line, limit_key, rank

-- name: claim_first         the first tasks by (rank, id) of lines that nothing closes; a line whose first is behind that of as many
--                           others as are wanted has nothing to give; in: lines, how many, worker, now, lease_until, the
--                           smallest rank that this transaction brought itself
WITH heads AS (
    SELECT line.n, least(line.head, $6) AS head FROM line, LATERAL (
        SELECT rank, id FROM task WHERE task.line = line.n AND limit_key = '' AND state = 3 AND rank >= least(line.head, $6)
        ORDER BY rank, id LIMIT 1) AS first
    WHERE line.n = ANY($1::int[]) ORDER BY first.rank, first.id LIMIT $2
), picked AS MATERIALIZED (
    SELECT first.n FROM heads, LATERAL (
        SELECT n, rank, id FROM task WHERE task.line = heads.n AND limit_key = '' AND state = 3 AND rank >= heads.head
        ORDER BY rank, id LIMIT $2) AS first
    ORDER BY first.rank, first.id LIMIT $2
)
UPDATE task SET state = 4, attempt = attempt + 1, worker = $3, started_at = $4, lease_until = $5,
    token = to_hex(task.n) || '.' || replace(gen_random_uuid()::text, '-', '')
FROM picked JOIN body ON body.n = picked.n
WHERE task.n = picked.n AND state + 0 = 3 AND (expires_at IS NULL OR expires_at > $4 OR attempt > 0)
RETURNING rank, task.id, token, task.line, payload, attempt, failures, losses, max_attempts, suspect, tags, deferrals, generation,
    timeout, task.limit_key, extras, run_at

-- name: claim               those picked; in: numbers, worker, now, lease_until
UPDATE task SET state = 4, attempt = attempt + 1, worker = $2, started_at = $3, lease_until = $4,
    token = to_hex(task.n) || '.' || replace(gen_random_uuid()::text, '-', '')
FROM unnest($1::bigint[]) AS v (n) JOIN body ON body.n = v.n
WHERE task.n = v.n AND state + 0 = 3 AND (expires_at IS NULL OR expires_at > $3 OR attempt > 0)
RETURNING rank, task.id, token, task.line, payload, attempt, failures, losses, max_attempts, suspect, tags, deferrals, generation,
    timeout, task.limit_key, extras, run_at

-- name: line_first          the first claimable tasks of a line; in: line, limit key, how many, a rank none of them is before
SELECT rank, id, n FROM task WHERE line = $1 AND limit_key = $2 AND state = 3 AND rank >= $4 ORDER BY rank, id LIMIT $3

-- name: line_heads          the first rank of each of these lines without a limit key; in: lines, smallest rank of ours
SELECT rank, line.n FROM line, LATERAL (SELECT rank FROM task
    WHERE task.line = line.n AND limit_key = '' AND state = 3 AND rank >= least(line.head, $2) ORDER BY rank, id LIMIT 1) AS first
WHERE line.n = ANY($1::int[])

-- name: is_claimable        in: line
SELECT EXISTS (SELECT 1 FROM task WHERE line = $1 AND state = 3)

-- name: keyed_changed       tasks came or went: the head is looked up; in: lines, keys, changes of those that run
INSERT INTO keyed_line AS known (line, key, head, first, running)
SELECT v.line, v.key, place.rank, place.id, v.change FROM unnest($1::int[], $2::text[], $3::bigint[]) AS v (line, key, change)
LEFT JOIN LATERAL (SELECT rank, id FROM task WHERE task.line = v.line AND limit_key = v.key AND state = 3 ORDER BY rank, id LIMIT 1)
    AS place ON true
ON CONFLICT (line, key) DO UPDATE SET head = excluded.head, first = excluded.first, running = known.running + excluded.running

-- name: keyed_gone
DELETE FROM keyed_line WHERE head IS NULL AND running <= 0

-- name: keyed_close         in: lines, keys
UPDATE keyed_line SET closed = true FROM unnest($1::int[], $2::text[]) AS v (line, key)
WHERE keyed_line.line = v.line AND keyed_line.key = v.key

-- name: keyed_reopen        in: keys
UPDATE keyed_line SET closed = false WHERE key = ANY($1::text[]) AND closed

-- name: keyed_lines         out: lines with an open line of a limit key among them
SELECT n FROM line WHERE EXISTS (SELECT 1 FROM keyed_line WHERE line = line.n AND closed = false AND head IS NOT NULL OFFSET 0)

-- name: keyed_next          open lines of one line by their first tasks, behind the last one seen; in: line, rank, id, how many
SELECT head, first, key FROM keyed_line WHERE line = $1 AND closed = false AND head IS NOT NULL AND (head, first) > ($2, $3)
ORDER BY head, first LIMIT $4

-- name: keyed_running       in: keys
SELECT key, line, running FROM keyed_line WHERE key = ANY($1::text[])

-- name: held                leases; in: numbers
SELECT task.id, token, task.line, payload, attempt, failures, losses, max_attempts, suspect, tags, deferrals, generation, timeout,
    task.limit_key, extras, run_at FROM task JOIN body ON body.n = task.n WHERE task.n = ANY($1::bigint[]) AND state + 0 = 4

-- name: tokens              of every lease of a worker; in: worker
SELECT n, id, token, cancel_asked FROM task WHERE worker = $1 AND state = 4

-- name: renew               in: numbers, worker, lease_until
UPDATE task SET lease_until = $3 WHERE n = ANY($1::bigint[]) AND worker = $2 AND state + 0 = 4

-- name: settle              to a final state under the current token; in: numbers, ids, tokens, states, results, errors, failures,
--                           losses, deferrals, finished_at; out: id and token of those that took
WITH gone AS (
    DELETE FROM task USING unnest($1::bigint[], $2::text[], $3::text[], $4::smallint[], $5::bytea[], $6::text[], $7::bigint[],
        $8::bigint[], $9::bigint[]) AS v (n, id, token, state, result, error, failures, losses, deferrals)
    WHERE task.n = v.n AND task.id = v.id AND task.token = v.token AND task.state + 0 = 4
    RETURNING task.n, task.line, v.state, task.cancel_asked, task.attempt, task.rank, task.run_at, task.created_at, task.started_at,
        task.keep, task.needed_until, task.expires_at, v.failures, v.losses, v.deferrals, task.generation, task.id, task.token,
        task.worker, task.unique_key, v.error, v.result
)
INSERT INTO final (n, line, state, cancel_asked, attempt, rank, run_at, created_at, started_at, finished_at, keep, needed_until,
    expires_at, failures, losses, deferrals, generation, id, token, worker, unique_key, error, result)
SELECT n, line, state, cancel_asked, attempt, rank, run_at, created_at, started_at, $10, keep, needed_until, expires_at, failures,
    losses, deferrals, generation, id, token, worker, unique_key, error, result FROM gone
RETURNING id, token

-- name: settled_as          how those that are final already ended; in: numbers
SELECT id, token, state, error FROM final WHERE n = ANY($1::bigint[])

-- name: rows_locked         what a rule needs to know of unfinished tasks, which stay so; in: numbers
SELECT task.n, task.id, task.line, task.limit_key, state, rank, run_at, attempt, failures, losses, deferrals, generation, suspect,
    cancel_asked, token, worker, started_at, NULL::float8 AS finished_at, NULL::text AS error, run_anyway, unique_key,
    task.created_at, keep, needed_until, expires_at
FROM task JOIN body ON body.n = task.n WHERE task.n = ANY($1::bigint[]) ORDER BY task.n FOR UPDATE OF task

-- name: requeue             from a worker to its line; in: numbers, states, ranks, run_ats, attempts, failures, losses, deferrals, suspects
UPDATE task SET state = v.state, rank = v.rank, run_at = v.run_at, attempt = v.attempt, failures = v.failures, losses = v.losses,
    deferrals = v.deferrals, suspect = v.suspect, token = NULL, worker = NULL, lease_until = NULL, started_at = NULL
FROM unnest($1::bigint[], $2::smallint[], $3::float8[], $4::float8[], $5::int[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bool[])
    AS v (n, state, rank, run_at, attempt, failures, losses, deferrals, suspect)
WHERE task.n = v.n

-- name: call_off            to cancelled; in: numbers, attempts, tokens, workers, started_ats, failures, losses, deferrals, errors,
--                           finished_at
WITH gone AS (
    DELETE FROM task USING unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::float8[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::text[]) AS v (n, attempt, token, worker, started_at, failures, losses, deferrals, error)
    WHERE task.n = v.n
    RETURNING task.n, task.line, task.cancel_asked, v.attempt, task.rank, task.run_at, task.created_at, v.started_at, task.keep,
        task.needed_until, task.expires_at, v.failures, v.losses, v.deferrals, task.generation, task.id, v.token, v.worker,
        task.unique_key, v.error
)
INSERT INTO final (n, line, state, cancel_asked, attempt, rank, run_at, created_at, started_at, finished_at, keep, needed_until,
    expires_at, failures, losses, deferrals, generation, id, token, worker, unique_key, error)
SELECT n, line, 7, cancel_asked, attempt, rank, run_at, created_at, started_at, $10, keep, needed_until, expires_at, failures,
    losses, deferrals, generation, id, token, worker, unique_key, error FROM gone

-- name: any_over            whether there is something to reclaim; in: now (NULL: the server's time), workers
SELECT EXISTS (SELECT 1 FROM task WHERE state = 4 AND (worker = ANY($2::text[])
    OR lease_until <= coalesce($1, extract(epoch FROM clock_timestamp())::float8)))

-- name: any_expired         in: now (NULL: the server's time)
SELECT EXISTS (SELECT 1 FROM task WHERE expires_at IS NOT NULL AND state <= 3 AND attempt = 0
    AND expires_at <= coalesce($1, extract(epoch FROM statement_timestamp())::float8))

-- name: any_cascade
SELECT EXISTS (SELECT 1 FROM cascade)

-- name: over                leases that have ended; in: now, how many
SELECT n FROM task WHERE state = 4 AND lease_until <= $1 ORDER BY n LIMIT $2

-- name: held_by             in: workers, how many
SELECT n FROM task WHERE state = 4 AND worker = ANY($1::text[]) ORDER BY n LIMIT $2

-- name: states              in: ids
SELECT body.id, coalesce(task.state, final.state) FROM body LEFT JOIN task ON task.n = body.n LEFT JOIN final ON final.n = body.n
WHERE body.id = ANY($1::text[])

-- name: tell                the other processes, once this is committed; in: channel, what
SELECT pg_notify($1, $2)

-- name: quick               a plain batch, in a transaction of its own; in and out: see `quick_1` in sql/0002.sql
SELECT * FROM quick_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
    $25, $26, $27, $28, $29)
