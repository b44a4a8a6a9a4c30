-- Claim: what has expired ends, what is due joins its line, and the first tasks of the open lines are taken, in exact order.

local LINES = 64 -- that are read together
local TASKS = 50 -- of one line that are fetched together
local HEADS = 64 -- keyed lines of one line that are read together

local Walk = {}
Walk.__index = Walk

-- `queues`: nil for all. `avoid`: types and hashes the worker cannot decode. `ahead` 1: nothing that a gate or a limit key counts.
-- `tokens`: TOKEN characters for each task. Answers when more becomes claimable (false: not by time alone), and the leases.
function Verbs.claim(turn, worker, limit, lease, types, queues, avoid, ahead, tokens)
  local walk = Walk.begin(turn, limit, types, queues, avoid, ahead == 1)
  if Upkeep.expire(turn, MOST_DUE) > 0 then
    Edges.follow(turn) -- so that what this releases can be claimed
  end
  Place.let_due_in(turn)
  if Lines.reopen_some(turn) then
    walk:again_at(turn.now)
  end
  Lines.fix(turn)
  local leases = walk:take(worker, lease, tokens)
  turn:flush()
  local later = call('ZRANGE', turn:key('later'), 0, 0, 'WITHSCORES')
  if later[2] then
    walk:again_at(tonumber(later[2]))
  end
  return {walk.next_at, leases}
end

function Walk.begin(turn, limit, types, queues, avoid, ahead)
  local walk = setmetatable({
    turn = turn,
    limit = limit,
    ahead = ahead,
    types = {},
    queues = queues and {},
    avoid = {},
    heap = {}, -- {rank, id, line, limit key, the source that it comes from}, the smallest first
    fronts = {}, -- lines by their smallest rank, some at a time: number, rank, number, rank, …
    front = 1, -- place of the next of them
    seen = 0, -- how many of them were read
    all_seen = false,
    next_at = false, -- when time lets go something that was passed over
  }, Walk)
  for _, type in ipairs(types) do walk.types[type] = true end
  for _, queue in ipairs(queues or {}) do walk.queues[queue] = true end
  for type, hash in pairs_of(avoid) do walk.avoid[type .. '\0' .. hash] = true end
  return walk
end

function Walk:again_at(time)
  self.next_at = self.next_at and math.min(self.next_at, time) or time
end

-- Takes what the claim gets, by rank and id. Lines are left as they were read until all is taken: nothing flushes in between.
function Walk:take(worker, lease, tokens)
  local leases, closed, size = {}, 0, 0
  while #leases < self.limit do
    local first = self:first()
    if not first then
      break
    end
    local line, limit_key = first.source.line, first.limit_key
    local full = Gates.full(self.turn, line, limit_key)
    local task = not full and self:read(first)
    if full and closed == MOST_CLOSED or size > MOST_READ or task and Task.expired(self.turn, task) then
      self:again_at(self.turn.now) -- there is more of it than one claim may do
      break
    end
    if full then
      Lines.close(self.turn, line, limit_key)
      closed = closed + 1
    else
      local place = #leases + 1
      local token = string.sub(tokens, TOKEN * (place - 1) + 1, TOKEN * place)
      size = size + task.size
      leases[place] = Walk.start(self.turn, task, worker, token, lease)
    end
    self:passed(first, full)
  end
  return leases
end

function Walk.start(turn, task, worker, token, lease)
  local attempt = task.attempt + 1
  Place.move(turn, task, {
    state = IN_PROGRESS, attempt = attempt, worker = worker, started_at = turn.now, token = token, lease = lease,
  })
  return Task.lease(turn, task)
end

-- The place on the heap of the first task that no gate over its line holds back, nil at the end.
function Walk:first()
  while true do
    self:enter()
    local first = self.heap[1]
    if not first or not self:shut(first.source.line) then
      return first
    end
    self:pop()
  end
end

-- Whether a gate holds back the whole line.
function Walk:shut(line)
  local code, _, until_ = Gates.shut(self.turn, line)
  if code and until_ then
    self:again_at(until_)
  end
  return code
end

-- Puts lines onto the heap until none of those left can have a smaller rank than what is first.
function Walk:enter()
  while true do
    if self.front > #self.fronts and not self:read_fronts() then
      return
    end
    local first = self.heap[1]
    if first and first.rank < tonumber(self.fronts[self.front + 1]) then
      return
    end
    local line = tonumber(self.fronts[self.front])
    self.front = self.front + 2
    if self:fits(line) and not self:shut(line) then
      self:open(line)
    end
  end
