-- Every statement of the store, by name. {rows} stands for as many value tuples as are written at once.

-- name: line_add            in: queue, type, hash
INSERT INTO line (queue, type, hash) VALUES (?, ?, ?)

-- name: line_number         in: queue, type, hash
SELECT n FROM line WHERE queue = ? AND type = ? AND hash = ?

-- name: lines_all
SELECT n, queue, type, hash FROM line

-- name: lines_open          out: lines with something claimable
SELECT n, head FROM line WHERE head IS NOT NULL

-- name: lines_running       out: how many tasks of each line are in progress
SELECT n, in_progress FROM line WHERE in_progress > 0

-- name: line_count          the change of each count, and nothing claimable came or went; in: seven changes, line
UPDATE line SET waiting = waiting + ?, later = later + ?, ready = ready + ?, in_progress = in_progress + ?, done = done + ?,
    failed = failed + ?, cancelled = cancelled + ? WHERE n = ?

-- name: line_joined         the same, and a task of this rank became claimable; in: seven changes, rank, rank, line
UPDATE line SET waiting = waiting + ?, later = later + ?, ready = ready + ?, in_progress = in_progress + ?, done = done + ?,
    failed = failed + ?, cancelled = cancelled + ?, head = min(coalesce(head, ?), ?) WHERE n = ?

-- name: line_claimed        the same, and tasks were claimed: the head is looked up; in: seven changes, line, line
UPDATE line SET waiting = waiting + ?, later = later + ?, ready = ready + ?, in_progress = in_progress + ?, done = done + ?,
    failed = failed + ?, cancelled = cancelled + ?,
    head = (SELECT min(rank) FROM task WHERE line = ? AND limit_key = '' AND state = 3) WHERE n = ?

-- name: keyed_changed       tasks came or went: the head is looked up; in per row: line, key, change of those that run
INSERT INTO keyed_line (line, key, head, first, running)
SELECT v.column1, v.column2,
    (SELECT rank FROM task WHERE line = v.column1 AND limit_key = v.column2 AND state = 3 ORDER BY rank, id LIMIT 1),
    (SELECT id FROM task WHERE line = v.column1 AND limit_key = v.column2 AND state = 3 ORDER BY rank, id LIMIT 1), v.column3
FROM (VALUES {rows}) AS v WHERE true
ON CONFLICT DO UPDATE SET head = excluded.head, first = excluded.first, running = running + excluded.running

-- name: keyed_gone
DELETE FROM keyed_line INDEXED BY keyed_idle WHERE head IS NULL AND running <= 0

-- name: keyed_close         in per row: line, key
UPDATE keyed_line SET closed = 1 FROM (VALUES {rows}) AS v WHERE line = v.column1 AND key = v.column2

-- name: keyed_reopen        in: JSON array of keys
UPDATE keyed_line SET closed = 0 WHERE key IN (SELECT value FROM json_each(?)) AND closed = 1

-- name: keyed_reopen_all
UPDATE keyed_line SET closed = 0 WHERE closed = 1

-- name: keyed_lines         out: lines with an open line of a limit key among them
SELECT n FROM line WHERE EXISTS (SELECT 1 FROM keyed_line WHERE line = line.n AND closed = 0 AND head IS NOT NULL)

-- name: keyed_next          open lines of one line by their first tasks, behind the last one seen; in: line, rank, id, how many
SELECT head, first, key FROM keyed_line WHERE line = ? AND closed = 0 AND head IS NOT NULL AND (head, first) > (?, ?)
ORDER BY head, first LIMIT ?

-- name: keyed_running       in: key
SELECT line, running FROM keyed_line WHERE key = ?

-- name: extras              out: the next time something is due, the next time something expires, whether there is a gate, a keyed
--                           line to claim from, and a task that waits for another
SELECT (SELECT min(run_at) FROM task WHERE state = 2),
    (SELECT min(expires_at) FROM task WHERE expires_at IS NOT NULL AND state <= 3 AND attempt = 0),
    EXISTS (SELECT 1 FROM gate), EXISTS (SELECT 1 FROM keyed_line WHERE head IS NOT NULL),
    EXISTS (SELECT 1 FROM edge WHERE open = 1)

