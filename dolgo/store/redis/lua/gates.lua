-- What holds back queues and types: exact, for every claim passes here. `gates` has those that hold something back, by scope; one
-- turn reads each once. A rate is held by the generic cell rate algorithm: `spent` says until when what has started uses it up.

local NONE = {}

-- In the order they are stored; false for none.
local GATE = {'paused', 'paused_until', 'reason', 'max_running', 'per_key', 'rate'}

-- The gate as it is by now, nil if there is none: a pause that is over is none.
function Gates.read(turn, scope)
  if Gates.any(turn) and turn.gates[scope] == nil then
    Gates._fetch(turn, {scope})
  end
  return turn.gates[scope] or nil
end

-- Whether there is any.
function Gates.any(turn)
  if turn.gates == NONE then
    return false
  end
  turn.gates = turn.gates or call('EXISTS', turn:key('gates')) == 1 and {} or NONE
  return turn.gates ~= NONE
end

function Gates._fetch(turn, scopes)
  for place, value in ipairs(call('HMGET', turn:key('gates'), unpack(scopes))) do
    local scope = scopes[place]
    if turn.gates[scope] == nil then -- one that was read before knows what has started since
      turn.gates[scope] = value and Gates.parse(turn, scope, value)
    end
  end
end

function Gates.parse(turn, scope, value)
  local gate, values = {scope = scope}, cmsgpack.unpack(value)
  for place, field in ipairs(GATE) do
    gate[field] = values[place]
  end
  return Gates._at(turn, gate)
end

function Gates._at(turn, gate)
  if gate.paused ~= 1 or (gate.paused_until and gate.paused_until <= turn.now) then
    gate.paused, gate.paused_until, gate.reason = 0, false, false
  end
  return gate
end

function Gates.holds(gate)
  return gate.paused == 1 or gate.max_running or gate.per_key or gate.rate
end

-- The gates over a line: that of its queue comes first.
function Gates.of(turn, line)
  if not Gates.any(turn) then
    return NONE
  end
  local gates = turn.gates_of[line]
  if not gates then
    local scopes = turn:scopes_of(line)
    local of_queue, of_type = turn.gates[scopes[1]], turn.gates[scopes[2]]
    if of_queue == nil or of_type == nil then
      Gates._fetch(turn, scopes)
      of_queue, of_type = turn.gates[scopes[1]], turn.gates[scopes[2]]
    end
    gates = {of_queue or of_type or nil, of_queue and of_type or nil}
    turn.gates_of[line] = gates
  end
  return gates
end

-- How many run of a scope, or of a scope and a limit key, with what this turn has started and ended.
function Gates.running(turn, scope)
  local ran = turn.ran[scope]
  if not ran then
    ran = tonumber(call('HGET', turn:key('running'), scope)) or 0
    turn.ran[scope] = ran
  end
  return ran + (turn.running[scope] or 0)
end

-- What holds back all tasks of a line: its code, scope, and until when (false: time alone does not end it); nil if nothing does.
function Gates.shut(turn, line)
  for _, gate in ipairs(Gates.of(turn, line)) do
    if gate.paused == 1 then
      return 'queue_paused', gate.scope, gate.paused_until
    end
    if gate.max_running and Gates.running(turn, gate.scope) >= gate.max_running then
      return 'limit', gate.scope, false
    end
    if gate.rate then
      local at = Gates._spent(turn, gate) - (Gates._burst(gate.rate) - 1) / gate.rate
      if at > turn.now then
        return 'rate', gate.scope, at
      end
    end
  end
  return nil
end

-- Likewise, those of its tasks with this limit key.
function Gates.full(turn, line, limit_key)
  if limit_key ~= '' then
    for _, gate in ipairs(Gates.of(turn, line)) do
      if gate.per_key and Gates.running(turn, gate.scope .. '\0' .. limit_key) >= gate.per_key then
        return 'limit', gate.scope .. '/' .. limit_key, false
      end
    end
  end
  return nil
end

-- Whether a start in the line takes something from another.
function Gates.count(turn, line)
  for _, gate in ipairs(Gates.of(turn, line)) do
    if gate.max_running or gate.rate then
      return true
    end
  end
  return false
end

-- Whether an end in the line lets another start.
function Gates.make_room(turn, line)
  for _, gate in ipairs(Gates.of(turn, line)) do
    if gate.max_running or gate.per_key then
      return true
    end
  end
  return false
