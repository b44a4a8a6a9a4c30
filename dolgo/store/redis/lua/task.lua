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

-- Written out, for loops over the fields take four times as long.
function Task.parse(id, value)
  local at, head = cmsgpack.unpack_one(value)
  return {
    id = id,
    state = head[1], line = head[2], run_at = head[3], lead = head[4], attempt = head[5], failures = head[6],
    losses = head[7], deferrals = head[8], generation = head[9], suspect = head[10], cancel_asked = head[11],
    run_anyway = head[12], parents = head[13], limit_key = head[14], unique_key = head[15], token = head[16],
    worker = head[17], created_at = head[18], started_at = head[19], finished_at = head[20], keep = head[21],
    needed_until = head[22], expires_at = head[23], history = head[24], said = head[25], error = head[26], size = head[27],
    tail = at == -1 and '' or string.sub(value, at + 1), -- body and result
  }
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

-- The first of these ids, as many as may be read together, and whether there are more; they are fetched. At least one, if there is.
function Task.fetch_some(turn, ids)
  local some, size = {}, 0
  for place, id in ipairs(ids) do
    size = size + call('STRLEN', turn:key('t:', id))
    if size > MOST_READ and place > 1 then
      break
    end
    some[place] = id
  end
  Task.fetch(turn, some)
  return some, #some < #ids
end

-- The task without its body and result, which may be long: it must not be written.
function Task.read_head(turn, id)
  local key = turn:key('t:', id)
  local value = call('GETRANGE', key, 0, A_HEAD - 1)
  local whole, task = pcall(Task.parse, id, value)
  return whole and task or Task.parse(id, call('GET', key))
end

function Task.pack(task)
  return cmsgpack.pack({
    task.state, task.line, task.run_at, task.lead, task.attempt, task.failures, task.losses, task.deferrals,
    task.generation, task.suspect, task.cancel_asked, task.run_anyway, task.parents, task.limit_key, task.unique_key,
    task.token, task.worker, task.created_at, task.started_at, task.finished_at, task.keep, task.needed_until,
    task.expires_at, task.history, task.said, task.error, task.size,
  }) .. task.tail
end

function Task.write(turn, task)
  if not task.unwritten then
    task.unwritten = true
    turn.tasks[task.id] = task
    turn.unwritten[#turn.unwritten + 1] = task
  end
end

function Task.write_all(turn)
  local items = {}
  for _, task in ipairs(turn.unwritten) do
    if task.unwritten then
      task.unwritten = nil
      items[#items + 1] = turn:key('t:', task.id)
      items[#items + 1] = Task.pack(task)
    end
  end
  turn.unwritten = {}
  for first = 1, #items, AT_ONCE do
    call('MSET', unpack(items, first, math.min(first + AT_ONCE - 1, #items)))
  end
end

function Task.remove(turn, task)
  local notes = turn:key('n:', task.id)
  call('DEL', turn:key('t:', task.id), notes)
  turn.tasks[task.id] = false
  task.unwritten = nil
  turn.writes[notes] = nil
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
    task.run_at,
  }
end

-- Whether its time to start is over; what has started once does not expire.
function Task.expired(turn, task)
  return task.expires_at ~= 0 and task.expires_at <= turn.now and task.attempt == 0
end

-- Whether it was cancelled because of a task it depends on.
function Task.by_parent(task)
  return task.state == CANCELLED and Task.error_code(task) == 'dependency_failed'
end

-- The code in its error, nil if it has none. Inside a text of JSON no quote stands alone, so this can be nothing else.
function Task.error_code(task)
  return string.match(task.error, '"code":"([^"]*)"')
end

-- The state alone, nil if there is no such task: of one that this call has not read, one byte behind the 3 that say how long
-- the head is.
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

-- Keeps a note of its holder: {id, token, key, value, 0 or the kind of event that tells of it}. Only that of progress has the
-- value.
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
