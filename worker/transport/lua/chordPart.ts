/** The script that counts a part of a chord. */
export const chordPartScript = /* lua */ `-- A part of a chord has returned. Whoever returns the last one is given all values, and the right to send the body, for a
-- while: if its worker dies, another copy of the part can have it. Keys and values are Celery's, so that parts may run on
-- workers of Python and of Node. Source: celery/backends/redis.py (\`CHORD_PART_RETURN_LUA\`).
--
-- KEYS  1 values   2 how many more are expected than the size   3 size   4 parts that returned   5 saved group   6 claim
-- ARGV  1 id of the part   2 its value   3 place in the group   4 seconds to keep all of it (0: for ever)   5 token of this
--       worker   6 seconds that the claim holds
-- Gives 0; or 2 if it was the last one and another worker has the claim, which it may take with it when it dies: ask again;
-- or 1 if the body is to be sent, then the saved group or '', then all values.
local member = ARGV[1] .. ':' .. ARGV[3]
local kind = redis.call('TYPE', KEYS[1]).ok
-- In a list where the app that sent the chord does not want order (\`result_chord_ordered\`): other parts are in it then.
local ordered = kind ~= 'list'
-- A part that Python before 5.7 counted is in no set: what it gave then is found by its place.
local function isCounted()
  for _, value in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[3], ARGV[3])) do
    local readable, part = pcall(cjson.decode, value)
    if readable and type(part) == 'table' and part[2] == ARGV[1] then return true end
  end
  return false
end
if redis.call('SISMEMBER', KEYS[4], member) == 0 then
  if not ordered then
    redis.call('RPUSH', KEYS[1], ARGV[2])
  elseif not isCounted() then
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
  end
  redis.call('SADD', KEYS[4], member)
end
local ready = ordered and redis.call('ZCARD', KEYS[1]) or redis.call('LLEN', KEYS[1])
if tonumber(ARGV[4]) > 0 then for key = 1, 5 do redis.call('EXPIRE', KEYS[key], ARGV[4]) end end
local size = redis.call('GET', KEYS[3])
if not size or ready ~= tonumber(size) + tonumber(redis.call('GET', KEYS[2]) or 0) then return { 0 } end
local claimed = redis.call('SET', KEYS[6], ARGV[5], 'NX', 'EX', ARGV[6])
if not claimed and redis.call('GET', KEYS[6]) ~= ARGV[5] then return { 2 } end
local values
if ordered then values = redis.call('ZRANGE', KEYS[1], 0, -1) else values = redis.call('LRANGE', KEYS[1], 0, -1) end
table.insert(values, 1, redis.call('GET', KEYS[5]) or '')
table.insert(values, 1, 1)
return values
`;