-- name: submit              in per row: id, line, state, rank, run_at, priority, max_attempts, created_at, tags, payload
INSERT INTO task (id, line, state, rank, run_at, priority, max_attempts, created_at, tags, payload) VALUES {rows}

-- name: submit_full         the same, and limit_key, timeout, keep, needed_until, expires_at, run_anyway, unique_key, extras,
--                           finished_at, error
INSERT INTO task (id, line, state, rank, run_at, priority, max_attempts, created_at, tags, payload, limit_key, timeout, keep,
    needed_until, expires_at, run_anyway, unique_key, extras, finished_at, error) VALUES {rows}

-- name: log                 in per row: time, id, line, state, attempt
INSERT INTO event (time, id, line, state, attempt) VALUES {rows}

-- name: log_notes           in per row: time, id, line, state, attempt, kind, data
INSERT INTO event (time, id, line, state, attempt, kind, data) VALUES {rows}

-- name: due                 tasks whose time has come; in: now, how many
SELECT n, line, rank, limit_key FROM task WHERE state = 2 AND run_at <= ? ORDER BY run_at LIMIT ?

-- name: make_ready          in per row: n
UPDATE task SET state = 3 FROM (VALUES {rows}) AS v WHERE task.n = v.column1

-- name: line_first          the first claimable tasks of a line; in: line, limit key, how many
SELECT rank, id, n FROM task WHERE line = ? AND limit_key = ? AND state = 3 ORDER BY rank, id LIMIT ?

-- name: is_claimable        whether there is something in the line, whatever its head says; in: line
SELECT EXISTS (SELECT 1 FROM task WHERE line = ? AND state = 3)

-- name: claim               in: worker, started_at, lease_until, JSON array of n, now; the state is asked again: never take a task
--                           twice, nor one that has expired
UPDATE task SET state = 4, attempt = attempt + 1, token = lower(hex(randomblob(8))), worker = ?, started_at = ?, lease_until = ?
WHERE n IN (SELECT value FROM json_each(?)) AND state = 3 AND (expires_at IS NULL OR expires_at > ? OR attempt > 0)
RETURNING rank, id, token, line, payload, attempt, failures, losses, max_attempts, suspect, tags, deferrals, generation, timeout,
    limit_key, extras, run_at

-- name: held                every lease of a worker; in: worker
SELECT id, token, line, payload, attempt, failures, losses, max_attempts, suspect, tags, deferrals, generation, timeout, limit_key,
    extras, run_at, cancel_asked FROM task WHERE worker = ? AND state = 4

-- name: renew               in: lease_until, worker, JSON array of ids
UPDATE task SET lease_until = ? WHERE worker = ? AND state = 4 AND id IN (SELECT value FROM json_each(?))

-- name: settle              to a final state under the current token; in per row: id, token, state, result, error, failures, losses,
--                           deferrals, finished_at
UPDATE task SET state = v.column3, result = v.column4, error = v.column5, failures = v.column6, losses = v.column7,
    deferrals = v.column8, finished_at = v.column9, lease_until = NULL, suspect = 0
FROM (VALUES {rows}) AS v WHERE task.id = v.column1 AND task.token = v.column2 AND task.state = 4

-- name: row                 what a rule needs to know of one task; in: id
SELECT n, id, line, limit_key, state, rank, run_at, attempt, failures, losses, deferrals, generation, suspect, cancel_asked, token,
    worker, started_at, finished_at, error, run_anyway, unique_key FROM task WHERE id = ?

-- name: row_by_number       the same; in: n
SELECT n, id, line, limit_key, state, rank, run_at, attempt, failures, losses, deferrals, generation, suspect, cancel_asked, token,
    worker, started_at, finished_at, error, run_anyway, unique_key FROM task WHERE n = ?

-- name: requeue             in: state, rank, run_at, attempt, failures, losses, deferrals, generation, suspect, n
UPDATE task SET state = ?, rank = ?, run_at = ?, attempt = ?, failures = ?, losses = ?, deferrals = ?, generation = ?, suspect = ?,
    token = NULL, worker = NULL, lease_until = NULL, started_at = NULL, finished_at = NULL, cancel_asked = 0, error = NULL,
    result = NULL
WHERE n = ?

