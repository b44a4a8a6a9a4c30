-- What tasks depend on, and how they come to an end or begin anew without a worker.

-- name: task_rows           what a rule needs to know of some tasks; in: ids
SELECT n, id, line, limit_key, state, rank, run_at, attempt, failures, losses, deferrals, generation, suspect, cancel_asked, token,
    worker, started_at, finished_at, error, run_anyway, unique_key, created_at, keep, needed_until, expires_at FROM every_task WHERE id = ANY($1::text[])

-- name: unique_holders      unfinished tasks by their unique keys; in: unique keys
SELECT unique_key, line.type, task.id FROM task JOIN line ON line.n = task.line WHERE unique_key = ANY($1::text[])

-- name: edge                in: child, place, parent, ref, open of each
INSERT INTO edge (child, place, parent, ref, open)
SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::boolean[])

-- name: parents             in: child; out: the parent and its state, NULL if it is gone
SELECT edge.place, edge.parent, coalesce(task.state, final.state) AS state FROM edge LEFT JOIN body ON body.id = edge.parent
LEFT JOIN task ON task.n = body.n LEFT JOIN final ON final.n = body.n WHERE edge.child = $1 ORDER BY edge.place

-- name: edges_open          to the parents that are unfinished; in: child
UPDATE edge SET open = true WHERE child = $1 AND NOT open
    AND EXISTS (SELECT 1 FROM body JOIN task ON task.n = body.n WHERE body.id = edge.parent)

-- name: end_unstarted       waiting or queued to cancelled; in: n and error of each, now; out: where they stood
WITH gone AS (
    DELETE FROM task USING unnest($1::bigint[], $2::text[]) AS v (n, error) WHERE task.n = v.n AND task.state <= 3
    RETURNING task.*, v.error
), closed AS (
    UPDATE edge SET open = false WHERE open AND child = ANY($1::bigint[])
), ended AS (
    INSERT INTO final (n, line, state, cancel_asked, attempt, rank, run_at, created_at, started_at, finished_at, keep, needed_until,
        expires_at, failures, losses, deferrals, generation, id, token, worker, unique_key, error)
    SELECT n, line, 7, cancel_asked, attempt, rank, run_at, created_at, started_at, $3, keep, needed_until, expires_at, failures,
        losses, deferrals, generation, id, token, worker, unique_key, error FROM gone
)
SELECT n, id, line, limit_key, state, attempt FROM gone

-- name: begin_anew          final to unfinished; in: n, state, rank, run_at, now
WITH gone AS (DELETE FROM final WHERE n = $1 RETURNING *)
INSERT INTO task (n, line, state, attempt, rank, run_at, created_at, keep, needed_until, expires_at, generation, id, limit_key,
    unique_key)
SELECT gone.n, gone.line, $2, attempt, $3, $4, gone.created_at, keep, needed_until, CASE WHEN expires_at > $5 THEN expires_at END,
    generation + 1, gone.id, body.limit_key, unique_key FROM gone JOIN body ON body.n = gone.n

-- name: follow_ends         in: parents that ended, budget, now, errors of those whose parent failed and was cancelled
SELECT * FROM follow_ends_1($1, $2, $3, $4)

-- name: follow_restarts     in: parents that began anew, dependents of each seen to already, budget, now, parents that weigh as one
SELECT * FROM follow_restarts_1($1, $2, $3, $4, $5)

-- name: cascades            in: how many
SELECT kind, parent, after FROM cascade ORDER BY kind, parent LIMIT $1

-- name: cascade_gone        in: kind, parent
DELETE FROM cascade WHERE kind = $1 AND parent = $2
