-- The names under which clients call all this. While a library is loaded there is nothing of Lua's own, not even `pairs`.
local VERBS = {
  'submit', 'claim', 'renew', 'settle', 'note', 'cancel', 'retry', 'delete', 'reclaim', 'clamp', 'prune', 'expire', 'cascade', 'trim',
  'gate', 'held_up', 'put', 'forget',
}
local READS = {'gates', 'get', 'list', 'details', 'notes', 'counts', 'asked', 'events', 'head', 'oldest', 'records'}

for place = 1, #VERBS do
  local name = VERBS[place]
  redis.register_function({
    function_name = '@NAME@_' .. name,
    callback = function(keys, args)
      local turn = Turn.begin(keys, args)
      return turn:finish(Verbs[name](turn, unpack(turn.asked, 2, MOST_ASKED)))
    end,
    flags = name == 'submit' and {} or {'allow-oom'}, -- where memory is short only new work is refused: what was accepted goes on
  })
end

for place = 1, #READS do
  local name = READS[place]
  redis.register_function({
    function_name = '@NAME@_' .. name,
    callback = function(keys, args)
      local turn = Turn.begin(keys, args)
      return turn:answer(Reads[name](turn, unpack(turn.asked, 2, MOST_ASKED)))
    end,
    flags = {'no-writes', 'allow-oom'},
  })
end