-- name: expires_no_more     in: n, now
UPDATE task SET expires_at = NULL WHERE n = ? AND expires_at <= ?

-- name: call_off            to cancelled; in: finished_at, attempt, token, worker, started_at, failures, losses, deferrals, error, n
UPDATE task SET state = 7, finished_at = ?, attempt = ?, token = ?, worker = ?, started_at = ?, failures = ?, losses = ?,
    deferrals = ?, error = ?, lease_until = NULL, suspect = 0
WHERE n = ?

-- name: ask_cancel          in: n
UPDATE task SET cancel_asked = 1 WHERE n = ?

-- name: asked               in: worker
SELECT id FROM task WHERE worker = ? AND state = 4 AND cancel_asked = 1

-- name: states              in: JSON array of ids
SELECT id, n, state FROM task WHERE id IN (SELECT value FROM json_each(?))

-- name: unique_holders      unfinished tasks by their unique keys; in: JSON array of unique keys
SELECT unique_key, line.type, task.id FROM task JOIN line ON line.n = task.line
WHERE unique_key IN (SELECT value FROM json_each(?)) AND unique_key IS NOT NULL AND state < 5

-- name: delete              in: JSON array of n
DELETE FROM task WHERE n IN (SELECT value FROM json_each(?))

-- name: delete_notes        in: JSON array of n
DELETE FROM note WHERE task IN (SELECT value FROM json_each(?))

-- name: delete_edges        in: JSON array of n
DELETE FROM edge WHERE child IN (SELECT value FROM json_each(?))

-- name: over                leases that have ended; in: now, how many
SELECT id FROM task INDEXED BY task_held WHERE state = 4 AND lease_until <= ? LIMIT ?

-- name: held_by             in: worker, how many
SELECT id FROM task WHERE state = 4 AND worker = ? LIMIT ?

-- name: clamp               in: latest, latest
UPDATE task INDEXED BY task_held SET lease_until = ? WHERE state = 4 AND lease_until > ?

-- name: unstarted           tasks whose time to start is over; in: now, how many
SELECT n FROM task INDEXED BY task_unstarted WHERE expires_at IS NOT NULL AND state <= 3 AND attempt = 0 AND expires_at <= ?
ORDER BY expires_at LIMIT ?

-- name: needed_no_more      they are to be kept as all are; in: now, how many
UPDATE task SET needed_until = NULL WHERE n IN (SELECT n FROM task INDEXED BY task_kept
    WHERE finished_at IS NOT NULL AND NOT (keep IS NULL AND needed_until IS NULL)
    AND max(coalesce(finished_at + keep, 0), coalesce(needed_until, 0)) <= ? AND keep IS NULL LIMIT ?)

-- name: finished_before     tasks to be kept as all are; in: time, how many
SELECT finished_at, id, n, line, state FROM task INDEXED BY task_ended
WHERE (keep IS NULL AND needed_until IS NULL) = 1 AND finished_at IS NOT NULL AND finished_at < ?
    AND NOT EXISTS (SELECT 1 FROM edge JOIN task AS child ON child.n = edge.child WHERE edge.parent = task.id AND child.state < 5)
ORDER BY finished_at, id LIMIT ?

-- name: kept_long_enough    tasks that said themselves how long to keep them; in: now, how many
SELECT finished_at, id, n, line, state FROM task INDEXED BY task_kept
WHERE finished_at IS NOT NULL AND NOT (keep IS NULL AND needed_until IS NULL)
    AND max(coalesce(finished_at + keep, 0), coalesce(needed_until, 0)) < ? AND keep IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM edge JOIN task AS child ON child.n = edge.child WHERE edge.parent = task.id AND child.state < 5)
ORDER BY max(coalesce(finished_at + keep, 0), coalesce(needed_until, 0)) LIMIT ?

-- name: log_ends
SELECT (SELECT min(seq) FROM event), (SELECT max(seq) FROM event)

-- name: log_old             of the oldest events, the newest one older than a time; in: how many, time
SELECT max(seq) FROM (SELECT seq, time FROM event ORDER BY seq LIMIT ?) WHERE time < ?

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
SELECT queue, type, hash, waiting, later + ready, in_progress, done, failed, cancelled FROM line

