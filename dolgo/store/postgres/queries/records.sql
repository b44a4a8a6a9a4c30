-- Small keyed things with a version.

-- name: records_named       that have not expired; in: keys, now
SELECT key, value, version, written_at, first_at, expires_at FROM record
WHERE key = ANY($1::text[]) AND (expires_at IS NULL OR expires_at > $2)

-- name: records_put         in: key, value, version, written_at, first_at, expires_at of each
INSERT INTO record (key, value, version, written_at, first_at, expires_at)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::double precision[], $5::double precision[], $6::double precision[])
ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version, written_at = excluded.written_at,
    first_at = excluded.first_at, expires_at = excluded.expires_at

-- name: records_forget      in: keys
DELETE FROM record WHERE key = ANY($1::text[])

-- name: records             in: prefix, end of the prefix, now
SELECT key, value, version, written_at, first_at, expires_at FROM record
WHERE key >= $1 AND key < $2 AND (expires_at IS NULL OR expires_at > $3) ORDER BY key

-- name: records_expired     in: now, how many
DELETE FROM record WHERE key IN (SELECT key FROM record WHERE expires_at <= $1 ORDER BY key LIMIT $2) AND expires_at <= $1
RETURNING key
