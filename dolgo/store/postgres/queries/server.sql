-- What the connections themselves ask.

-- name: now  The server's time, in seconds since the epoch.
SELECT extract(epoch FROM clock_timestamp())::double precision;

-- name: newest  The seq of the newest event.
SELECT seq FROM meta;

-- name: ring  Tell the processes that listen: channel, text.
SELECT pg_notify($1, $2);
