/** The script of a consumer: settles messages and claims new ones, in one round trip. */
export const exchangeScript = /* lua */ `-- One round trip of a consumer: settles messages that it is done with, then claims new ones. Everything is in one script,
-- so that a crash at any moment leaves every message in a queue or in the hash of unacknowledged ones.
--
-- KEYS  1 hash of unacknowledged messages   2 their index by time   3 claims of this consumer   4… lists, in serving order
-- ARGV  1 how many to claim at most   2 number of this call   3 how many acknowledgements   4 how many other settlements
--       5 how many calls are confirmed   then: the tags to acknowledge;
--       of each other settlement: tag, LPUSH (tail) or RPUSH (head), list, message; the numbers of the confirmed calls
-- Gives { 1 when the lists are empty and watched, 0 otherwise, error or '', then tag, place of its list, message of each }
local unacked, index, claims = KEYS[1], KEYS[2], KEYS[3]
local limit, acks, moves, confirmed = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local at = 6

if acks > 0 then
  redis.call('HDEL', unacked, unpack(ARGV, at, at + acks - 1))
  redis.call('ZREM', index, unpack(ARGV, at, at + acks - 1))
  at = at + acks
end
for _ = 1, moves do
  -- Only what is still here is moved: somebody else may have restored it meanwhile.
  if redis.call('HDEL', unacked, ARGV[at]) == 1 then redis.call(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
  redis.call('ZREM', index, ARGV[at])
  at = at + 4
end
if confirmed > 0 then redis.call('HDEL', claims, unpack(ARGV, at, at + confirmed - 1)) end

local result, tags, problem = { 0, '' }, {}, ''
if limit > 0 then
  local time = redis.call('TIME')
  local score = string.format('%d.%06d', time[1], time[2])
  for place = 4, #KEYS do
    local wanted = limit - #tags
    if wanted <= 0 then break end
    -- With memory full Redis refuses writes only until the first one: RPOP comes first, so what it took is kept.
    local popped = redis.pcall('RPOP', KEYS[place], wanted)
    if popped and popped.err then
      problem = KEYS[place] .. ': ' .. popped.err
    elseif popped then
      for i, raw in ipairs(popped) do
        local readable, message = pcall(cjson.decode, raw)
        local properties = readable and type(message) == 'table' and message.properties or nil
        local info = type(properties) == 'table' and properties.delivery_info or nil
        local tag = type(properties) == 'table' and properties.delivery_tag or nil
        local exchange = type(info) == 'table' and info.exchange or ''
        local key = type(info) == 'table' and info.routing_key or ''
        if type(tag) ~= 'string' then tag = 'muster-' .. ARGV[2] .. '-' .. place .. '-' .. i .. '-' .. score end
        if type(exchange) ~= 'string' then exchange = '' end
        if type(key) ~= 'string' then key = '' end
        -- What is no JSON is kept as a JSON string: the hash has to stay readable for other workers.
        local kept = readable and raw or cjson.encode(raw)
        redis.call('HSET', unacked, tag, '[' .. kept .. ',' .. cjson.encode(exchange) .. ',' .. cjson.encode(key) .. ']')
        redis.call('ZADD', index, score, tag)
        tags[#tags + 1] = tag
        result[#result + 1] = tag
        result[#result + 1] = place - 4
        result[#result + 1] = raw
      end
    end
  end
  -- An answer that is lost on its way is found here after the connection was made again.
  if #tags > 0 then
    redis.call('HSET', claims, ARGV[2], cjson.encode(tags))
    redis.call('EXPIRE', claims, 604800)
  end
  if #tags < limit then
    -- Reading a key makes Redis announce its next change.
    redis.call('EXISTS', unpack(KEYS, 4))
    result[1] = 1
  end
end
result[2] = problem
return result
`;
