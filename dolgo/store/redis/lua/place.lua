-- Where a task stands besides its record, by its state. Whoever changes a state does it by `move`: counts, places and the log
-- follow.

function Place.add(turn, task)
  turn:zadd(turn:key('created'), task.created_at, task.id)
  if task.state < DONE then
    Place._begin(turn, task)
  end
  Place._enter(turn, task)
  turn:counted(task.line, nil, task.state)
  turn:event(task)
  Task.write(turn, task)
end

-- The one way to another state. `changes` are new values of its fields, `state` among them.
function Place.move(turn, task, changes)
  local before, after = task.state, changes.state
  Place._leave(turn, task)
  for field, value in pairs(changes) do
    task[field] = value
  end
  if after >= DONE and before < DONE then
    Place._end(turn, task)
  elseif after < DONE and before >= DONE then
    Place._begin(turn, task)
  end
  Place._enter(turn, task)
  turn:counted(task.line, before, after)
  turn:event(task)
  Task.write(turn, task)
end

-- Waiting, queued or held → cancelled.
function Place.call_off(turn, task, code, message, attempt)
  Place.move(turn, task, {
    state = CANCELLED, finished_at = turn.now, suspect = 0, error = error_text(code, message, attempt),
  })
end

-- Final → gone, with its notes.
function Place.remove(turn, task)
  Place._leave(turn, task)
  turn:counted(task.line, task.state, nil)
  turn:zrem(turn:key('created'), task.id)
  Edges.removed(turn, task)
  Task.remove(turn, task)
end

-- A queued task joins its line, or those whose time has not come.
function Place.stand(turn, task)
  if task.state == READY then
    Lines.add(turn, task)
  else
    turn:zadd(turn:key('later'), task.run_at, task.id)
  end
  turn.work = true
end

-- Moves those whose time has come into their lines, at most MOST_DUE and MOST_READ. A change of state no event tells of: both are `queued`.
function Place.let_due_in(turn)
  turn:flush()
  local ids = call('ZRANGEBYSCORE', turn:key('later'), '-inf', turn.now, 'LIMIT', 0, MOST_DUE)
  for _, id in ipairs(Task.fetch_some(turn, ids)) do
    local task = Task.read(turn, id)
    turn:zrem(turn:key('later'), id)
    turn:counted(task.line, LATER, READY)
    task.state = READY
    Lines.add(turn, task)
    Task.write(turn, task)
  end
end

-- Lets a final task be pruned in its time, if no unfinished task depends on it; else it is only found by lists.
function Place.keep(turn, task)
  Place._keep_no_more(turn, task)
  Place._keep(turn, task)
end

function Place._keep(turn, task)
  local pinned = Edges.awaited(turn, task.id)
  local usual = not pinned and task.keep == -1 and task.needed_until <= turn.now
  turn:zadd(turn:key(usual and 'ended' or 'ended:kept'), task.finished_at, task.id)
  if not usual and not pinned then
    local until_ = task.keep == -1 and task.needed_until or math.max(task.needed_until, task.finished_at + task.keep)
    turn:zadd(turn:key('own'), until_, task.id)
  end
end

function Place._keep_no_more(turn, task)
  for _, name in ipairs({'ended', 'ended:kept', 'own'}) do
    turn:zrem(turn:key(name), task.id)
  end
end

function Place._begin(turn, task)
  if task.unique_key ~= '' then
    call('HSET', turn:key('unique'), Place._unique_name(turn, task), task.id)
  end
  Edges.begun(turn, task)
end

function Place._end(turn, task)
  turn.ended[#turn.ended + 1] = task.id
  if task.unique_key ~= '' then
    call('HDEL', turn:key('unique'), Place._unique_name(turn, task))
  end
  Edges.over(turn, task)
end

function Place._unique_name(turn, task)
  return turn:line_of(task.line)[2] .. '\0' .. task.unique_key
end

-- The id of the unfinished task of that type that has the key, nil if none has.
function Place.has_key(turn, type, unique_key)
  return unique_key ~= '' and call('HGET', turn:key('unique'), type .. '\0' .. unique_key) or nil
end

-- Among these are tasks found by their state where the list of all would be too long to look through.
local FEW = {[WAITING] = 'few:1', [FAILED] = 'few:6', [CANCELLED] = 'few:7'}

function Place._leave(turn, task)
  local state, id = task.state, task.id
  if FEW[state] then
    turn:zrem(turn:key(FEW[state]), id)
  end
  if state < IN_PROGRESS and task.expires_at ~= 0 and task.attempt == 0 then
    turn:zrem(turn:key('expiring'), id)
  end
  if state == LATER then
    turn:zrem(turn:key('later'), id)
  elseif state == READY then
    Lines.discard(turn, task)
  elseif state == IN_PROGRESS then
    turn:zrem(turn:key('leases'), id)
    turn:srem(turn:key('held:', task.worker), task.token .. id)
    if task.cancel_asked == 1 then
      call('SREM', turn:key('asked:', task.worker), id)
    end
    turn:runs(task.line, task.limit_key, -1)
    Lines.freed(turn, task)
  elseif state >= DONE then
    Place._keep_no_more(turn, task)
  end
end

-- When a lease is over, as it is kept: in microseconds, because Redis is faster with whole numbers.
function Place.until_(time)
  return math.floor(time * 1e6 + 0.5)
end

-- `task.lease`: seconds for which a task in progress is held.
function Place._enter(turn, task)
  local state, id = task.state, task.id
  if FEW[state] then
    turn:zadd(turn:key(FEW[state]), task.created_at, id)
  end
  if state < IN_PROGRESS and task.expires_at ~= 0 and task.attempt == 0 then
    turn:zadd(turn:key('expiring'), task.expires_at, id)
  end
  if state == LATER or state == READY then
    Place.stand(turn, task)
  elseif state == IN_PROGRESS then
    turn:zadd(turn:key('leases'), Place.until_(turn.now + task.lease), id)
    turn:sadd(turn:key('held:', task.worker), task.token .. id)
    turn:runs(task.line, task.limit_key, 1)
    Gates.started(turn, task)
  elseif state >= DONE then
    Place._keep(turn, task)
  end
end
