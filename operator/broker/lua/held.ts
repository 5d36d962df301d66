/**
 * The script that counts unacknowledged messages inside Redis, so that their bodies never cross the network. Kept as
 * text in a module, because a bundled operator has no files next to it.
 *
 * It reads only the tail of each value: kombu writes `[message, exchange, routing_key]`, the message is large and
 * private, and the two names that tell the queue are at the end. One call visits a bounded part of the hash, by entries
 * and by bytes, because Redis serves nobody else while a script runs.
 */

/** `EVAL heldScript 1 <unacked> <cursor> <max entries> <max bytes> <most entries the hash may have>` */
export const heldScript = String.raw`
-- KEYS[1]  the hash of unacknowledged messages: delivery tag -> JSON [message, exchange, routing_key]
-- ARGV[1]  cursor; '0' begins
-- ARGV[2]  stop after this many entries      ARGV[3]  stop after this many bytes of values
-- ARGV[4]  visit nothing when the hash has more entries than this
-- returns  { next cursor ('0' = done), entries in the hash, entries not understood, exchange, routing key, count, ... }
--          names are JSON literals without their quotes: the caller decodes the escapes
local size = redis.call('HLEN', KEYS[1])
if size > tonumber(ARGV[4]) then return { '0', size, 0 } end

-- , "exchange", "routing key"]  from its end; names with escapes do not match
local backwards = '^%s*%]%s*"([^"\\]*)"%s*,%s*"([^"\\]*)"%s*,'

-- the opening quote of the JSON literal that is closed at position last
local function opening(text, last)
  for i = last - 1, 1, -1 do
    if string.byte(text, i) == 34 then
      local slash = i - 1
      while slash > 0 and string.byte(text, slash) == 92 do slash = slash - 1 end
      if (i - 1 - slash) % 2 == 0 then return i end
    end
  end
end

-- names with escapes, and long ones
local function slowly(text)
  local last = string.match(text, '()"%s*%]%s*$')
  local first = last and opening(text, last)
  local before = first and string.match(string.sub(text, 1, first - 1), '()"%s*,%s*$')
  local start = before and opening(text, before)
  if start and string.match(string.sub(text, 1, start - 1), ',%s*$') then
    return string.sub(text, start + 1, before - 1), string.sub(text, first + 1, last - 1)
  end
end

local counts, order = {}, {}
local cursor, entries, bytes, strange = ARGV[1], 0, 0, 0
repeat
  local page = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 20)
  cursor = page[1]
  for i = 2, #page[2], 2 do
    local value = page[2][i]
    bytes = bytes + #value
    entries = entries + 1
    -- read backwards, where a pattern can be anchored: searching forwards tries every comma
    local routingKey, exchange = string.match(string.reverse(string.sub(value, -300)), backwards)
    if exchange then
      exchange, routingKey = string.reverse(exchange), string.reverse(routingKey)
    else
      exchange, routingKey = slowly(string.sub(value, -1024))
    end
    if exchange then
      local id = exchange .. '"' .. routingKey
      local count = counts[id]
      if not count then
        count = { exchange, routingKey, 0 }
        counts[id] = count
        order[#order + 1] = count
      end
      count[3] = count[3] + 1
    else
      strange = strange + 1
    end
  end
until cursor == '0' or entries >= tonumber(ARGV[2]) or bytes >= tonumber(ARGV[3])

local reply = { cursor, size, strange }
for _, count in ipairs(order) do
  reply[#reply + 1] = count[1]
  reply[#reply + 1] = count[2]
  reply[#reply + 1] = count[3]
end
return reply
`;
