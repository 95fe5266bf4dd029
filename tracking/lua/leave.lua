-- Takes a visitor out of the live set of one property, with all her tabs.
--
-- KEYS[1]  the property's prefix {a:p}
-- ARGV     1 her uuid, 16 bytes
-- Answers  how many tabs she had.

local tabs = read_tabs(redis.call('HGET', who, ARGV[1]))
for i = 1, #tabs, 3 do redis.call('ZREM', online, ARGV[1] .. tabs[i]) end
move(best_of(tabs), nil)
write_visitors({ARGV[1], {}})
write_moved()
return #tabs / 3