end

function Walk:read_fronts()
  if not self.all_seen then
    self.fronts = call('ZRANGE', self.turn:key('fronts'), self.seen, self.seen + LINES - 1, 'WITHSCORES')
    self.front = 1
    self.seen = self.seen + #self.fronts / 2
    self.all_seen = #self.fronts < 2 * LINES
    self.turn:read_lines(self.fronts)
    return #self.fronts > 0
  end
  return false
end

function Walk:fits(number)
  local queue, type, hash = unpack(self.turn:line_of(number))
  return self.types[type] and (not self.queues or self.queues[queue]) and not self.avoid[type .. '\0' .. hash]
    and not (self.ahead and (Gates.count(self.turn, number) or self:all_keyed(number)))
end

function Walk:all_keyed(line)
  return call('EXISTS', Lines.key(self.turn, line, '')) == 0
end

-- Sources give the tasks of a line, or the first tasks of its keyed lines, one by one: `found` is what was read of them.
function Walk:open(line)
  self:push({line = line, limit_key = '', key = Lines.key(self.turn, line, ''), step = self.limit, read = 0, found = {}, place = 1})
  if not self.ahead then
    self:push({line = line, key = self.turn:key('heads:', line), heads = true, step = HEADS, read = 0, found = {}, place = 1})
  end
end

-- The next of a source comes onto the heap.
function Walk:push(source)
  local place = self:next({source = source})
  if place then
    self:heap_in(place)
  end
end

-- The place on the heap, set to the next task of its source; nil after the last.
function Walk:next(place)
  local source = place.source
  if source.place > #source.found then
    if source.read % source.step ~= 0 then
      return nil -- that was all
    end
    source.found = call('ZRANGE', source.key, source.read, source.read + source.step - 1, 'WITHSCORES')
    source.read, source.place, source.fetched = source.read + #source.found / 2, 1, 0
    if #source.found == 0 then
      return nil
    end
  end
  local member = source.found[source.place]
  place.rank = tonumber(source.found[source.place + 1])
  source.place = source.place + 2
  if source.heads then
    local cut = string.find(member, '\0', 1, true)
    place.id, place.limit_key = string.sub(member, 1, cut - 1), string.sub(member, cut + 1)
  else
    place.id, place.limit_key = member, source.limit_key
  end
  return place
end

-- The task of a place on the heap. Some of those that follow it are fetched with it.
function Walk:read(first)
  local source = first.source
  if not source.heads and source.place > source.fetched then
    local ids = {first.id}
    source.fetched = math.min(source.place + 2 * TASKS, #source.found)
    for place = source.place, source.fetched, 2 do
      ids[#ids + 1] = source.found[place]
    end
    Task.fetch(self.turn, ids)
  end
  return Task.read(self.turn, first.id)
end

-- The first task was taken, or its line closed: what follows it comes in its place.
function Walk:passed(first, closed)
  local source, limit_key = first.source, first.limit_key
  if closed and not source.heads or not self:next(first) then
    self:pop()
  else
    self:sink(first)
  end
  if source.heads and not closed then -- the keyed line itself, behind its first task
    local key = Lines.key(self.turn, source.line, limit_key)
    self:push({line = source.line, limit_key = limit_key, key = key, step = 1, read = 1, found = {}, place = 1})
  end
end

-- the heap

local function smaller(one, other)
  return one.rank < other.rank or (one.rank == other.rank and before(one.id, other.id))
end

function Walk:heap_in(item)
  local heap, place = self.heap, #self.heap + 1
  while place > 1 do
    local above = math.floor(place / 2)
    if not smaller(item, heap[above]) then
      break
    end
    heap[place] = heap[above]
    place = above
  end
  heap[place] = item
end

function Walk:pop()
  local last = table.remove(self.heap)
  if self.heap[1] then
    self:sink(last)
  end
end

-- Puts a place in the stead of the first, and down to where it belongs.
function Walk:sink(item)
  local heap = self.heap
  local size, place = #heap, 1
  while 2 * place <= size do
    local below = 2 * place
    if below < size and smaller(heap[below + 1], heap[below]) then
      below = below + 1
    end
    if not smaller(heap[below], item) then
      break
    end
    heap[place] = heap[below]
    place = below
  end
  heap[place] = item
end
