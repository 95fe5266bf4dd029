-- Takes tabs out of the live set of one property whose time is up, some at a time.
--
-- KEYS[1]  the property's prefix {a:p}
-- ARGV     1 now in ms  2 how many at most
-- Answers  how many it took out: fewer than asked for when none is left.

local now, most = tonumber(ARGV[1]), tonumber(ARGV[2])
if not now or not most then return redis.error_reply('ERR sweep: arguments') end
local left = let_leave(now, most)
write_moved()
return left
