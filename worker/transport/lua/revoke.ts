/** The script that stores REVOKED for a task that waits in some queue. */
export const revokeScript = /* lua */ `-- Stores that a task is revoked and tells who waits for it, unless a worker has begun or ended it: its state is that
-- worker's to say. Source: celery/worker/control.py (\`_revoke\`).
--
-- KEYS[1]  key of the result, which is its channel too   ARGV  seconds to keep it (0: for ever), its JSON
local before = redis.call('GET', KEYS[1])
local status = before and string.match(before, '"status": ?"([^"]*)"')
if before and status ~= 'PENDING' and status ~= 'RECEIVED' and status ~= 'RETRY' and status ~= 'REJECTED' then return 0 end
local keepSeconds = tonumber(ARGV[1])
if keepSeconds > 0 then redis.call('SETEX', KEYS[1], keepSeconds, ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2]) end
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 1
`;
