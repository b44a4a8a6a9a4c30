-- Small keyed things with a version and an end: {key, version, first_at, written_at, expires_at (0: never), value}. The hash
-- `rec` has them by key, `reckeys` the keys in order, `recends` those that end, by when. By the time of the call, never by what
-- Redis lets expire.

local function parse(key, stored)
  local value, version, first_at, written_at, expires_at = unpack(cmsgpack.unpack(stored))
  return {key, version, first_at, written_at, expires_at, value}
end

local function unexpired(turn, record)
  return record[5] == 0 or record[5] > turn.now
end

local function read(turn, key)
  local stored = call('HGET', turn:key('rec'), key)
  local record = stored and parse(key, stored)
  return record and unexpired(turn, record) and record or nil
end

-- The records to `set`; or nil, and the one that stands in the way: of version 0 where one was named that does not exist.
function Records.plan(turn, puts)
  local planned, written = {}, {}
  for _, put in ipairs(puts) do
    local key, value, version, keep = put[1], put[2], put[3], put[4]
    local there = written[key] or read(turn, key) or {key, 0, turn.now, turn.now, 0, ''}
    if version and version ~= there[2] then
      return nil, there
    end
    written[key] = {key, there[2] + 1, there[3], turn.now, keep and turn.now + keep or 0, value}
    planned[#planned + 1] = written[key]
  end
  return planned, nil
end

function Records.set(turn, planned)
  for _, record in ipairs(planned) do
    local key, version, first_at, written_at, expires_at, value = unpack(record)
    call('HSET', turn:key('rec'), key, cmsgpack.pack({value, version, first_at, written_at, expires_at}))
    call('ZADD', turn:key('reckeys'), 0, key)
    if expires_at == 0 then
      call('ZREM', turn:key('recends'), key)
    else
      call('ZADD', turn:key('recends'), expires_at, key)
    end
  end
end

-- {0}, or {1, what stood in the way}, and its value.
function Verbs.put(turn, puts)
  local planned, there = Records.plan(turn, puts)
  if not planned then
    turn:blob(there[6])
    return {1, unpack(there, 1, 5)}
  end
  Records.set(turn, planned)
  return {0}
end

-- Those whose key starts so, by key; their values are the blobs.
function Reads.records(turn, prefix)
  local keys = call('ZRANGEBYLEX', turn:key('reckeys'), '[' .. prefix, '(' .. prefix .. '\255') -- no text holds that byte
  local rows = {}
  for first = 1, #keys, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #keys)
    for place, stored in ipairs(call('HMGET', turn:key('rec'), unpack(keys, first, last))) do
      local record = parse(keys[first + place - 1], stored)
      if unexpired(turn, record) then
        turn:blob(record[6])
        rows[#rows + 1] = {unpack(record, 1, 5)}
      end
    end
  end
  return rows
end

function Records.forget(turn, keys)
  call_many('HDEL', turn:key('rec'), keys)
  call_many('ZREM', turn:key('reckeys'), keys)
  call_many('ZREM', turn:key('recends'), keys)
end

function Verbs.forget(turn, keys)
  Records.forget(turn, keys)
  return {0}
end

-- Drops those that have expired. How many.
function Records.trim(turn, limit)
  local keys = call('ZRANGEBYSCORE', turn:key('recends'), '-inf', turn.now, 'LIMIT', 0, limit)
  Records.forget(turn, keys)
  return #keys
end
