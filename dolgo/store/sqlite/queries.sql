-- Every statement of the store, by name. {rows} stands for as many value tuples as are written at once.

-- name: line_add            in: queue, type, hash
INSERT INTO line (queue, type, hash) VALUES (?, ?, ?)

-- name: lines_all
SELECT n, queue, type, hash FROM line

-- name: lines_open          out: lines with something claimable
SELECT n, head FROM line WHERE head IS NOT NULL

-- name: line_count          the change of each count, and nothing claimable came or went; in: six changes, line
UPDATE line SET later = later + ?, ready = ready + ?, in_progress = in_progress + ?, done = done + ?, failed = failed + ?,
    cancelled = cancelled + ? WHERE n = ?

-- name: line_joined         the same, and a task of this rank became claimable; in: six changes, rank, rank, line
UPDATE line SET later = later + ?, ready = ready + ?, in_progress = in_progress + ?, done = done + ?, failed = failed + ?,
    cancelled = cancelled + ?, head = min(coalesce(head, ?), ?) WHERE n = ?

-- name: line_claimed        the same, and tasks were claimed: the head is looked up; in: six changes, line, line
UPDATE line SET later = later + ?, ready = ready + ?, in_progress = in_progress + ?, done = done + ?, failed = failed + ?,
    cancelled = cancelled + ?, head = (SELECT min(rank) FROM task WHERE line = ? AND state = 2) WHERE n = ?

-- name: submit              in per row: id, line, state, rank, run_at, priority, max_attempts, created_at, tags, payload
INSERT INTO task (id, line, state, rank, run_at, priority, max_attempts, created_at, tags, payload) VALUES {rows}

-- name: log                 in per row: time, id, line, state, attempt
INSERT INTO event (time, id, line, state, attempt) VALUES {rows}

-- name: due                 tasks whose time has come; in: now, how many
SELECT n, line, rank FROM task WHERE state = 1 AND run_at <= ? ORDER BY run_at LIMIT ?

-- name: make_ready          in per row: n
UPDATE task SET state = 2 FROM (VALUES {rows}) AS v WHERE task.n = v.column1

-- name: next_due
SELECT min(run_at) FROM task WHERE state = 1

-- name: line_first          the first claimable tasks of a line; in: line, how many
SELECT rank, id, n FROM task WHERE line = ? AND state = 2 ORDER BY rank, id LIMIT ?

-- name: claim               in: worker, started_at, lease_until, JSON array of n; the state is asked again: never take a task twice
UPDATE task SET state = 3, attempt = attempt + 1, token = lower(hex(randomblob(8))), worker = ?, started_at = ?, lease_until = ?
WHERE n IN (SELECT value FROM json_each(?)) AND state = 2
RETURNING rank, id, token, line, payload, attempt, failures, losses, max_attempts, suspect, tags

-- name: held                every lease of a worker; in: worker
SELECT id, token, line, payload, attempt, failures, losses, max_attempts, suspect, tags, cancel_asked
FROM task WHERE worker = ? AND state = 3

-- name: renew               in: lease_until, worker, JSON array of ids
UPDATE task SET lease_until = ? WHERE worker = ? AND state = 3 AND id IN (SELECT value FROM json_each(?))

-- name: settle              to a final state under the current token; in per row: id, token, state, result, error, failures, losses,
--                           finished_at
UPDATE task SET state = v.column3, result = v.column4, error = v.column5, failures = v.column6, losses = v.column7,
    finished_at = v.column8, lease_until = NULL, suspect = 0
FROM (VALUES {rows}) AS v WHERE task.id = v.column1 AND task.token = v.column2 AND task.state = 3

-- name: row                 what a rule needs to know of one task; in: id
SELECT id, line, state, rank, run_at, attempt, failures, losses, suspect, cancel_asked, token, worker, started_at, finished_at,
    history, error FROM task WHERE id = ?

-- name: requeue             in: state, rank, run_at, attempt, failures, losses, suspect, history, id
UPDATE task SET state = ?, rank = ?, run_at = ?, attempt = ?, failures = ?, losses = ?, suspect = ?, history = ?, token = NULL,
    worker = NULL, lease_until = NULL, started_at = NULL, finished_at = NULL, cancel_asked = 0, error = NULL, result = NULL
WHERE id = ?

-- name: call_off            to cancelled; in: finished_at, attempt, token, worker, started_at, failures, losses, error, id
UPDATE task SET state = 6, finished_at = ?, attempt = ?, token = ?, worker = ?, started_at = ?, failures = ?, losses = ?, error = ?, lease_until = NULL, suspect = 0
WHERE id = ?

-- name: ask_cancel          in: id
UPDATE task SET cancel_asked = 1 WHERE id = ?

-- name: asked               in: worker
SELECT id FROM task WHERE worker = ? AND state = 3 AND cancel_asked = 1

-- name: delete              in: id
DELETE FROM task WHERE id = ?

-- name: expired             in: now, how many
SELECT id FROM task INDEXED BY task_held WHERE state = 3 AND lease_until <= ? LIMIT ?

-- name: held_by             in: worker, how many
SELECT id FROM task WHERE state = 3 AND worker = ? LIMIT ?

-- name: clamp               in: latest, latest
UPDATE task INDEXED BY task_held SET lease_until = ? WHERE state = 3 AND lease_until > ?

-- name: finished_before     in: time, how many
SELECT id FROM task WHERE finished_at < ? ORDER BY finished_at, id LIMIT ?

-- name: log_ends
SELECT (SELECT min(seq) FROM event), (SELECT max(seq) FROM event)

-- name: log_old             the newest event older than a time; in: time
SELECT max(seq) FROM (SELECT seq FROM event WHERE time < ? ORDER BY seq LIMIT ?)

-- name: log_trim            in: seq
DELETE FROM event WHERE seq <= ?

-- name: records_expired     in: now, how many
DELETE FROM record WHERE key IN (SELECT key FROM record WHERE expires_at <= ? LIMIT ?)

-- name: record              in: key
SELECT key, value, version, written_at, first_at, expires_at FROM record WHERE key = ?

-- name: record_put          in: key, value, version, first_at, written_at, expires_at
INSERT OR REPLACE INTO record (key, value, version, first_at, written_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: record_forget       in: key
DELETE FROM record WHERE key = ?

-- name: records             in: prefix, end of the prefix, now
SELECT key, value, version, written_at, first_at, expires_at FROM record
WHERE key >= ? AND key < ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY key

-- name: counts
SELECT queue, type, hash, later + ready, in_progress, done, failed, cancelled FROM line

-- name: oldest              for each open line, the run_at of its first task
SELECT queue, (SELECT run_at FROM task WHERE task.line = line.n AND state = 2 ORDER BY rank, id LIMIT 1) FROM line
WHERE head IS NOT NULL

-- name: oldest_due          the same of tasks whose time has come but that no claim has moved yet; in: now
SELECT queue, min(run_at) FROM (SELECT line, run_at FROM task WHERE state = 1 AND run_at <= ? ORDER BY run_at LIMIT 1000) AS due
JOIN line ON line.n = due.line GROUP BY queue

-- name: events              in: after, how many
SELECT seq, time, id, line, state, attempt FROM event WHERE seq > ? ORDER BY seq LIMIT ?
