-- One call of a function: its time, the names of its keys, and what it gathers until `finish` writes it.
Turn.__index = Turn

-- args[1] holds the arguments of the verb as MessagePack; the first of them is the time, 0 for the server's own.
function Turn.begin(keys, args)
  call = redis.call
  local asked = cmsgpack.unpack(args[1])
  local turn = setmetatable({
    prefix = keys[1],
    bell = keys[2], -- a channel, and the name of no key
    asked = asked,
    now = asked[1],
    tasks = {}, -- by id, as read or written by this call
    lines = {}, -- by number: {queue, type, hash}
    plain = {}, -- keys of lines without a limit key, by number
    numbers = {}, -- of lines, by queue, type and hash
    counts = {}, -- change of the tasks of a line at a state, by line and state
    running = {}, -- change of what runs, by scope
    ran = {}, -- what ran when this call began, by scope, of those it asked for
    gates = nil, -- by scope, as read by this call
    gates_of = {}, -- by line
    unwritten = {}, -- tasks that are to be written; each bears the mark `unwritten`
    writes = {}, -- commands on sorted sets and hashes that are to be made, by key
    fronts = {}, -- lines whose first task may be another now
    keyed = {}, -- lines with a limit key whose first task may be another now, by line and key
    noted = {}, -- events of notes: they come before those of ends, because who follows a task stops at its end
    events = {}, -- {id, line, state, attempt}, or {id, line, state, attempt, kind, data}
    ended = {}, -- ids that came to an end, whose dependents are to be seen to
    restarted = {}, -- ids that were retried or revived, likewise
    up = {}, -- what tasks depend on, by id
    budget = CASCADED,
    work = false, -- something may have become claimable
    blobs = {}, -- what is answered besides the head
  }, Turn)
  if turn.now == 0 then
    local time = call('TIME')
    turn.now = tonumber(time[1]) + tonumber(time[2]) / 1e6
  end
  return turn
end

function Turn:key(name, rest)
  return self.prefix .. name .. (rest or '')
end

-- A line's number, made if it is new.
function Turn:line(queue, type, hash)
  local name = queue .. '\0' .. type .. '\0' .. hash
  local number = self.numbers[name]
  if not number then
    number = tonumber(call('HGET', self:key('line'), name))
    if not number then
      number = call('HINCRBY', self:key('meta'), 'lines', 1)
      call('HSET', self:key('line'), name, number)
      call('HSET', self:key('lines'), number, cmsgpack.pack({queue, type, hash}))
    end
    self.numbers[name] = number
    self.lines[number] = {queue, type, hash}
  end
  return number
end

-- Queue, type and hash of a line.
function Turn:line_of(number)
  local line = self.lines[number]
  if not line then
    line = cmsgpack.unpack(call('HGET', self:key('lines'), number))
    self.lines[number] = line
  end
  return line
end

-- What gates name the queue and the type of a line by.
function Turn:scopes_of(number)
  local line = self:line_of(number)
  if not line.scopes then
    line.scopes = {'queue/' .. line[1], 'type/' .. line[2]}
  end
  return line.scopes
end

