-- Who waits for whom: what ends and retries do to dependents. Nobody carries over what a parent was: each step looks at the
-- parents as they are at that moment, so it is right whatever has happened to them since, and may be done twice.
--
-- One call moves `turn.budget` dependents; the rest goes to the list `left`, so that at every commit a waiting task has an
-- unfinished parent, or an item of the list leads to it.

local LOOKS = 20 -- so many looks at dependents or parents weigh as much as one dependent moved
local A_LOOK_READS = 1024 -- bytes of a task that weigh as much as a look at one
local A_STEP = 100 -- dependents read at once

-- The parents of a task as they were named: id, ref ('': none), id, ref ...
function Edges.parents(turn, task)
  if task.parents == 0 then
    return {}
  end
  local parents = turn.up[task.id]
  if not parents then
    local stored = call('GET', turn:key('up:', task.id))
    parents = stored and cmsgpack.unpack(stored) or {}
    turn.up[task.id] = parents
  end
  return parents
end

-- Each of them once.
local function ids_of(parents)
  local ids, seen = {}, {}
  for place = 1, #parents, 2 do
    local id = parents[place]
    if not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
  return ids
end

-- The parents that have not ended; or none, and {id, state} of one because of which the task is cancelled.
function Edges.place(turn, parents, run_anyway)
  local open = {}
  for _, id in ipairs(ids_of(parents)) do
    local state = Task.state(turn, id) -- one that is gone counts as done
    if state and state < DONE then
      open[#open + 1] = id
    elseif state and state > DONE and run_anyway == 0 then
      return {}, {id = id, state = state}
    end
  end
  return open, nil
end

-- Before a new task is added: what it depends on, and which of them it waits for.
function Edges.add(turn, id, parents, open)
  turn.up[id] = parents
  call('SET', turn:key('up:', id), cmsgpack.pack(parents))
  local number = call('HINCRBY', turn:key('meta'), 'edges', 1)
  for _, parent in ipairs(ids_of(parents)) do
    call('ZADD', turn:key('down:', parent), number, id)
  end
  call_many('SADD', turn:key('wait:', id), open)
end

-- Whether an unfinished task depends on it. Mostly there are none at all, which one look tells a whole call.
function Edges.awaited(turn, id)
  if turn.awaited == nil then
    turn.awaited = call('EXISTS', turn:key('unfinished')) == 1
  end
  return turn.awaited and call('HEXISTS', turn:key('unfinished'), id) == 1
end

-- A final task is not pruned while something unfinished depends on it.
local function pin(turn, id)
  local task = turn.tasks[id]
  local ended, at = turn:key('ended'), nil
  if task then
    at = task.state >= DONE and task.finished_at
  else -- of one of many parents that nobody has read, this is all that is needed
    at = tonumber(call('ZSCORE', ended, id))
  end
  if at then
    turn:zrem(ended, id)
    turn:zadd(turn:key('ended:kept'), at, id)
  end
  turn:zrem(turn:key('own'), id)
end

-- The task is unfinished from now on.
function Edges.begun(turn, task)
  if task.parents == 0 then
    return
  end
  turn.awaited = true
  for _, id in ipairs(ids_of(Edges.parents(turn, task))) do
    if call('HINCRBY', turn:key('unfinished'), id, 1) == 1 then
      pin(turn, id)
    end
  end
end

-- The task has ended: parents that nothing unfinished depends on any more may be pruned in their time.
function Edges.over(turn, task)
  if task.parents == 0 then
    return
  end
  call('DEL', turn:key('wait:', task.id))
  local free = {}
  for _, id in ipairs(ids_of(Edges.parents(turn, task))) do
    if call('HINCRBY', turn:key('unfinished'), id, -1) == 0 then
      free[#free + 1] = id
    end
  end
  call_many('HDEL', turn:key('unfinished'), free)
  Task.fetch(turn, free)
  for _, id in ipairs(free) do
    local parent = Task.read(turn, id)
    if parent and parent.state >= DONE then
      Place.keep(turn, parent)
    end
  end
end

-- The task is gone. Those that depend on it stay known as such: its id may be used again.
function Edges.removed(turn, task)
  if task.parents == 0 then
    return
  end
  for _, id in ipairs(ids_of(Edges.parents(turn, task))) do
    call('ZREM', turn:key('down:', id), task.id)
  end
  call('DEL', turn:key('up:', task.id))
end

local OUTCOME = {timeout = 'timeout', worker_lost = 'lost'}

-- How the newest attempt of a final task ended.
local function last_outcome(task)
  if task.state ~= FAILED then
    return STATUS[task.state]
  end
  return OUTCOME[Task.error_code(task)] or STATUS[task.state]
end

-- Final → queued, or waiting for those parents; its dependents are seen to later in the call.
function Edges.restart(turn, task, open, run_at)
  if task.started_at ~= 0 then -- the newest attempt is on the record, which is to tell of the next
    Task.keep_attempt(turn, task, last_outcome(task), task.finished_at, task.error)
  end
  Task.set_result(task, '')
  call_many('SADD', turn:key('wait:', task.id), open)
  Place.move(turn, task, {
    state = open[1] and WAITING or run_at <= turn.now and READY or LATER,
    run_at = run_at, generation = task.generation + 1, failures = 0, losses = 0, deferrals = 0, suspect = 0, cancel_asked = 0,
    token = '', said = '', worker = '', started_at = 0, finished_at = 0, error = '',
    expires_at = task.expires_at > turn.now and task.expires_at or 0,
  })
  turn.restarted[#turn.restarted + 1] = task.id
end

-- What a parent is now, done to one that waits. Whether there was something to do.
local function release(turn, child, parent)
  local wait = turn:key('wait:', child.id)
  local open, bad = Edges.place(turn, {parent, ''}, child.run_anyway)
  if open[1] then
    return call('SADD', wait, parent) == 1
  end
  if not bad then
    if call('SREM', wait, parent) == 0 then
      return false
    end
    if call('EXISTS', wait) == 1 then
      return true
    end
    turn.looks = turn.looks - child.parents
    open, bad = Edges.place(turn, Edges.parents(turn, child), child.run_anyway) -- what another did may be left over
  end
  if bad then
    Place.call_off(turn, child, 'dependency_failed', parent_ended(bad))
  elseif open[1] then
    call_many('SADD', wait, open)
  else
    local run_at = math.max(child.run_at, turn.now)
    Place.move(turn, child, {state = run_at <= turn.now and READY or LATER, run_at = run_at})
  end
  return true
end

-- Brings one back that was cancelled because of a parent, if none would cancel it now. Whether it did.
local function revive(turn, child)
  if child.cancel_asked == 1 or not Task.by_parent(child) then
    return false
  end
  turn.looks = turn.looks - child.parents
  local open, bad = Edges.place(turn, Edges.parents(turn, child), child.run_anyway)
  if bad or Place.has_key(turn, turn:line_of(child.line)[2], child.unique_key) then
    return false
  end
  Edges.restart(turn, child, open, math.max(child.run_at, turn.now))
  return true
end

local function move(turn, id, fan)
  local child = Task.read(turn, id)
  if not child then
    return false
  end
  turn.looks = turn.looks - math.floor(#child.tail / A_LOOK_READS)
  if child.state == WAITING then
    return release(turn, child, fan.parent)
  end
  return fan.revives and revive(turn, child)
end

-- A fan: a parent, whether it began anew (else it has ended), and the number of the last of its dependents that was looked at.
local function push(fans, fan)
  fans.last = fans.last + 1
  fans[fans.last] = fan
end

-- Moving a dependent may end it, or begin it anew, which reaches its own.
local function gather(turn, fans)
  for _, id in ipairs(turn.ended) do
    if Edges.awaited(turn, id) then
      push(fans, {parent = id, revives = false, after = 0})
    end
  end
  for _, id in ipairs(turn.restarted) do
    push(fans, {parent = id, revives = true, after = 0})
  end
  turn.ended, turn.restarted = {}, {}
end

-- The next of its dependents in the order of their submit, nil after the last.
local function next_child(turn, fan)
  if not fan.ahead or fan.place > #fan.ahead then
    local after = string.format('(%.0f', fan.after)
    fan.ahead = call('ZRANGEBYSCORE', turn:key('down:', fan.parent), after, '+inf', 'WITHSCORES', 'LIMIT', 0, A_STEP)
    fan.place = 1
  end
  local child, number = fan.ahead[fan.place], fan.ahead[fan.place + 1]
  if child then
    fan.place, fan.after = fan.place + 2, tonumber(number)
  end
  return child
end

-- Works the fans off as far as the call may, and leaves the rest over.
local function work(turn, fans)
  gather(turn, fans)
  while fans.first <= fans.last and turn.budget > 0 and turn.looks > 0 do
    local fan = fans[fans.first]
    local child = next_child(turn, fan)
    turn.looks = turn.looks - 1
    if not child then
      fans.first = fans.first + 1
    elseif move(turn, child, fan) then
      turn.budget = turn.budget - 1
      gather(turn, fans)
    end
  end
  for place = fans.first, fans.last do
    local fan = fans[place]
    call('RPUSH', turn:key('left'), cmsgpack.pack({fan.parent, fan.revives, fan.after}))
  end
end

-- Sees to the dependents of all that has ended or begun anew in this call. Before the claims, and last of all.
function Edges.follow(turn)
  if turn.ended[1] or turn.restarted[1] then
    turn.looks = turn.looks or turn.budget * LOOKS
    work(turn, {first = 1, last = 0})
  end
end

-- Goes on with what is left over; how many were moved.
function Edges.cascade(turn, limit)
  turn.budget, turn.looks = limit, limit * LOOKS
  while turn.budget > 0 and turn.looks > 0 do
    local left = call('LPOP', turn:key('left'))
    if not left then
      break
    end
    local parent, revives, after = unpack(cmsgpack.unpack(left))
    work(turn, {first = 1, last = 1, {parent = parent, revives = revives, after = after}})
  end
  return limit - turn.budget
end
