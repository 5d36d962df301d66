/** The script that says how many parts a chord has. It is sent as it is: clients send it too, and need not load it. */
export const chordStartScript = /* lua */ `-- A chord begins: nobody has claimed its body (one that is sent again under its id begins anew), and so many parts are
-- expected. The first write deletes: with memory full Redis refuses SET, but not after another write in the script, and the
-- parts that follow are not refused either; without its size a chord would never end.
--
-- KEYS  1 claim   2 size   3 saved form of the header   ARGV  1 size   2 seconds to keep it (0: for ever)   3 the form, or ''
local function keep(key, value)
  if tonumber(ARGV[2]) > 0 then redis.call('SETEX', key, ARGV[2], value) else redis.call('SET', key, value) end
end
redis.call('DEL', KEYS[1])
keep(KEYS[2], ARGV[1])
if ARGV[3] ~= '' then keep(KEYS[3], ARGV[3]) end
return 1
`;
