-- The names under which clients call all this. While a library is loaded there is nothing of Lua's own, not even `pairs`.
local VERBS = {
  'submit', 'claim', 'renew', 'settle', 'note', 'cancel', 'retry', 'delete', 'reclaim', 'clamp', 'prune', 'expire', 'cascade', 'trim',
  'gate', 'held_up', 'put', 'forget',
}
local READS = {'gates', 'get', 'list', 'details', 'notes', 'counts', 'asked', 'events', 'head', 'oldest', 'records'}

-- `finish` names the end of the call: `finish` writes, `answer` only answers.
local function offer(name, verbs, finish, flags)
  redis.register_function({
    function_name = '@NAME@_' .. name,
    callback = function(keys, args)
      local turn = Turn.begin(keys, args)
      return turn[finish](turn, verbs[name](turn, unpack(turn.asked, 2, MOST_ASKED)))
    end,
    flags = flags,
  })
end

for place = 1, #VERBS do
  -- Where memory is short only new work is refused: what was accepted goes on.
  offer(VERBS[place], Verbs, 'finish', VERBS[place] == 'submit' and {} or {'allow-oom'})
end

for place = 1, #READS do
  offer(READS[place], Reads, 'answer', {'no-writes', 'allow-oom'})
end
