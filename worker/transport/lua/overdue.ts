/** The script that finds messages whose worker was not heard of for longer than the visibility timeout. */
export const overdueScript = /* lua */ `
-- KEYS  1 hash of unacknowledged messages   2 their index by time   3 the lock that all workers of a database share
-- ARGV  1 visibility timeout in seconds   2 how many to give at most
-- Gives tag, value of each; a tag without a value is taken out of the index. The lock, which Python workers take too, ends
-- by itself: it spaces the sweeps of many workers, and what is restored is decided message by message.
if not redis.call('SET', KEYS[3], 'muster', 'NX', 'PX', 10000) then return {} end
local time = redis.call('TIME')
local found = {}
for _, tag in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', time[1] - ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local value = redis.call('HGET', KEYS[1], tag)
  if value then
    found[#found + 1] = tag
    found[#found + 1] = value
  else
    redis.call('ZREM', KEYS[2], tag)
  end
end
return found
`;