-- Reads many of them ahead, from a list of numbers and something else of each.
function Turn:read_lines(flat)
  local wanted = {}
  for place = 1, #flat, 2 do
    local number = tonumber(flat[place])
    if not self.lines[number] then
      wanted[#wanted + 1] = number
    end
  end
  if #wanted > 0 then
    for place, value in ipairs(call('HMGET', self:key('lines'), unpack(wanted))) do
      self.lines[wanted[place]] = cmsgpack.unpack(value)
    end
  end
end

-- A task came from one state to another (nil: it was new, or is gone).
function Turn:counted(line, before, after)
  local counts = self.counts[line]
  if not counts then
    counts = {0, 0, 0, 0, 0, 0, 0}
    self.counts[line] = counts
  end
  if before then counts[before] = counts[before] - 1 end
  if after then counts[after] = counts[after] + 1 end
end

-- `change` more tasks with this limit key ('': none) run in this line.
function Turn:runs(line, key, change)
  for _, scope in ipairs(self:scopes_of(line)) do
    self.running[scope] = (self.running[scope] or 0) + change
    if key ~= '' then
      local keyed = scope .. '\0' .. key
      self.running[keyed] = (self.running[keyed] or 0) + change
    end
  end
end

function Turn:event(task)
  self.events[#self.events + 1] = {task.id, task.line, task.state, task.attempt}
end

-- Something more to answer: bytes that are not to be looked into.
function Turn:blob(bytes)
  self.blobs[#self.blobs + 1] = bytes
end

-- Writes are gathered by key, in their order, and `flush` makes few commands of them. Whoever reads, in a turn that has written, a
-- key that is written like this, flushes first.
function Turn:zadd(key, score, member)
  local run = self:_run(key, 'ZADD', 2)
  local size = run.size
  if run.score ~= score then -- many have the same, and its text is dear
    run.score, run.text = score, string.format('%.17g', score)
  end
  run[size + 1], run[size + 2] = run.text, member
  run.size = size + 2
end

function Turn:zrem(key, member)
  self:_gather(key, 'ZREM', member)
end

function Turn:hset(key, field, value)
  local run = self:_run(key, 'HSET', 2)
  local size = run.size
  run[size + 1], run[size + 2] = field, value
  run.size = size + 2
end

function Turn:hdel(key, field)
  self:_gather(key, 'HDEL', field)
end

function Turn:sadd(key, member)
  self:_gather(key, 'SADD', member)
end

function Turn:srem(key, member)
  self:_gather(key, 'SREM', member)
end

-- One more argument of a command that takes them one by one.
function Turn:_gather(key, command, argument)
  local run = self:_run(key, command, 1)
  run.size = run.size + 1
  run[run.size] = argument
end

-- What is gathered for one command on a key. `width`: how many arguments belong together.
function Turn:_run(key, command, width)
  local runs = self.writes[key]
  if not runs then
    runs = {}
    self.writes[key] = runs
  end
  local run = runs[#runs]
  if not run or run.command ~= command then
    run = {command = command, width = width, size = 0}
    runs[#runs + 1] = run
  end
  return run
end

function Turn:flush()
  for key, runs in pairs(self.writes) do
    for _, run in ipairs(runs) do
      call_many(run.command, key, run, run.width)
    end
  end
  self.writes = {}
  Task.write_all(self)
end

-- The end of a function that only looked.
function Turn:answer(head)
  local answer = {cmsgpack.pack(head)}
  for _, blob in ipairs(self.blobs) do
    answer[#answer + 1] = blob
  end
  return answer
end

-- The end of a function that wrote: what follows from it is part of its commit; last of all the log, and then the bell.
function Turn:finish(head)
  Edges.follow(self)
  Lines.fix(self)
  self:flush()
  self:_write_counts()
  local first, chunks, size = self:_log()
  if first or self.work then
    self:_ring(first, chunks, size)
  end
  local answer = self:answer(head)
  if first then
    answer[#answer + 1] = first + #self.noted - 1 -- the number of its last event: the client may hear of it elsewhere only later
  end
  return answer
end

function Turn:_write_counts()
  for line, counts in pairs(self.counts) do
    for state, change in ipairs(counts) do
      if change ~= 0 then
        self:_add('counts', line .. ':' .. state, change)
      end
    end
  end
  for scope, change in pairs(self.running) do
    if change ~= 0 then
      self:_add('running', scope, change)
    end
  end
end

-- What has come to 0 is not kept.
function Turn:_add(name, field, change)
  if call('HINCRBY', self:key(name), field, change) == 0 then
    call('HDEL', self:key(name), field)
  end
end

-- Appends the events in entries named by the number of their last event. The first number, the entries, and their bytes.
function Turn:_log()
  local events = self.noted
  for _, event in ipairs(self.events) do
    events[#events + 1] = event
  end
  if #events == 0 then
    return nil, {}, 0
  end
  local last = call('HINCRBY', self:key('meta'), 'seq', #events)
  local first, chunks, size = last - #events + 1, {}, 0
  for from = 1, #events, MOST_CHUNK do
    local to = math.min(from + MOST_CHUNK - 1, #events)
    local chunk = cmsgpack.pack({first + from - 1, self.now, {unpack(events, from, to)}})
    call('XADD', self:key('log'), string.format('%.0f-0', first + to - 1), 'e', chunk)
    chunks[#chunks + 1] = chunk
    size = size + #chunk
  end
  return first, chunks, size
end

-- {first, last, work, the number of the last event of each entry, the entries}: without entries if they are too long.
function Turn:_ring(first, chunks, size)
  local last, lasts = first and first + #self.noted - 1 or 0, {}
  if size > MOST_TOLD then
    chunks = {}
  end
  for place in ipairs(chunks) do
    lasts[place] = math.min(first + place * MOST_CHUNK - 1, last)
  end
  call('SPUBLISH', self.bell, cmsgpack.pack({first or 0, last, self.work and 1 or 0, lasts, chunks}))
end
