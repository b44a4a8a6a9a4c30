-- The states of a task, as numbers. The status `queued` is LATER (its time has not come) or READY (it stands in a line).
local WAITING, LATER, READY, IN_PROGRESS, DONE, FAILED, CANCELLED = 1, 2, 3, 4, 5, 6, 7
local STATUS = {'waiting', 'queued', 'queued', 'in_progress', 'done', 'failed', 'cancelled'}

local TOKEN = 16 -- characters of one
local PROGRESS = 1 -- the kind of an event that bears a value

local CASCADED = 500 -- dependents one call may still see to; what is left over is done by `cascade`
local MOST_DUE = 500 -- tasks a claim moves into their lines, and as many that it expires, before it takes some
local MOST_CLOSED = 500 -- lines that one claim closes
local MOST_LOOKS = 10000 -- tasks that are counted ahead of one
local AT_ONCE = 1000 -- arguments of one command: Lua's stack holds a few thousand
local MOST_CHUNK = 500 -- events of one entry of the log
local MOST_TOLD = 65536 -- bytes of events that go along with the ring of the bell

local MOST_READ = 8388608 -- bytes of tasks that one call reads together: what is more is left to calls that follow
local A_HEAD = 2048 -- bytes that nearly every head of a task fits into

local ENTRIES = 20 -- entries of the log read at once
local MOST_ASKED = 24 -- arguments of a verb

local call -- redis.call, which there is only once a function runs

-- The parts, each in a file of its own.
local Turn, Task, Place, Lines, Gates, Edges, Records, Upkeep = {}, {}, {}, {}, {}, {}, {}, {}

-- What clients call, by name: verbs write and `finish`, reads only look. Each is handed its turn and what the client sent.
local Verbs, Reads = {}, {}

-- Calls a command with many arguments, some at a time. `width`: how many of them belong together.
local function call_many(command, key, items, width)
  local step = AT_ONCE - AT_ONCE % (width or 1)
  for first = 1, #items, step do
    call(command, key, unpack(items, first, math.min(first + step - 1, #items)))
  end
end

-- Whether one text comes before another, by their bytes: `<` would go by the language of the server.
local function before(one, other)
  for place = 1, math.min(#one, #other) do
    local a, b = string.byte(one, place), string.byte(other, place)
    if a ~= b then
      return a < b
    end
  end
  return #one < #other
end

-- Walks a flat list two by two, to the first nil in an odd place.
local function pairs_of(flat)
  local place = -1
  return function()
    place = place + 2
    return flat[place], flat[place + 1]
  end
end

local function error_text(code, message, attempt)
  return cjson.encode({code = code, message = message, attempt = attempt or 0})
end

-- Why a dependent of this task, which ended otherwise than `done`, is cancelled.
local function parent_ended(parent)
  return 'The task ' .. parent.id .. ' it depends on ended ' .. STATUS[parent.state] .. '.'
end