-- name: oldest              for each open line, the run_at of its first task
SELECT queue, (SELECT run_at FROM task WHERE task.line = line.n AND limit_key = '' AND state = 3 ORDER BY rank, id LIMIT 1)
FROM line WHERE head IS NOT NULL

-- name: oldest_keyed        the same of those with a limit key, of the closed and of the open ones; in: closed
SELECT queue, (SELECT run_at FROM task WHERE task.line = line.n AND state = 3 AND limit_key = (SELECT key FROM keyed_line
        WHERE keyed_line.line = line.n AND closed = ? AND head IS NOT NULL ORDER BY head LIMIT 1) ORDER BY rank, id LIMIT 1)
FROM line WHERE ready > 0

-- name: oldest_due          the same of tasks whose time has come but that no claim has moved yet; in: now
SELECT queue, min(run_at) FROM (SELECT line, run_at FROM task WHERE state = 2 AND run_at <= ? ORDER BY run_at LIMIT 1000) AS due
JOIN line ON line.n = due.line GROUP BY queue

-- name: events              in: after, how many
SELECT seq, time, id, line, state, attempt, kind, data FROM event WHERE seq > ? ORDER BY seq LIMIT ?

-- name: held_leases         whose token is current; in: JSON array of [id, token]
SELECT task.id, token, n, line, attempt FROM json_each(?) AS shown
CROSS JOIN task ON task.id = json_extract(shown.value, '$[0]') AND token = json_extract(shown.value, '$[1]') AND state = 4

-- name: note                in per row: task, key, value
INSERT OR REPLACE INTO note (task, key, value) VALUES {rows}

-- name: notes               but earlier attempts; in: id, first key, end of the keys
SELECT key, value FROM note WHERE task = (SELECT n FROM task WHERE id = ?) AND key >= ? AND key < ?
    AND NOT (key >= 'attempt/' AND key < 'attempt0') ORDER BY key

-- name: number              in: id
SELECT n FROM task WHERE id = ?

-- name: progress            in: n
SELECT value FROM note WHERE task = ? AND key = 'progress'

-- name: submitted           in: n
SELECT value FROM note WHERE task = ? AND key >= 'submitted/' AND key < 'submitted0' ORDER BY key

-- name: edge                in per row: child, place, parent, ref, open
INSERT INTO edge (child, place, parent, ref, open) VALUES {rows}

-- name: parents             in: child; out: the parent and its state, NULL if it is gone
SELECT edge.place, edge.parent, task.state FROM edge LEFT JOIN task ON task.id = edge.parent WHERE edge.child = ? ORDER BY edge.place

-- name: parents_named       out: the parent, its ref, and whether it has not ended; in: child
SELECT edge.parent, edge.ref, coalesce(task.state < 5, 0) FROM edge LEFT JOIN task ON task.id = edge.parent
WHERE edge.child = ? ORDER BY edge.place

-- name: dependents          in: parent
SELECT task.id FROM (SELECT DISTINCT child FROM edge WHERE parent = ?) AS found JOIN task ON task.n = found.child ORDER BY task.n

-- name: dependents_after    in: parent, child, how many
SELECT DISTINCT child FROM edge WHERE parent = ? AND child > ? ORDER BY child LIMIT ?

-- name: is_awaited          whether an unfinished task depends on this one; in: parent
SELECT EXISTS (SELECT 1 FROM edge JOIN task AS child ON child.n = edge.child WHERE edge.parent = ? AND child.state < 5)

-- name: edges_over          open edges whose parents have ended; in: JSON array of parents, how many
SELECT edge.child, edge.place, edge.parent, parent.state, child.run_anyway
FROM json_each(?) AS ended CROSS JOIN edge INDEXED BY edge_open ON edge.parent = ended.value AND edge.open = 1
JOIN task AS child ON child.n = edge.child LEFT JOIN task AS parent ON parent.id = edge.parent
WHERE coalesce(parent.state, 5) >= 5 LIMIT ?

-- name: edge_close          in per row: child, place
UPDATE edge SET open = 0 FROM (VALUES {rows}) AS v WHERE edge.child = v.column1 AND edge.place = v.column2

-- name: edges_close         in: JSON array of children
UPDATE edge INDEXED BY edge_awaited SET open = 0 WHERE open = 1 AND child IN (SELECT value FROM json_each(?))

