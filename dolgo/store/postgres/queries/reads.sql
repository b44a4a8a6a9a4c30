-- What is read without changing anything. Every answer is as of one moment.

-- name: asked               in: worker
SELECT id FROM task WHERE worker = $1 AND state = 4 AND cancel_asked

-- name: counts              of lines with tasks: a submit that was refused may leave an empty one
SELECT queue, type, hash, waiting, later + ready, in_progress, done, failed, cancelled FROM line
WHERE waiting + later + ready + in_progress + done + failed + cancelled > 0

-- name: oldest              the run_at of the first task of each line, of each line's first limit key that is open and that is
--                           closed, and of those whose time has come but that no claim has moved yet; in: now
SELECT queue, min(run_at) FROM (
    SELECT queue, first.run_at FROM line
    CROSS JOIN LATERAL (SELECT run_at FROM task WHERE line = line.n AND limit_key = '' AND state = 3 AND rank >= line.head
        ORDER BY rank, id LIMIT 1) AS first
    WHERE ready > 0
    UNION ALL
    SELECT queue, first.run_at FROM line CROSS JOIN (VALUES (false), (true)) AS v (closed)
    CROSS JOIN LATERAL (SELECT key FROM keyed_line WHERE line = line.n AND keyed_line.closed = v.closed AND head IS NOT NULL
        ORDER BY head, first LIMIT 1) AS place
    CROSS JOIN LATERAL (SELECT run_at FROM task WHERE line = line.n AND limit_key = place.key AND state = 3
        ORDER BY rank, id LIMIT 1) AS first
    WHERE ready > 0
    UNION ALL
    SELECT queue, due.run_at FROM (SELECT line, run_at FROM task WHERE state = 2 AND run_at <= $1 ORDER BY run_at LIMIT 1000) AS due
    JOIN line ON line.n = due.line
) AS found GROUP BY queue

-- name: head
SELECT seq FROM meta

-- name: events              commits with events behind a place; in: seq, how many; out: how far the log was dropped, its newest seq,
--                           and of each commit the first seq, time and events
SELECT log_floor.seq, meta.seq, few.first, few.time, few.entries FROM log_floor CROSS JOIN meta
LEFT JOIN LATERAL (
    SELECT first, last, time, entries FROM (SELECT first, last, time, entries FROM log WHERE last > greatest($1, log_floor.seq)
        ORDER BY last LIMIT $2) AS next WHERE first <= greatest($1, log_floor.seq) + $2
) AS few ON true
ORDER BY few.last

-- name: details             besides the records; in: ids
SELECT body.id, (SELECT value FROM note WHERE task = body.n AND key = 'progress'),
    ARRAY(SELECT value FROM note WHERE task = body.n AND key >= 'submitted/' AND key < 'submitted0' ORDER BY key),
    ARRAY(SELECT parent FROM edge WHERE child = body.n ORDER BY place), ARRAY(SELECT ref FROM edge WHERE child = body.n ORDER BY place),
    ARRAY(SELECT EXISTS (SELECT 1 FROM body AS other JOIN task ON task.n = other.n WHERE other.id = edge.parent)
        FROM edge WHERE child = body.n ORDER BY place),
    ARRAY(SELECT other.id FROM (SELECT DISTINCT child FROM edge WHERE parent = body.id) AS found JOIN body AS other
        ON other.n = found.child ORDER BY other.n)
FROM body WHERE body.id = ANY($1::text[])

-- name: standing            where an unfinished task stands; in: id
SELECT task.line, task.limit_key, state, rank, run_at, line.queue FROM body JOIN task ON task.n = body.n
JOIN line ON line.n = task.line WHERE body.id = $1

-- name: ahead               claimable tasks of a queue before a place, those with a limit key and those that no claim has moved yet as
--                           far as they are among so many looked at; in: queue, rank, id, how many, now
SELECT (SELECT count(*) FROM (SELECT 1 FROM line JOIN task ON task.line = line.n AND limit_key = '' AND state = 3
        WHERE queue = $1 AND (rank, id) < ($2::float8, $3::text) LIMIT $4) AS plain)
    + (SELECT count(*) FROM (SELECT rank, id FROM line JOIN task ON task.line = line.n AND limit_key > '' AND state = 3
        WHERE queue = $1 LIMIT $4) AS keyed WHERE (rank, id) < ($2::float8, $3::text))
    + (SELECT count(*) FROM (SELECT line, rank, id FROM task WHERE state = 2 AND run_at <= $5 ORDER BY run_at LIMIT $4) AS due
        JOIN line ON line.n = due.line WHERE queue = $1 AND (rank, due.id) < ($2::float8, $3::text))
