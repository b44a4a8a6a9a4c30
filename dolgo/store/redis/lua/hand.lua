-- What people do to tasks. Each answers what it met and did: {state before, state after, refusal, whether its worker is to stop
-- it and was not told so before}; 0 for no task, '' for no refusal.

local NOT_THERE = {0, 0, '', 0}

local function refused(state, why)
  return {state, state, why, 0}
end

-- Of as many as may be read together: it is asked again for the others.
local function each(turn, ids, act)
  local changes = {}
  for place, id in ipairs(Task.fetch_some(turn, ids)) do
    local task = Task.read(turn, id)
    changes[place] = task and act(turn, task) or NOT_THERE
  end
  return changes
end

local function cancel(turn, task)
  local was = task.state
  if was == DONE or was == FAILED then
    return refused(was, 'status')
  end
  local asked = was == IN_PROGRESS and task.cancel_asked == 0
  if asked then
    call('SADD', turn:key('asked:', task.worker), task.id)
  end
  if was == IN_PROGRESS or Task.by_parent(task) then -- or the retry of that parent would bring it back
    task.cancel_asked = 1
    Task.write(turn, task)
  elseif was < DONE then
    Place.call_off(turn, task, 'cancelled', 'Cancelled before it started.')
  end
  return {was, task.state, '', asked and 1 or 0}
end

local function retry(turn, task)
  local was = task.state
  if was ~= FAILED and was ~= CANCELLED then
    return refused(was, 'status')
  elseif Place.has_key(turn, turn:line_of(task.line)[2], task.unique_key) then
    return refused(was, 'unique')
  end
  local open, bad = Edges.place(turn, Edges.parents(turn, task), task.run_anyway)
  if bad then
    return refused(was, 'parents')
  end
  Edges.restart(turn, task, open, turn.now)
  return {was, task.state, '', 0}
end

local function delete(turn, task)
  if task.state < DONE then
    return refused(task.state, 'status')
  elseif Edges.awaited(turn, task.id) then
    return refused(task.state, 'dependents')
  end
  Place.remove(turn, task)
  return {task.state, 0, '', 0}
end

function Verbs.cancel(turn, ids)
  return each(turn, ids, cancel)
end

function Verbs.retry(turn, ids)
  return each(turn, ids, retry)
end

function Verbs.delete(turn, ids)
  return each(turn, ids, delete)
end