-- name: edges_open          to the parents that are unfinished; in: child
UPDATE edge SET open = 1 WHERE child = ? AND open = 0
    AND EXISTS (SELECT 1 FROM task AS parent WHERE parent.id = edge.parent AND parent.state < 5)

-- name: freed               of these, those that wait for nothing; in: JSON array of children; + keeps SQLite from walking along
--                           all that wait instead
SELECT n, id, line, limit_key, rank, run_at, attempt FROM task
WHERE n IN (SELECT value FROM json_each(?)) AND +state = 1
    AND NOT EXISTS (SELECT 1 FROM edge INDEXED BY edge_awaited WHERE child = task.n AND open = 1)
ORDER BY n

-- name: release             in per row: n, state, rank, run_at
UPDATE task SET state = v.column2, rank = v.column3, run_at = v.column4
FROM (VALUES {rows}) AS v WHERE task.n = v.column1 AND task.state = 1

-- name: end_unstarted       waiting or queued to cancelled; in per row: n, finished_at, error
UPDATE task SET state = 7, finished_at = v.column2, error = v.column3, suspect = 0
FROM (VALUES {rows}) AS v WHERE task.n = v.column1 AND task.state <= 3

-- name: places              where tasks stand; in: JSON array of n
SELECT n, id, line, limit_key, state, attempt FROM task WHERE n IN (SELECT value FROM json_each(?))

-- name: cascade_left        ends that left open edges; in: JSON array of parents
INSERT OR IGNORE INTO cascade (kind, parent, after)
SELECT DISTINCT 1, edge.parent, 0 FROM json_each(?) AS ended CROSS JOIN edge INDEXED BY edge_open
    ON edge.parent = ended.value AND edge.open = 1

-- name: revival_left        in: parent, the last dependent seen to
INSERT OR REPLACE INTO cascade (kind, parent, after) VALUES (2, ?, ?)

-- name: cascades            in: how many
SELECT kind, parent, after FROM cascade ORDER BY kind, parent LIMIT ?

-- name: cascade_gone        in: kind, parent
DELETE FROM cascade WHERE kind = ? AND parent = ?

-- name: gates
SELECT scope, paused, paused_until, reason, max_running, max_running_per_key, rate, tat FROM gate ORDER BY scope

-- name: gate                in: scope
SELECT scope, paused, paused_until, reason, max_running, max_running_per_key, rate, tat FROM gate WHERE scope = ?

-- name: gate_put            in: scope, paused, paused_until, reason, max_running, max_running_per_key, rate, tat
INSERT OR REPLACE INTO gate (scope, paused, paused_until, reason, max_running, max_running_per_key, rate, tat)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: gate_gone           in: scope
DELETE FROM gate WHERE scope = ?

-- name: gating_changed
UPDATE gating SET changes = changes + 1

-- name: gating
SELECT changes FROM gating

-- name: gate_started        in: tat, scope
UPDATE gate SET tat = ? WHERE scope = ?

-- name: standing            where a task stands and whether it is due; in: id
SELECT line, limit_key, state, rank, run_at, queue FROM task JOIN line ON line.n = task.line WHERE id = ?

-- name: ahead               claimable tasks of a queue without a limit key before a place; in: queue, rank, id, how many
SELECT count(*) FROM (SELECT 1 FROM line CROSS JOIN task ON task.line = line.n AND limit_key = '' AND state = 3
WHERE queue = ? AND (rank, task.id) < (?, ?) LIMIT ?)

-- name: ahead_keyed         the same with one, among so many looked at; in: queue, how many, rank, id
SELECT count(*) FROM (SELECT rank, task.id FROM line CROSS JOIN task ON task.line = line.n AND limit_key > '' AND state = 3
WHERE queue = ? LIMIT ?) WHERE (rank, id) < (?, ?)

-- name: ahead_due           the same of tasks whose time has come but that no claim has moved yet; in: now, how many, queue, rank, id
SELECT count(*) FROM (SELECT line, rank, id FROM task WHERE state = 2 AND run_at <= ? ORDER BY run_at LIMIT ?) AS due
JOIN line ON line.n = due.line WHERE queue = ? AND (rank, id) < (?, ?)
