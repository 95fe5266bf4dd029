-- Visitors who were not seen for 13 months leave: a step over a few buckets of one property.
--
-- KEYS[1] prefix; ARGV: 1 today (days since 1970)  2 days for which a visitor is known
-- 3 first bucket  4 number of buckets. Answers how many left. In the script, because nobody may
-- come back between the look and the deletion. An entry in decimal digits, which an earlier version
-- wrote, is written anew on the way (tracking/visitor_map.py).
local today, known = tonumber(ARGV[1]), tonumber(ARGV[2])
local left = 0
for bucket = tonumber(ARGV[3]), ARGV[3] + ARGV[4] - 1 do
  local key = KEYS[1] .. ':i:' .. string.format('%04x', bucket % 65536)
  local entries = redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    local field, entry, day = entries[i], entries[i + 1], nil
    if #entry > 6 then
      local number, seen = string.match(entry, '^(%d+) (%d+)$')
      number, day = tonumber(number), tonumber(seen)
      redis.call('HSET', key, field,
        struct.pack(number < 16777216 and '>HI3' or '>HI4', day, number))
    else
      day = struct.unpack('>H', entry)
    end
    if today - day > known then left = left + redis.call('HDEL', key, field) end
  end
end
return left
