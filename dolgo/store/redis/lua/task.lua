-- A task as it is stored: one value of a head that is MessagePack and belongs to these functions, the body, which is the
-- client's and never looked into, and the result.

-- In the order they are stored. 0 and '' stand for none, -1 in `keep`.
local FIELDS = {
  'state', 'line', 'run_at', 'lead', 'attempt', 'failures', 'losses', 'deferrals', 'generation', 'suspect', 'cancel_asked',
  'run_anyway', 'parents', 'limit_key', 'unique_key', 'token', 'worker', 'created_at', 'started_at', 'finished_at', 'keep',
  'needed_until', 'expires_at', 'history', 'said', 'error', 'size',
}
-- parents: how many it has. history: how many earlier attempts are among its notes. said: what the holder of the token told,
-- 'state outcome'. error: JSON. size: bytes of the body.

function Task.parse(id, value)
  local at, head = cmsgpack.unpack_one(value)
  local task = {id = id}
  for place, field in ipairs(FIELDS) do
    task[field] = head[place]
  end
  task.tail = at == -1 and '' or string.sub(value, at + 1) -- body and result
  return task
end

-- The task, nil if there is none. One call sees one table of it, whoever asks.
function Task.read(turn, id)
  local task = turn.tasks[id]
  if task == nil then
    local value = call('GET', turn:key('t:', id))
    task = value and Task.parse(id, value) or false
    turn.tasks[id] = task
  end
  return task or nil
end

-- Reads many ahead by few commands, so that `read` finds them.
function Task.fetch(turn, ids)
  local wanted, keys = {}, {}
  for _, id in ipairs(ids) do
    if turn.tasks[id] == nil then
      wanted[#wanted + 1] = id
      keys[#keys + 1] = turn:key('t:', id)
    end
  end
  for first = 1, #keys, AT_ONCE do
    local values = call('MGET', unpack(keys, first, math.min(first + AT_ONCE - 1, #keys)))
    for place, value in ipairs(values) do
      local id = wanted[first + place - 1]
      turn.tasks[id] = value and Task.parse(id, value) or false
    end
  end
end

function Task.pack(task)
  local head = {}
  for place, field in ipairs(FIELDS) do
    head[place] = task[field]
  end
  return cmsgpack.pack(head) .. task.tail
end

function Task.write(turn, task)
  turn.tasks[task.id] = task
  turn.unwritten[task.id] = task
end

function Task.write_all(turn)
  local items = {}
  for id, task in pairs(turn.unwritten) do
    items[#items + 1] = turn:key('t:', id)
    items[#items + 1] = Task.pack(task)
  end
  turn.unwritten = {}
  for first = 1, #items, AT_ONCE do
    call('MSET', unpack(items, first, math.min(first + AT_ONCE - 1, #items)))
  end
end

function Task.remove(turn, task)
  call('DEL', turn:key('t:', task.id), turn:key('n:', task.id))
  turn.tasks[task.id] = false
  turn.unwritten[task.id] = nil
  turn.fields[turn:key('n:', task.id)] = nil
end

function Task.body(task)
  return string.sub(task.tail, 1, task.size)
end

-- The result, '' for none: no JSON is empty.
function Task.result(task)
  return string.sub(task.tail, task.size + 1)
end

function Task.set_result(task, result)
  task.tail = Task.body(task) .. (result or '')
end

function Task.rank(task)
  return task.run_at - task.lead
end

-- What a worker needs of a lease, and its body among the blobs.
function Task.lease(turn, task)
  turn:blob(Task.body(task))
  return {
    task.id, task.token, task.attempt, task.failures, task.losses, task.deferrals, task.generation, task.suspect, task.limit_key,
  }
end

-- Whether its time to start is over; what has started once does not expire.
function Task.expired(turn, task)
  return task.expires_at ~= 0 and task.expires_at <= turn.now and task.attempt == 0
end

-- Whether it was cancelled because of a task it depends on.
function Task.by_parent(task)
  return task.state == CANCELLED and task.error ~= '' and cjson.decode(task.error).code == 'dependency_failed'
end

-- The state alone, nil if there is no such task: of one that this call has not read, one byte behind the 3 that say how long the head is.
function Task.state(turn, id)
  local task = turn.tasks[id]
  if task ~= nil then
    return task and task.state or nil
  end
  return string.byte(call('GETRANGE', turn:key('t:', id), 3, 3))
end

-- Whether the token is that of the task in progress.
function Task.held_by(turn, id, token)
  local task = Task.read(turn, id)
  return task and task.state == IN_PROGRESS and task.token == token
end

-- Keeps a note of its holder: {id, token, key, value, 0 or the kind of event that tells of it}. Only that of progress has the value.
function Task.note(turn, note)
  local task = Task.read(turn, note[1])
  turn:hset(turn:key('n:', task.id), note[3], note[4])
  if note[5] ~= 0 then
    turn.noted[#turn.noted + 1] = {task.id, task.line, task.state, task.attempt, note[5], note[5] == PROGRESS and note[4] or false}
  end
end

-- Keeps its newest attempt among the earlier ones, ended like this.
function Task.keep_attempt(turn, task, outcome, finished_at, error)
  local attempt = {task.attempt, task.worker, task.started_at, finished_at, outcome, error}
  task.history = task.history + 1
  turn:hset(turn:key('n:', task.id), string.format('attempt/%08d', task.history), cmsgpack.pack(attempt))
end
