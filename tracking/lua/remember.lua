-- Make a property's memory usable: its version, and the highest visitor number given out.
--
-- KEYS[1] prefix; ARGV: 1 version  2 highest number known to Postgres  3 since (ms): from when on
-- the counters here are complete. Idempotent; never lowers a number, never moves `since` forward.
local meta = KEYS[1] .. ':m'
local known = redis.call('HMGET', meta, 'n', 'since')
-- Nothing to look for in buckets of another kind: see was_split_lately in accept.lua.
if not known[1] then redis.call('HSET', meta, 'd', '10 0') end
redis.call('HSET', meta, 'v', ARGV[1], 'n', math.max(tonumber(known[1] or 0), tonumber(ARGV[2])))
if not known[2] then redis.call('HSET', meta, 'since', ARGV[3]) end
return redis.status_reply('OK')
