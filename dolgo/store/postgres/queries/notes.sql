-- Notes under tasks. The + 0 keeps PostgreSQL from walking along all that run instead of looking each task up.

-- name: held_leases         whose token is current, locked: none of them ends before this is committed; in: n, id and token of each
SELECT task.id, task.token, task.n, task.line, task.attempt FROM unnest($1::bigint[], $2::text[], $3::text[]) AS v (n, id, token)
JOIN task ON task.n = v.n AND task.id = v.id AND task.token = v.token AND task.state + 0 = 4
ORDER BY task.n FOR UPDATE OF task

-- name: note                in: task, key, value of each
INSERT INTO note (task, key, value) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])
ON CONFLICT (task, key) DO UPDATE SET value = excluded.value

-- name: notes               but earlier attempts; in: id, first key, end of the keys
SELECT key, value FROM note WHERE task = (SELECT n FROM body WHERE id = $1) AND key >= $2 AND key < $3
    AND NOT (key >= 'attempt/' AND key < 'attempt0') ORDER BY key
