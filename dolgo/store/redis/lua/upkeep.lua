-- What has to be done from time to time. Every verb is bounded by its limit, and right whoever else does it too.

-- Those whose own time of keeping is over may go; those that were needed until now are kept as all are from here on.
local function own_time_over(turn, limit)
  local over = {}
  local ids = call('ZRANGEBYSCORE', turn:key('own'), '-inf', turn.now, 'LIMIT', 0, math.max(limit, MOST_DUE))
  for _, id in ipairs(ids) do
    local task = Task.read_head(turn, id)
    if task.keep == -1 then
      Place.keep(turn, task)
    elseif math.max(task.needed_until, task.finished_at + task.keep) < turn.now then
      over[#over + 1] = task
    end
  end
  turn:flush()
  return over
end

-- Deletes final tasks that have been kept long enough, `keep` seconds or as long as they say. How many.
function Verbs.prune(turn, keep, limit)
  local over, count = own_time_over(turn, limit), 0
  local latest = string.format('(%.17g', turn.now - keep)
  local ids = call('ZRANGEBYSCORE', turn:key('ended'), '-inf', latest, 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do
    local task = Task.read_head(turn, id)
    if task.needed_until > turn.now then -- the clock was set back
      Place.keep(turn, task)
    else
      Place.remove(turn, task)
      count = count + 1
    end
  end
  for place = 1, math.min(#over, limit - count) do
    Place.remove(turn, over[place])
    count = count + 1
  end
  return {count}
end

-- Goes on with what ends and retries have left over. How many were moved; never 0 while something is left.
function Verbs.cascade(turn, limit)
  local moved = Edges.cascade(turn, limit)
  if moved == 0 and call('EXISTS', turn:key('left')) == 1 then
    moved = 1
  end
  return {moved}
end

-- The number of the last event older than `latest`, of those from `first` to `last`; 0 if already the first is younger. All
-- events of one entry are of one time.
local function last_old(turn, first, last, latest)
  local old = 0
  while first <= last do
    local entries = call('XRANGE', turn:key('log'), string.format('%.0f-0', first), '+', 'COUNT', ENTRIES)
    if #entries == 0 then
      break
    end
    for _, entry in ipairs(entries) do
      local _, _, time = cmsgpack.unpack_limit(entry[2][2], 2, 1) -- behind the byte that says that it is three
      if time >= latest then
        return old
      end
      old = tonumber(string.match(entry[1], '^%d+'))
    end
    first = old + 1
  end
  return old
end

local function trim_log(turn, keep, most, upto, limit)
  local trimmed, seq = unpack(call('HMGET', turn:key('meta'), 'trimmed', 'seq'))
  trimmed, seq = tonumber(trimmed) or 0, tonumber(seq) or 0
  local last = math.min(trimmed + limit, seq, upto or seq) -- that may be dropped
  local beyond = math.min(math.max(seq - most, trimmed), last)
  local cut = math.min(math.max(beyond, last_old(turn, beyond + 1, last, turn.now - keep)), last)
  if cut <= trimmed then
    return 0
  end
  call('HSET', turn:key('meta'), 'trimmed', cut)
  call('XTRIM', turn:key('log'), 'MINID', string.format('%.0f-0', cut + 1)) -- an entry goes with the last of its events
  return cut - trimmed
end

-- Drops events older than `keep` seconds or beyond the newest `most`, none behind `upto`, and expired records. How many.
function Verbs.trim(turn, keep, most, upto, limit)
  local events = trim_log(turn, keep, most, upto, limit)
  return {events + Records.trim(turn, limit - events)}
end
