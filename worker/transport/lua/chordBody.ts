/** The script that sends the body of a chord. */
export const chordBodyScript = /* lua */ `-- Sends the body of a chord and forgets the chord, in one step, so that it is sent once. Only for whoever has the
-- claim, or had it last: one that ran out, because its worker was busy or Redis away, has not been given to another worker
-- if nobody has it, and the chord is still there.
--
-- KEYS  1 claim   2… the chord's other keys, the fourth its size, then the lists of the messages
-- ARGV  1 token   2 how many keys are the chord's   then the messages
-- Gives 1 when it was sent.
local holder = redis.call('GET', KEYS[1])
if holder ~= ARGV[1] and (holder or redis.call('EXISTS', KEYS[4]) == 0) then return 0 end
local count = tonumber(ARGV[2])
redis.call('DEL', unpack(KEYS, 1, count))
for place = count + 1, #KEYS do redis.call('LPUSH', KEYS[place], ARGV[2 + place - count]) end
return 1
`;
