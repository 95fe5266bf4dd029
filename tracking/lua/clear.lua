-- Take one visitor out of bitmaps: who is erased has no bit left.
--
-- KEYS[1] prefix; ARGV: 1 the visitor's number, then keys of bits (tracking/keys.py), all of this
-- property. Answers how many bits there were. In the script, because a set may become containers
-- between the look and the removal.
--
-- A set that would be empty is given the number 0, which nobody has: accept.lua gives a key its end
-- when its counter is new, so one that vanished would come back without an end.
local number = tonumber(ARGV[1])
local cleared = 0

local function take_out(key, member, bit)
  local kind = redis.call('TYPE', key).ok
  if kind == 'string' then
    if redis.call('GETBIT', key, bit) == 1 then
      redis.call('SETBIT', key, bit, 0)
      cleared = cleared + 1
    end
  elseif kind == 'set' and redis.call('SISMEMBER', key, member) == 1 then
    if redis.call('SCARD', key) == 1 then redis.call('SADD', key, 0) end
    redis.call('SREM', key, member)
    cleared = cleared + 1
  end
end

for i = 2, #ARGV do
  local key = ARGV[i]
  if redis.call('TYPE', key).ok == 'string' then
    local chunk, bit = math.floor(number / 65536), number % 65536
    local container = key .. ':' .. chunk
    if redis.call('TYPE', container).ok == 'set' and redis.call('SCARD', container) == 1 then
      -- Its counter tells nothing here: a container that comes back gets its end with its first.
      cleared = cleared + redis.call('SREM', container, bit - 32768)
    else
      take_out(container, bit - 32768, bit)
    end
  else
    take_out(key, number, 0)
  end
end
return cleared
