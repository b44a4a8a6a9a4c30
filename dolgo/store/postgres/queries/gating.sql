-- Changing gates. What a claim asks of them is in `hot.sql`.

-- name: gate                in: scope
SELECT scope, paused, paused_until, reason, max_running, max_running_per_key, rate, tat FROM gate WHERE scope = $1

-- name: gate_put            in: scope, paused, paused_until, reason, max_running, max_running_per_key, rate, tat
INSERT INTO gate (scope, paused, paused_until, reason, max_running, max_running_per_key, rate, tat)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (scope) DO UPDATE SET paused = excluded.paused, paused_until = excluded.paused_until, reason = excluded.reason,
    max_running = excluded.max_running, max_running_per_key = excluded.max_running_per_key, rate = excluded.rate

-- name: gate_gone           in: scope
DELETE FROM gate WHERE scope = $1

-- name: keyed_reopen_all
UPDATE keyed_line SET closed = false WHERE closed
