/** The script that finds messages whose worker was not heard of for longer than the visibility timeout. */
export const overdueScript = /* lua */ `
-- KEYS  1 hash of unacknowledged messages   2 their index by time   3 the lock that all workers of a database share
-- ARGV  1 visibility timeout in seconds   2 how many to give at most   3 how many to leave out   4 1 to go on with a sweep
-- Gives how many rows of the index it saw, then tag, score, value of each, the youngest first; a tag without a value is taken out of the index. The lock, which
-- Python workers take too, ends by itself: it spaces the sweeps of many workers, and what is restored is decided message
-- by message, by its score.
if ARGV[4] ~= '1' and not redis.call('SET', KEYS[3], 'muster', 'NX', 'PX', 10000) then return { 0 } end
local time = redis.call('TIME')
local overdue = string.format('%d.%06d', time[1] - math.ceil(ARGV[1]), time[2])
local rows = redis.call('ZREVRANGEBYSCORE', KEYS[2], overdue, '-inf', 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[2])
local found = { #rows / 2 }
for at = 1, #rows, 2 do
  local value = redis.call('HGET', KEYS[1], rows[at])
  if value then
    found[#found + 1] = rows[at]
    found[#found + 1] = rows[at + 1]
    found[#found + 1] = value
  else
    redis.call('ZREM', KEYS[2], rows[at])
  end
end
return found
`;
