-- How attempts go on and end: renewed, noted, settled under their token, or reclaimed; and what had no time to start.
local Settle = {}

-- `named`: id, token, id, token, … Answers which of them are lost, which are to be cancelled, and the leases that the worker did not
-- name: by token, for it may name an attempt that was taken from it and hold another of the same task unknowingly.
function Verbs.renew(turn, worker, lease, named)
  local held, tokens = {}, {}
  for _, member in ipairs(call('SMEMBERS', turn:key('held:', worker))) do
    held[string.sub(member, TOKEN + 1)] = string.sub(member, 1, TOKEN)
  end
  local asked_of = {}
  for _, id in ipairs(call('SMEMBERS', turn:key('asked:', worker))) do
    asked_of[id] = true
  end
  local lost, asked = {}, {}
  for id, token in pairs_of(named) do
    tokens[id] = token
    if held[id] ~= token and not Task.held_by(turn, id, token) then
      lost[#lost + 1] = id
    else
      turn:zadd(turn:key('leases'), Place.until_(turn.now + lease), id)
      if asked_of[id] then
        asked[#asked + 1] = id
      end
    end
  end
  local unnamed = {}
  for id, token in pairs(held) do
    if tokens[id] ~= token then
      unnamed[#unnamed + 1] = Task.lease(turn, Task.read(turn, id))
    end
  end
  return {lost, asked, unnamed}
end

function Verbs.note(turn, calls)
  local answers = {}
  for place, notes in ipairs(calls) do
    local took = {}
    for which, note in ipairs(notes) do
      took[which] = Task.held_by(turn, note[1], note[2]) and 1 or 0
      if took[which] == 1 then
        Task.note(turn, note)
      end
    end
    answers[place] = took
  end
  return answers
end

-- Answers for each item of each call whether it took.
function Verbs.settle(turn, calls)
  local ids, answers = {}, {}
  for _, items in ipairs(calls) do
    for _, item in ipairs(items) do
      ids[#ids + 1] = item[1]
    end
  end
  Task.fetch(turn, ids)
  for place, items in ipairs(calls) do
    local took = {}
    for which, item in ipairs(items) do
      took[which] = Settle.one(turn, unpack(item, 1, 12)) and 1 or 0
    end
    answers[place] = took
  end
  return answers
end

function Settle.one(turn, id, token, state, outcome, result, error, delay, failures, losses, deferrals, suspect, started)
  local task = Task.read(turn, id)
  if not task or task.token ~= token or token == '' then
    return false
  end
  local said = state .. ' ' .. outcome
  if task.state >= DONE then
    return task.said == said -- said again in doubt
  end
  local changes = {said = said, failures = failures, losses = losses, deferrals = deferrals}
  if state >= DONE then
    changes.state, changes.finished_at, changes.suspect, changes.error = state, turn.now, 0, error
    Task.set_result(task, result)
    Place.move(turn, task, changes)
    return true
  end
  changes.suspect = suspect
  changes.state = READY -- even if a clock that was set back says that its time has not come
  if delay ~= 0 then
    changes.run_at = turn.now + delay
    changes.state = delay > 0 and LATER or READY
  end
  Settle.requeue(turn, task, changes, started == 1 and outcome, error)
  return true
end

-- Held → queued, or cancelled if that was asked. `outcome` false: nothing started and the attempt's number is returned.
function Settle.requeue(turn, task, changes, outcome, error)
  if not outcome then
    changes.attempt, changes.started_at, changes.worker = task.attempt - 1, 0, ''
  end
  if task.cancel_asked == 1 then
    local attempt = outcome and task.attempt or 0
    changes.state, changes.finished_at, changes.suspect = CANCELLED, turn.now, 0
    changes.error = error_text('cancelled', 'Cancelled; it does not run again.', attempt)
  else
    if outcome then
      Task.keep_attempt(turn, task, outcome, turn.now, error)
    end
    changes.token, changes.said, changes.started_at, changes.worker = '', '', 0, ''
  end
  Place.move(turn, task, changes)
end

-- Held → queued where the lease is over, or its worker is among the dead. How many, and whether
-- more were found.
function Verbs.reclaim(turn, dead, limit)
  local ids, known = {}, {}
  local function add(found)
    for _, id in ipairs(found) do
      if not known[id] and #ids < limit then
        known[id] = true
        ids[#ids + 1] = id
      end
    end
  end
  add(call('ZRANGEBYSCORE', turn:key('leases'), '-inf', Place.until_(turn.now), 'LIMIT', 0, limit))
  for _, worker in ipairs(dead) do
    for _, member in ipairs(call('SRANDMEMBER', turn:key('held:', worker), limit)) do
      add({string.sub(member, TOKEN + 1)})
    end
  end
  local some, more = Task.fetch_some(turn, ids)
  for _, id in ipairs(some) do
    local task = Task.read(turn, id)
    local error = error_text('worker_lost', 'Its worker died, or was not heard of for a whole lease.', task.attempt)
    local changes = {state = READY, suspect = 1, token = ''} -- nobody settled it: a late settlement must not pass for a repeated one
    Settle.requeue(turn, task, changes, 'lost', error)
  end
  return {#some, more}
end

-- Shortens leases that end later than this many seconds from now: the clock was set back. How many.
function Verbs.clamp(turn, lease)
  local latest = Place.until_(turn.now + lease)
  local ids = call('ZRANGEBYSCORE', turn:key('leases'), string.format('(%.0f', latest), '+inf')
  for _, id in ipairs(ids) do
    turn:zadd(turn:key('leases'), latest, id)
  end
  return {#ids}
end

function Upkeep.expire(turn, limit)
  local ids = call('ZRANGEBYSCORE', turn:key('expiring'), '-inf', turn.now, 'LIMIT', 0, limit)
  local some, more = Task.fetch_some(turn, ids)
  for _, id in ipairs(some) do
    Place.call_off(turn, Task.read(turn, id), 'expired', 'It had not started when its time to start was over.')
  end
  return #some, more
end

function Verbs.expire(turn, limit)
  return {Upkeep.expire(turn, limit)}
end
