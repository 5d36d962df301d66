/** The script that keeps messages from being taken for lost while a worker holds them. */
export const renewScript = /* lua */ `
-- KEYS  1 index of unacknowledged messages   ARGV  tags
-- Redis's own time, as for the claim: the clocks of two workers need not agree.
local time = redis.call('TIME')
local score = string.format('%d.%06d', time[1], time[2])
local renewed = 0
for _, tag in ipairs(ARGV) do renewed = renewed + redis.call('ZADD', KEYS[1], 'XX', 'CH', score, tag) end
return renewed
`;