end

-- A task has started: it uses up what the rates over it let through.
function Gates.started(turn, task)
  for _, gate in ipairs(Gates.of(turn, task.line)) do
    if gate.rate then
      gate.spent = math.max(Gates._spent(turn, gate), turn.now) + 1 / gate.rate
      turn:hset(turn:key('spent'), gate.scope, gate.spent)
    end
  end
end

-- Never more than a burst ahead, or a clock that was set back would hold up everything.
function Gates._spent(turn, gate)
  gate.spent = gate.spent or tonumber(call('HGET', turn:key('spent'), gate.scope)) or 0
  local latest = turn.now + Gates._burst(gate.rate) / gate.rate
  if gate.spent > latest then
    gate.spent = latest
    turn:hset(turn:key('spent'), gate.scope, latest)
  end
  return gate.spent
end

-- Starts that may come at once after a while without any.
function Gates._burst(rate)
  return math.max(1, rate / 10)
end

function Gates._row(gate)
  local row = {gate.scope}
  for _, field in ipairs(GATE) do
    row[#row + 1] = gate[field]
  end
  return row
end

-- `changes`: places of GATE and what is there from now on, false for none.
function Verbs.gate(turn, scope, changes)
  local gate = Gates.read(turn, scope)
  if not gate then
    gate = {scope = scope, paused = 0, paused_until = false, reason = false, max_running = false, per_key = false, rate = false}
  end
  for place, value in pairs_of(changes) do
    gate[GATE[place]] = value or false
  end
  if not gate.rate then
    call('HDEL', turn:key('spent'), scope)
  end
  local row = Gates._row(gate)
  if Gates.holds(gate) then
    call('HSET', turn:key('gates'), scope, cmsgpack.pack({unpack(row, 2)}))
  else
    call('HDEL', turn:key('gates'), scope)
  end
  Lines.reopen_all(turn)
  Lines.reopen_some(turn)
  turn.work = true
  return row
end

function Reads.gates(turn)
  local rows = {}
  for scope, value in pairs_of(call('HGETALL', turn:key('gates'))) do
    local gate = Gates.parse(turn, scope, value)
    if Gates.holds(gate) then
      rows[#rows + 1] = Gates._row(gate)
    end
  end
  table.sort(rows, function(one, other) return before(one[1], other[1]) end)
  return rows
end

-- Why a due task has not been claimed: {code, scope, until or false, how many stand before it}, {false} if it is not that.
function Verbs.held_up(turn, id)
  Place.let_due_in(turn)
  local task = Task.read(turn, id)
  if not task or not (task.state == READY or (task.state == LATER and task.run_at <= turn.now)) then
    return {false}
  end
  local code, scope, until_ = Gates.shut(turn, task.line)
  if not code then
    code, scope, until_ = Gates.full(turn, task.line, task.limit_key)
  end
  return {code or 'behind', scope or '', until_ or false, Gates._ahead(turn, task)}
end

-- How many claimable tasks of its queue have a smaller rank and id, counted up to about MOST_LOOKS.
function Gates._ahead(turn, task)
  local count, looks, queue = 0, 0, turn:line_of(task.line)[1]
  for number, value in pairs_of(call('HGETALL', turn:key('lines'))) do
    if cmsgpack.unpack(value)[1] == queue then
      count = count + Gates._ahead_in(turn:key('q:', number), task)
      local cursor = '0'
      repeat
        local page = call('HSCAN', turn:key('head:', number), cursor, 'COUNT', 100)
        cursor = page[1]
        for limit_key in pairs_of(page[2]) do
          count = count + Gates._ahead_in(Lines.key(turn, number, limit_key), task)
          looks = looks + 1
        end
      until cursor == '0' or count >= MOST_LOOKS or looks >= MOST_LOOKS
    end
    if count >= MOST_LOOKS or looks >= MOST_LOOKS then
      break
    end
  end
  return math.min(count, MOST_LOOKS)
end

-- Members of a sorted set that come before a task by rank and id.
function Gates._ahead_in(key, task)
  local rank = Task.rank(task)
  local low, high = call('ZCOUNT', key, '-inf', string.format('(%.17g', rank)), call('ZCOUNT', key, '-inf', rank)
  while low < high do -- those of the same rank are sorted by id
    local middle = math.floor((low + high) / 2)
    if before(call('ZRANGE', key, middle, middle)[1], task.id) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end
