-- Who is online: what accept.lua and sweep.lua both do. It is put in front of them (store.py).
--
-- KEYS[1] is the property's prefix. Three keys, drawn in tracking/keys.py: `:o` says when each tab
-- of each visitor expires, `:w` what her tabs show, `:g` how many visitors show the same. The third
-- follows from the second: a visitor is counted once, by the most active of her tabs, and counted
-- anew only when that changes. So a heartbeat of somebody who reads on moves one score, and who
-- asks reads what was counted instead of a hundred thousand visitors.

local MOST_TABS = 32  -- of one visitor; a tab more, and one of them is not shown
local online, who, looks = KEYS[1] .. ':o', KEYS[1] .. ':w', KEYS[1] .. ':g'

-- An entry of `:w` as {tab, look, until, ...}, sorted by tab: equal tabs, equal bytes. `until` (ms) is
-- how long somebody whom a ping called engaged is still open, by an event after it, when that ping
-- is over: then she goes on as visible. 0, which is not written: she leaves with the ping.
local GOES_ON = 32768  -- in the length of a look, which is shorter: `until` stands behind it
local function read_tabs(entry)
  local tabs, at = {}, 1
  while entry and at <= #entry do
    local tab, length = struct.unpack('>c16H', entry, at)
    local is_longer, on_until = length >= GOES_ON, 0
    if is_longer then length = length - GOES_ON end
    tabs[#tabs + 1] = tab
    tabs[#tabs + 1] = string.sub(entry, at + 18, at + 17 + length)
    at = at + 18 + length
    if is_longer then
      on_until = struct.unpack('>i8', entry, at)
      at = at + 8
    end
    tabs[#tabs + 1] = on_until
  end
  return tabs
end

local function write_tabs(tabs)
  local parts = {}
  for i = 1, #tabs, 3 do
    local look, on_until = tabs[i + 1], tabs[i + 2]
    local goes_on = on_until > 0
    parts[#parts + 1] = struct.pack('>c16H', tabs[i], #look + (goes_on and GOES_ON or 0)) .. look
    if goes_on then parts[#parts + 1] = struct.pack('>i8', on_until) end
  end
  return table.concat(parts)
end

local function place_of(tabs, tab)
  for i = 1, #tabs, 3 do
    if tabs[i] == tab then return i end
  end
end

local function add_tab(tabs, tab, look, on_until)
  local at = 1
  while tabs[at] and tabs[at] < tab do at = at + 3 end
  table.insert(tabs, at, on_until)
  table.insert(tabs, at, look)
  table.insert(tabs, at, tab)
end

local function drop_tab(tabs, at)
  for _ = 1, 3 do table.remove(tabs, at) end
end

-- A look begins with its state (tracking/looks.py).
local VISIBLE, ENGAGED = 1, 2
local function as_visible(look)
  return string.char(VISIBLE) .. string.sub(look, 2)
end

-- What the most active tab shows; of equals always the same one. Nil for nobody.
local function best_of(tabs)
  if #tabs <= 3 then return tabs[2] end
  local best, highest
  for i = 2, #tabs, 3 do
    local rank = string.byte(tabs[i])
    if not best or rank > highest or rank == highest and tabs[i] > best then
      best, highest = tabs[i], rank
    end
  end
  return best
end

-- How often the visitor comes, the last text of a look: "\0\1" and a letter (tracking/looks.py), or
-- nothing. No device, which is the text before, has a name of one letter.
local function visit_in(look)
  local zero, one = string.byte(look, -3, -2)
  return zero == 0 and one == 1 and string.sub(look, -3) or ''
end

local moved = {}  -- look -> visitors more, or fewer
local function move(before, after)
  if before == after then return end
  if before then moved[before] = (moved[before] or 0) - 1 end
  if after then moved[after] = (moved[after] or 0) + 1 end
end

local function write_moved()
  local gone = {}
  for look, by in pairs(moved) do
    if by ~= 0 and redis.call('HINCRBY', looks, look, by) <= 0 then gone[#gone + 1] = look end
  end
  for from = 1, #gone, 1000 do
    redis.call('HDEL', looks, unpack(gone, from, math.min(from + 999, #gone)))
  end
  moved = {}
end

-- Writes what visitors' tabs have become: {visitor, tabs, ...}; without tabs they are gone.
local function write_visitors(changed)
  local writes, gone = {}, {}
  for i = 1, #changed, 2 do
    local visitor, tabs = changed[i], changed[i + 1]
    if #tabs == 0 then
      gone[#gone + 1] = visitor
    else
      writes[#writes + 1] = visitor
      writes[#writes + 1] = write_tabs(tabs)
    end
  end
  for from = 1, #writes, 1000 do
    redis.call('HSET', who, unpack(writes, from, math.min(from + 999, #writes)))
  end
  for from = 1, #gone, 1000 do
    redis.call('HDEL', who, unpack(gone, from, math.min(from + 999, #gone)))
  end
end

-- Takes out at most so many tabs that have expired, or lets them go on as visible; returns how many
-- there were. `:g` is written by write_moved().
local function let_leave(now, most)
  local left = redis.call('ZRANGEBYSCORE', online, '-inf', now, 'LIMIT', 0, most)
  if #left == 0 then return 0 end
  local visitors, index, tabs_of = {}, {}, {}
  for _, member in ipairs(left) do
    local visitor = string.sub(member, 1, 16)
    local at = index[visitor]
    if not at then
      at = #visitors + 1
      visitors[at], index[visitor], tabs_of[at] = visitor, at, {}
    end
    table.insert(tabs_of[at], string.sub(member, 17))
  end
  local entries, changed, stay = redis.call('HMGET', who, unpack(visitors)), {}, {}
  for i, entry in ipairs(entries) do
    local tabs = read_tabs(entry)
    local before = best_of(tabs)
    for _, tab in ipairs(tabs_of[i]) do
      local at = place_of(tabs, tab)
      if at and tabs[at + 2] > now then
        stay[#stay + 1], stay[#stay + 2] = tabs[at + 2], visitors[i] .. tab
        tabs[at + 1], tabs[at + 2] = as_visible(tabs[at + 1]), 0
      elseif at then
        drop_tab(tabs, at)
      end
    end
    move(before, best_of(tabs))
    changed[#changed + 1], changed[#changed + 2] = visitors[i], tabs
  end
  write_visitors(changed)
  redis.call('ZREM', online, unpack(left))
  if #stay > 0 then redis.call('ZADD', online, unpack(stay)) end
  return #left
end

