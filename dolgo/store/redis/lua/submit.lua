-- Submit: each call is all or nothing, and sees those before it.
local Submit = {}

-- A task as it comes, by the places of its members.
local NEW = {
  id = 1, line = 2, run_at = 3, delay = 4, lead = 5, keep = 6, needed = 7, expires_at = 8, run_anyway = 9, limit_key = 10,
  unique_key = 11, parents = 12, body = 13,
}

-- `lines`: queue, type and hash of those the tasks name by their places. Answers for each call {0, states}, {1, the record in the
-- way, whose value is among the blobs}, or {2, new ids and who has their unique key, unknown parents, whether a token was lost}.
function Verbs.submit(turn, lines, calls)
  local ids, answers = {}, {}
  for _, asked in ipairs(calls) do
    for _, new in ipairs(asked[1]) do
      ids[#ids + 1] = new[NEW.id]
    end
  end
  Task.fetch(turn, ids)
  for place, asked in ipairs(calls) do
    answers[place] = Submit.one(turn, lines, unpack(asked))
  end
  return answers
end

function Submit.one(turn, lines, tasks, puts, notes)
  local planned, record = Records.plan(turn, puts)
  if record then
    turn:blob(record[6])
    return {1, {unpack(record, 1, 5)}}
  end
  local refused = Submit.in_the_way(turn, lines, tasks, notes)
  if refused then
    return refused
  end
  Records.set(turn, planned)
  local states = {}
  for place, new in ipairs(tasks) do
    local task = Task.read(turn, new[NEW.id]) or Submit.add(turn, lines, new)
    states[place] = task.state
  end
  for _, note in ipairs(notes) do
    Task.note(turn, note)
  end
  return {0, states}
end

function Submit.add(turn, lines, new)
  local parents = new[NEW.parents]
  local open, bad = {}, nil
  if #parents > 0 then
    open, bad = Edges.place(turn, parents, new[NEW.run_anyway])
    Edges.add(turn, new[NEW.id], parents, open)
  end
  local task = Submit.task(turn, lines, new)
  if bad then
    task.state, task.finished_at = CANCELLED, turn.now
    task.error = error_text('dependency_failed', parent_ended(bad))
  elseif #open > 0 then
    task.state = WAITING
  else
    task.state = task.run_at <= turn.now and READY or LATER
  end
  Place.add(turn, task)
  return task
end

function Submit.task(turn, lines, new)
  local run_at, needed, body = new[NEW.run_at], new[NEW.needed], new[NEW.body]
  return {
    id = new[NEW.id], line = turn:line(unpack(lines[new[NEW.line]])), run_at = run_at or turn.now + new[NEW.delay],
    lead = new[NEW.lead], attempt = 0, failures = 0, losses = 0, deferrals = 0, generation = 0, suspect = 0, cancel_asked = 0,
    run_anyway = new[NEW.run_anyway], parents = #new[NEW.parents] / 2, limit_key = new[NEW.limit_key],
    unique_key = new[NEW.unique_key], token = '', worker = '', created_at = turn.now, started_at = 0, finished_at = 0,
    keep = new[NEW.keep], needed_until = needed ~= 0 and turn.now + needed or 0, expires_at = new[NEW.expires_at], history = 0,
    said = '', error = '', size = #body, tail = body,
  }
end

-- Why none of it may be written, nil if it may.
function Submit.in_the_way(turn, lines, tasks, notes)
  local unique, unknown, lost = Submit.taken(turn, lines, tasks), Submit.unknown(turn, tasks), 0
  for _, note in ipairs(notes) do
    if not Task.held_by(turn, note[1], note[2]) then
      lost = 1
    end
  end
  if #unique > 0 or #unknown > 0 or lost == 1 then
    return {2, unique, unknown, lost}
  end
  return nil
end

-- New ids whose unique key an unfinished task has, or one before them, and the id of that: {new, other, new, other, …}.
function Submit.taken(turn, lines, tasks)
  local taken, by = {}, {}
  for _, new in ipairs(tasks) do
    local id, key = new[NEW.id], new[NEW.unique_key]
    if key ~= '' and not Task.read(turn, id) then
      local type = lines[new[NEW.line]][2]
      local name = type .. '\0' .. key
      by[name] = by[name] or Place.has_key(turn, type, key) or id
      if by[name] ~= id then
        taken[#taken + 1] = id
        taken[#taken + 1] = by[name]
      end
    end
  end
  return taken
end

-- Ids of parents of new tasks that there are no tasks for.
function Submit.unknown(turn, tasks)
  local known, unknown = {}, {}
  for _, new in ipairs(tasks) do
    if not Task.read(turn, new[NEW.id]) then
      for parent in pairs_of(new[NEW.parents]) do
        if not known[parent] and not Task.state(turn, parent) then
          unknown[#unknown + 1] = parent
          known[parent] = true -- named once
        end
      end
    end
    known[new[NEW.id]] = true
  end
  return unknown
end
