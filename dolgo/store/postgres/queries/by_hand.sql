-- What people do to tasks.

-- name: ask_cancel          of tasks that run, or that ended with a parent; in: n of each
WITH ended AS (UPDATE final SET cancel_asked = true WHERE n = ANY($1::bigint[]))
UPDATE task SET cancel_asked = true WHERE n = ANY($1::bigint[])

-- name: awaited             those of these that an unfinished task depends on; in: ids
SELECT DISTINCT edge.parent FROM edge JOIN task ON task.n = edge.child WHERE edge.parent = ANY($1::text[])

-- name: remove              final tasks, with their notes and what they depended on; in: n of each; out: where they stood
WITH bodies AS (DELETE FROM body WHERE n = ANY($1::bigint[])), notes AS (DELETE FROM note WHERE task = ANY($1::bigint[])),
    edges AS (DELETE FROM edge WHERE child = ANY($1::bigint[]))
DELETE FROM final WHERE n = ANY($1::bigint[]) RETURNING line, state
