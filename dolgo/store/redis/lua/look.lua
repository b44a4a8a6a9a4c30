-- What is answered by a look, and changes nothing.

local A_LOOK = 50 -- tasks read at first for a page
local MOST_BYTES = 4194304 -- of events in one answer

local function row_of(task, row)
  for _, field in ipairs(FIELDS) do
    row[#row + 1] = task[field]
  end
  return row
end

-- Body, result, and the earlier attempts.
local function tell(turn, task)
  turn:blob(Task.body(task))
  turn:blob(Task.result(task))
  local names = {}
  for number = 1, task.history do
    names[number] = string.format('attempt/%08d', number)
  end
  for first = 1, #names, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #names)
    for _, value in ipairs(call('HMGET', turn:key('n:', task.id), unpack(names, first, last))) do
      turn:blob(value)
    end
  end
end

-- For each id false, or a row; its blobs are those of `tell`. Of as many as may be read together: it is asked again for the others.
function Reads.get(turn, ids)
  local rows = {}
  for place, id in ipairs(Task.fetch_some(turn, ids)) do
    local task = Task.read(turn, id)
    rows[place] = task and row_of(task, {}) or false
    if task then
      tell(turn, task)
    end
  end
  return rows
end

-- Pages

-- How many members of a sorted set stand before this time and id.
local function place_of(key, time, id)
  local exact = string.format('%.17g', time)
  local low = call('ZCOUNT', key, '-inf', '(' .. exact)
  local high = low + call('ZCOUNT', key, exact, exact)
  while low < high do -- a batch has one time: there may be many
    local middle = math.floor((low + high) / 2)
    if before(call('ZRANGE', key, middle, middle)[1], id) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- Where in a sorted set a page can find anything: from the first place to before the last.
local function bounds_of(key, query)
  local first, last = 0, call('ZCARD', key)
  if query.low and not query.finished then -- that order is by another time
    first = call('ZCOUNT', key, '-inf', query.low)
  end
  if query.high and not query.finished then
    last = call('ZCOUNT', key, '-inf', string.format('(%.17g', query.high))
  end
  if query.after and query.backwards then
    last = math.min(last, place_of(key, query.after, query.after_id))
  elseif query.after then
    first = math.max(first, place_of(key, query.after, query.after_id .. '\0')) -- the smallest behind it: no id holds NUL
  end
  return first, last
end

-- The first {time, id} of a sorted set within those bounds, the smallest of them first.
local function stretch(key, query, items)
  local first, last = bounds_of(key, query)
  if query.backwards then
    first = math.max(first, last - query.step)
  else
    last = math.min(last, first + query.step)
  end
  if first < last then
    query.unsorted = items[1] ~= nil
    for id, time in pairs_of(call('ZRANGE', key, first, last - 1, 'WITHSCORES')) do
      items[#items + 1] = {tonumber(time), id}
    end
  end
end

local function comes_before(one, other)
  if one[1] ~= other[1] then
    return one[1] < other[1]
  end
  return before(one[2], other[2])
end

local function within(time, id, query)
  if query.low and time <= query.low or query.high and time >= query.high then
    return false
  end
  if not query.after then
    return true
  end
  local item, after = {time, id}, {query.after, query.after_id}
  return comes_before(query.backwards and item or after, query.backwards and after or item)
end

-- What is in progress, by the time of its creation.
local function held(turn, query, items)
  local ids = call('ZRANGE', turn:key('leases'), 0, -1)
  for first = 1, #ids, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #ids)
    for place, time in ipairs(call('ZMSCORE', turn:key('created'), unpack(ids, first, last))) do
      local id = ids[first + place - 1]
      if within(tonumber(time), id, query) then
        items[#items + 1] = {tonumber(time), id}
      end
    end
  end
  query.unsorted = true
end

-- The next {time, id} a page looks at, in its order: as many as `query.step`, if there are.
local function items_of(turn, what, query)
  local items, ordered = {}, {}
  if what == 'leases' then
    held(turn, query, items)
  elseif what == 'finished' then
    stretch(turn:key('ended'), query, items)
    stretch(turn:key('ended:kept'), query, items)
  else
    stretch(turn:key(what), query, items)
  end
  if query.unsorted then
    table.sort(items, comes_before)
  end
  for place = 1, math.min(#items, query.step) do
    ordered[place] = items[query.backwards and #items + 1 - place or place]
  end
  return ordered
end

local function matches(turn, task, query)
  local line = turn:line_of(task.line)
  return (not query.type or query.type == line[2])
    and (not query.without or string.sub(line[2], 1, #query.without) ~= query.without)
    and (not query.queue or query.queue == line[1])
    and (not query.worker or query.worker == task.worker)
    and (not query.low or task.created_at > query.low)
    and (not query.high or task.created_at < query.high)
end

-- Those of the state that is asked for: one byte of each, so that the others need not be read.
local function of_state(turn, items, state)
  if not state then
    return items
  end
  local found = {}
  for _, item in ipairs(items) do
    local there = Task.state(turn, item[2])
    if there == state or (there == READY and state == LATER) then
      found[#found + 1] = item
    end
  end
  return found
end

-- Adds those of the items that match to the rows. The item that made the page full, by their number or bytes, nil if none did.
local function look_at(turn, items, query, rows)
  for _, item in ipairs(of_state(turn, items, query.state)) do
    local task = query.bodies == 1 and Task.read(turn, item[2]) or Task.read_head(turn, item[2])
    if matches(turn, task, query) then
      rows[#rows + 1] = row_of(task, {task.id})
      if query.bodies == 1 then
        tell(turn, task)
        query.size = query.size + #task.tail
      end
      if #rows == query.limit or query.size >= MOST_READ then
        return item
      end
    end
  end
  return nil
end

-- `what`: created, finished, few:<state> or leases. {rows, time and id after which the next page goes on: false and '' at the
-- end}.
function Reads.list(turn, what, backwards, low, high, after, after_id, state, type, queue, worker, limit, looks, bodies, without)
  local query = {
    backwards = backwards == 1, low = low, high = high, after = after, after_id = after_id,
    state = state, type = type, queue = queue, worker = worker, limit = limit, bodies = bodies,
    finished = what == 'finished', size = 0, without = without,
  }
  if what == 'leases' and call('ZCARD', turn:key('leases')) > MOST_LOOKS then
    what = 'created'
  end
  local rows, step = {}, what == 'leases' and looks or math.max(limit, A_LOOK) -- mostly the very first fill a page
  while looks > 0 do
    query.step, step = math.min(looks, step), step * 2
    local items = items_of(turn, what, query)
    local last = look_at(turn, items, query, rows)
    if last then
      return {rows, last[1], last[2]}
    elseif #items < query.step then
      return {rows, false, ''}
    end
    looks = looks - #items
    query.after, query.after_id = items[#items][1], items[#items][2]
  end
  return {rows, query.after or false, query.after_id or ''}
end

-- Besides the records

local function starts_with(text, prefix)
  return string.sub(text, 1, #prefix) == prefix
end

-- Keys of a task's notes, in order, and without the earlier attempts.
local function keys_of_notes(turn, id, prefix)
  local keys = {}
  for _, key in ipairs(call('HKEYS', turn:key('n:', id))) do
    if starts_with(key, prefix) and not starts_with(key, 'attempt/') then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, before)
  return keys
end

local function tell_notes(turn, id, keys)
  for first = 1, #keys, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #keys)
    for _, value in ipairs(call('HMGET', turn:key('n:', id), unpack(keys, first, last))) do
      turn:blob(value)
    end
  end
end

local function unfinished_of(turn, parents)
  local awaited = {}
  for id in pairs_of(parents) do
    if (Task.state(turn, id) or DONE) < DONE then
      awaited[#awaited + 1] = id
    end
  end
  return awaited
end

-- For each id false, or {dependents, unfinished parents, how many it submitted}. Blobs: its parents ('': none), its progress
-- ('': none), and the notes of what it submitted.
function Reads.details(turn, ids)
  local found = {}
  for place, id in ipairs(ids) do
    found[place] = false
    if Task.state(turn, id) then
      local parents = call('GET', turn:key('up:', id)) or ''
      turn:blob(parents)
      turn:blob(call('HGET', turn:key('n:', id), 'progress') or '')
      local submitted = keys_of_notes(turn, id, 'submitted/')
      tell_notes(turn, id, submitted)
      local awaited = unfinished_of(turn, parents ~= '' and cmsgpack.unpack(parents) or {})
      found[place] = {call('ZRANGE', turn:key('down:', id), 0, -1), awaited, #submitted}
    end
  end
  return found
end

function Reads.notes(turn, id, prefix)
  local keys = keys_of_notes(turn, id, prefix)
  tell_notes(turn, id, keys)
  return keys
end

function Reads.asked(turn, worker)
  return call('SMEMBERS', turn:key('asked:', worker))
end

-- {queue, type, hash, tasks at each state}, of every line that has any.
function Reads.counts(turn)
  local lines, rows = {}, {}
  for name, count in pairs_of(call('HGETALL', turn:key('counts'))) do
    local line, state = string.match(name, '^(%d+):(%d)$')
    if tonumber(count) ~= 0 then
      lines[line] = lines[line] or {0, 0, 0, 0, 0, 0, 0}
      lines[line][tonumber(state)] = tonumber(count)
    end
  end
  for line, counts in pairs(lines) do
    local queue, type, hash = unpack(turn:line_of(tonumber(line)))
    rows[#rows + 1] = {queue, type, hash, counts}
  end
  return rows
end

-- Keeps the smaller (rank, id) of a queue.
local function offer(turn, firsts, line, rank, id)
  local queue, item = turn:line_of(line)[1], {rank, id}
  if not firsts[queue] or comes_before(item, firsts[queue]) then
    firsts[queue] = item
  end
end

-- queue, run_at, queue, run_at, … of the first claimable task of each.
function Reads.oldest(turn)
  local firsts, answer = {}, {}
  for line in pairs_of(call('ZRANGE', turn:key('fronts'), 0, -1, 'WITHSCORES')) do
    for _, name in ipairs({'q:', 'heads:'}) do
      local member, rank = unpack(call('ZRANGE', turn:key(name, line), 0, 0, 'WITHSCORES'))
      if member then
        offer(turn, firsts, tonumber(line), tonumber(rank), string.match(member, '^%Z*')) -- of a keyed line: id, NUL, key
      end
    end
  end
  local due = call('ZRANGEBYSCORE', turn:key('later'), '-inf', turn.now, 'LIMIT', 0, MOST_DUE) -- as a claim would let them in
  Task.fetch(turn, due)
  for _, id in ipairs(due) do
    local task = Task.read(turn, id)
    if task.limit_key == '' or call('SISMEMBER', turn:key('closed:', task.limit_key), task.line) == 0 then
      offer(turn, firsts, task.line, Task.rank(task), id)
    end
  end
  for queue, first in pairs(firsts) do
    answer[#answer + 1] = queue
    answer[#answer + 1] = Task.read(turn, first[2]).run_at
  end
  return answer
end

-- The log

local function log_ends(turn)
  local trimmed, seq = unpack(call('HMGET', turn:key('meta'), 'trimmed', 'seq'))
  return tonumber(trimmed) or 0, tonumber(seq) or 0
end

-- The newest number that was dropped, the newest of all, and how many entries follow as blobs: from the one that holds the
-- event after `after`, or the oldest there is if that is gone.
function Reads.events(turn, after, limit)
  local trimmed, seq = log_ends(turn)
  local from, size, chunks = math.max(after, trimmed), 0, 0
  local last = from
  while last < seq and after <= seq and last - from < limit and size < MOST_BYTES do
    local entries = call('XRANGE', turn:key('log'), string.format('%.0f-0', last + 1), '+', 'COUNT', ENTRIES)
    if #entries == 0 then
      break
    end
    for _, entry in ipairs(entries) do
      if last - from < limit and size < MOST_BYTES then
        turn:blob(entry[2][2])
        size, chunks = size + #entry[2][2], chunks + 1
        last = tonumber(string.match(entry[1], '^%d+'))
      end
    end
  end
  return {trimmed, seq, chunks}
end

function Reads.head(turn)
  local _, seq = log_ends(turn)
  return {seq}
end
