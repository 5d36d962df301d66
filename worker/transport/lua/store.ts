/** The script that stores states of tasks. */
export const storeScript = /* lua */ `-- Stores states of tasks and tells who waits for them. A success that is stored is never replaced, as in Celery: a late
-- copy of a task that was delivered twice must not turn a result that somebody has read into another one.
--
-- KEYS  keys of results, which are their channels too   ARGV  of each: seconds to keep it (0: for ever), its JSON
for place, key in ipairs(KEYS) do
  local keepSeconds, json = tonumber(ARGV[2 * place - 1]), ARGV[2 * place]
  local before = redis.call('GET', key)
  -- The first one is the task's: it stands before the result, which may have a status of its own in it.
  if not (before and string.match(before, '"status": ?"([^"]*)"') == 'SUCCESS') then
    -- With memory full Redis refuses SET, but not after another write in the script. The acknowledgement that follows is
    -- not refused either: a task may not be acknowledged without its result.
    redis.call('PERSIST', key)
    if keepSeconds > 0 then redis.call('SETEX', key, keepSeconds, json) else redis.call('SET', key, json) end
    redis.call('PUBLISH', key, json)
  end
end
return 1
`;
