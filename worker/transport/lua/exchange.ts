/** The script of a consumer: settles messages and claims new ones, in one round trip. */
export const exchangeScript = /* lua */ `-- One round trip of a consumer: settles messages that it is done with, then claims new ones. Everything is in one script,
-- so that a crash at any moment leaves every message in a queue or in the hash of unacknowledged ones. A script is not
-- rolled back when it fails half way: whatever may fail comes before what must not be left half done.
--
-- KEYS  1 hash of unacknowledged messages   2 their index by time   3 claims of this consumer
--       4… lists in serving order: every queue's most urgent step, then every queue's next one
-- ARGV  1 how many to claim at most   2 number of this call   3 how many acknowledgements   4 how many moves
--       5 how many calls are confirmed   6 connection of the consumer, counted   7 how many queues
--       then: the numbers of the confirmed calls; the tags to acknowledge; of each move: tag, how, list, message, score
-- Gives { 1 when the lists are empty and watched, 0 otherwise, error or '', how many moves failed, the place of each of
--         these, then tag, place of its list, message of each }
local unacked, index, claims = KEYS[1], KEYS[2], KEYS[3]
local limit, acks, moves, confirmed = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local at = 8

-- While there is work, nothing but a move uses a command that only reads: for such a one Redis remembers all keys of the
-- script, and announces to this worker what its own next call changes.
-- With memory full Redis refuses writes that grow, but not once a script has written something else: what follows frees
-- memory, and must not stop half way.
redis.call('HDEL', claims, '', unpack(ARGV, at, at + confirmed - 1))
at = at + confirmed
-- A call of a connection that the consumer has given up, and that Redis reads only now: the next one sent it again.
if redis.call('HINCRBY', claims, 'connection', 0) > tonumber(ARGV[6]) then return redis.error_reply('STALE connection') end
-- Keys of a wrong type are found out here, whether or not there is something to acknowledge.
redis.call('HDEL', unacked, '', unpack(ARGV, at, at + acks - 1))
redis.call('ZREM', index, '', unpack(ARGV, at, at + acks - 1))
at = at + acks

-- A message as it lay in its list: what its worker read is not the same where it is no UTF-8.
local function original(tag, read)
  local kept = redis.call('HGET', unacked, tag)
  local isJson, value = pcall(cjson.decode, kept)
  if not isJson then return read end
  if type(value[1]) == 'string' then return value[1] end
  return string.sub(kept, 2, -1 - #(',' .. cjson.encode(value[2]) .. ',' .. cjson.encode(value[3]) .. ']'))
end

local failed, problem = {}, ''
for number = 1, moves do
  local tag, how, list, raw, score = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  at = at + 5
  local pushed
  if how == 'ONCE' then
    -- The message itself is gone: what stands for it is sent, unless this call was sent before.
    if redis.call('HEXISTS', claims, tag) == 0 then
      pushed = redis.pcall('LPUSH', list, raw)
      if type(pushed) == 'number' then redis.call('HSET', claims, tag, '[]') end
    end
  elseif redis.call('HEXISTS', unacked, tag) == 1 then
    -- Only what is still here is moved: somebody else may have restored it meanwhile, or its worker came back.
    if how == 'BURY' then how, raw = 'LPUSH', original(tag, raw) end
    if score == '' or redis.call('ZSCORE', index, tag) == score then pushed = redis.pcall(how, list, raw) end
    if type(pushed) == 'number' then redis.call('HDEL', unacked, tag) end
  else
    redis.call('ZREM', index, tag)
  end
  if type(pushed) == 'number' then redis.call('ZREM', index, tag) end
  if type(pushed) == 'table' then
    failed[#failed + 1] = number - 1
    problem = list .. ': ' .. pushed.err
  end
end

-- A call whose answer is lost on its way is found here after the connection was made again: that it was carried out, and
-- what it claimed. (0: of a call that nobody sends again.)
if moves > 0 and ARGV[2] ~= '0' then redis.call('HSET', claims, ARGV[2], '[]') end

local result, claimed, count = { 0, problem, #failed, unpack(failed) }, {}, 0
if limit == 0 then return result end
local time = redis.call('TIME')
local score = string.format('%d.%06d', time[1], time[2])

-- Whether a message is a JSON object, and its exchange, routing key and tag.
local function read(raw)
  -- Reading all of it takes half as long as the rest of the script. What ends as kombu and Muster's client end a message is
  -- taken for JSON: the properties last, in them nothing nested but where it goes, and last the tag. (No text looks like
  -- that: a quote inside of one has a backslash before it.) The worker reads all of it, and moves what is no JSON after all
  -- out of the way.
  local start = string.find(raw, '"properties":', -500, true)
  local _, at = string.find(raw, '"delivery_info":', start or #raw, true)
  if at then
    local exchange, key, stop = string.match(raw, '^ ?{"exchange": ?"([^"\\\\]*)", ?"routing_key": ?"([^"\\\\]+)"()}', at + 1)
    if stop and string.find(raw, '}', start, true) == stop and string.find(raw, '}', stop + 1, true) == #raw - 1 then
      local tag = string.match(raw, '"delivery_tag": ?"([^"\\\\]+)"}}$', -56)
      if tag then return true, exchange, key, tag end
    end
  end
  local readable, message = pcall(cjson.decode, raw)
  local properties = readable and type(message) == 'table' and message.properties or nil
  local info = type(properties) == 'table' and properties.delivery_info or nil
  local exchange = type(info) == 'table' and info.exchange or ''
  local key = type(info) == 'table' and info.routing_key or ''
  local tag = type(properties) == 'table' and properties.delivery_tag or nil
  if type(exchange) ~= 'string' then exchange = '' end
  if type(key) ~= 'string' then key = '' end
  if type(tag) ~= 'string' or tag == '' then tag = nil end
  return readable and type(message) == 'table', exchange, key, tag
end

local due = {}
local function keep(place, raw)
  local isObject, exchange, key, tag = read(raw)
  -- Without a name it could not be restored: the queue's own.
  if exchange == '' and key == '' then
    key = string.gsub(string.sub(KEYS[place], #unacked - 6), '\\6\\22%d+$', '')
  end
  -- All else is kept as a JSON string: the hash has to stay readable for other workers.
  local kept = isObject and raw or cjson.encode(raw)
  local value = '[' .. kept .. ',' .. cjson.encode(exchange) .. ',' .. cjson.encode(key) .. ']'
  -- A tag that is missing, or that another message has already, would cost one of the two.
  if not tag or redis.call('HSETNX', unacked, tag, value) == 0 then
    tag = 'muster-' .. string.sub(claims, -36) .. '-' .. ARGV[2] .. '-' .. count
    redis.call('HSET', unacked, tag, value)
  end
  count = count + 1
  due[#due + 1] = score
  due[#due + 1] = tag
  claimed[#claimed + 1] = tag
  claimed[#claimed + 1] = KEYS[place]
  result[#result + 1] = tag
  result[#result + 1] = place - 4
  result[#result + 1] = raw
end

local function pop(place, wanted)
  local popped = redis.pcall('RPOP', KEYS[place], wanted)
  if popped and popped.err then
    problem = KEYS[place] .. ': ' .. popped.err
    return 0
  end
  for _, raw in ipairs(popped or {}) do keep(place, raw) end
  return popped and #popped or 0
end

local queues = tonumber(ARGV[7])
local order = {}
for queue = 0, queues - 1 do order[#order + 1] = queue end
for first = 4, #KEYS, queues do
  if count >= limit then break end
  if queues == 1 then
    pop(first, limit - count)
  else
    -- The queue that was served goes to the end, message by message.
    local isEmpty, turn = {}, 1
    while turn <= #order and count < limit do
      local queue = order[turn]
      if isEmpty[queue] or pop(first + queue, 1) == 0 then
        isEmpty[queue] = true
        turn = turn + 1
      else
        table.remove(order, turn)
        order[#order + 1] = queue
        turn = 1
      end
    end
  end
end
if count > 0 then redis.call('ZADD', index, unpack(due)) end
if count > 0 then redis.call('HSET', claims, ARGV[2], cjson.encode(claimed)) end
if count < limit then
  -- Reading a key makes Redis announce its next change.
  redis.call('EXISTS', unpack(KEYS, 4))
  result[1] = 1
end
result[2] = problem
return result
`;
