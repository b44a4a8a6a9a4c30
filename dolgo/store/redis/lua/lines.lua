-- Where claimable tasks stand: the tasks of one number (queue, type and hash) without a limit key in `q:<n>`, those of each limit
-- key in `k:<n>:<key>`. `heads:<n>` has the first of each keyed line that is open, by rank; `head:<n>` names it for each limit key
-- ('' if that is closed). `fronts` has the lines with anything open, by their smallest rank.
-- A keyed line is closed while as many of its key run as may; then `closed:<key>` holds its number, and `closed` the key.

function Lines.key(turn, line, limit_key)
  if limit_key ~= '' then
    return turn:key('k:' .. line .. ':', limit_key)
  end
  local key = turn.plain[line]
  if not key then
    key = turn:key('q:', line)
    turn.plain[line] = key
  end
  return key
end

function Lines.add(turn, task)
  turn:zadd(Lines.key(turn, task.line, task.limit_key), Task.rank(task), task.id)
  Lines.touched(turn, task.line, task.limit_key)
end

function Lines.discard(turn, task)
  turn:zrem(Lines.key(turn, task.line, task.limit_key), task.id)
  Lines.touched(turn, task.line, task.limit_key)
end

-- What is first there may be another task now.
function Lines.touched(turn, line, limit_key)
  turn.fronts[line] = true
  if limit_key ~= '' then
    local keys = turn.keyed[line]
    if not keys then
      keys = {}
      turn.keyed[line] = keys
    end
    keys[limit_key] = true
  end
end

-- A task of the line has stopped running: what its gates or its limit key held back may go on.
function Lines.freed(turn, task)
  if Gates.make_room(turn, task.line) then
    turn.work = true
  end
  if task.limit_key ~= '' then
    Lines.reopen(turn, task.limit_key)
  end
end

function Lines.close(turn, line, limit_key)
  call('SADD', turn:key('closed:', limit_key), line)
  call('SADD', turn:key('closed'), limit_key)
  Lines.touched(turn, line, limit_key)
end

function Lines.reopen(turn, limit_key)
  local closed = turn:key('closed:', limit_key)
  local lines = call('SMEMBERS', closed)
  if #lines > 0 then
    call('DEL', closed)
    call('SREM', turn:key('closed'), limit_key)
    for _, line in ipairs(lines) do
      Lines.touched(turn, tonumber(line), limit_key)
    end
  end
end

-- A limit has changed: every closed line is to be looked at again, which `reopen_some` does bit by bit.
function Lines.reopen_all(turn)
  local closed, reopening = turn:key('closed'), turn:key('reopening')
  call('SUNIONSTORE', reopening, reopening, closed)
  call('DEL', closed)
end

-- Whether there are more.
function Lines.reopen_some(turn)
  local keys = call('SPOP', turn:key('reopening'), MOST_DUE)
  for _, limit_key in ipairs(keys) do
    Lines.reopen(turn, limit_key)
  end
  return #keys == MOST_DUE
end

-- Sets right what is said to be first in all lines that were touched.
function Lines.fix(turn)
  if next(turn.fronts) == nil then
    return
  end
  turn:flush()
  for line, keys in pairs(turn.keyed) do
    for limit_key in pairs(keys) do
      Lines._fix_head(turn, line, limit_key)
    end
  end
  for line in pairs(turn.fronts) do
    Lines._fix_front(turn, line)
  end
  turn.keyed, turn.fronts = {}, {}
end

function Lines._fix_head(turn, line, limit_key)
  local heads, head = turn:key('heads:', line), turn:key('head:', line)
  local first = call('ZRANGE', Lines.key(turn, line, limit_key), 0, 0, 'WITHSCORES')
  local there = call('HGET', head, limit_key)
  if not first[1] then
    Lines._empty(turn, line, limit_key)
    call('HDEL', head, limit_key)
  end
  local open = first[1] and call('SISMEMBER', turn:key('closed:', limit_key), line) == 0
  local member = open and first[1] .. '\0' .. limit_key
  if there and there ~= '' and there ~= member then
    call('ZREM', heads, there)
  end
  if member then
    call('ZADD', heads, first[2], member)
  end
  if first[1] and there ~= (member or '') then
    call('HSET', head, limit_key, member or '')
  end
end

-- A line without tasks is not closed.
function Lines._empty(turn, line, limit_key)
  local closed = turn:key('closed:', limit_key)
  if call('SREM', closed, line) == 1 and call('EXISTS', closed) == 0 then
    call('SREM', turn:key('closed'), limit_key)
  end
end

function Lines._fix_front(turn, line)
  local first = call('ZRANGE', turn:key('q:', line), 0, 0, 'WITHSCORES')
  local keyed = call('ZRANGE', turn:key('heads:', line), 0, 0, 'WITHSCORES')
  local rank = first[2]
  if keyed[2] and (not rank or tonumber(keyed[2]) < tonumber(rank)) then
    rank = keyed[2]
  end
  if rank then
    call('ZADD', turn:key('fronts'), rank, line)
  else
    call('ZREM', turn:key('fronts'), line)
  end
end

-- Those that have something open, by the smallest rank: line, rank, line, rank, …
function Lines.fronts(turn, first, count)
  return call('ZRANGE', turn:key('fronts'), first, first + count - 1, 'WITHSCORES')
end
