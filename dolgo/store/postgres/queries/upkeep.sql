-- What has to be done from time to time. Final rows that another process prunes are passed over.

-- name: clamp               in: latest
UPDATE task SET lease_until = $1 WHERE state = 4 AND lease_until > $1 RETURNING n

-- name: unstarted           tasks whose time to start is over; in: now, how many
SELECT n FROM task WHERE expires_at IS NOT NULL AND state <= 3 AND attempt = 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $2

-- name: needed_no_more      they are to be kept as all are; in: now, how many
UPDATE final SET needed_until = NULL WHERE n IN (
    SELECT n FROM final WHERE NOT (keep IS NULL AND needed_until IS NULL) AND greatest(finished_at + keep, needed_until) <= $1
        AND keep IS NULL ORDER BY n LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: finished_before     tasks to be kept as all are; in: time, how many
SELECT finished_at, id, n FROM final WHERE keep IS NULL AND needed_until IS NULL AND finished_at < $1
    AND NOT EXISTS (SELECT 1 FROM edge JOIN task ON task.n = edge.child WHERE edge.parent = final.id)
ORDER BY finished_at, id LIMIT $2 FOR UPDATE OF final SKIP LOCKED

-- name: kept_long_enough    tasks that said themselves how long to keep them; in: now, how many
SELECT finished_at, id, n FROM final
WHERE NOT (keep IS NULL AND needed_until IS NULL) AND greatest(finished_at + keep, needed_until) < $1 AND keep IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM edge JOIN task ON task.n = edge.child WHERE edge.parent = final.id)
ORDER BY greatest(finished_at + keep, needed_until) LIMIT $2 FOR UPDATE OF final SKIP LOCKED

-- name: log_ends            out: the seq up to which events were dropped, locked: who trims next waits; and that of the newest
SELECT log_floor.seq, meta.seq FROM log_floor CROSS JOIN meta FOR UPDATE OF log_floor

-- name: log_old             of the oldest events, the newest one older than a time; in: how far the log is dropped, how many, time
SELECT max(last) FROM (SELECT last, time FROM log WHERE last > $1 ORDER BY last LIMIT $2) AS oldest WHERE time < $3

-- name: log_trim            in: seq
WITH gone AS (DELETE FROM log WHERE last <= $1)
UPDATE log_floor SET seq = $1 WHERE seq < $1
