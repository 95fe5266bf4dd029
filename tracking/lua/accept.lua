-- Everything that accepting events does to Valkey, for one property, in one atomic step.
--
-- KEYS[1]  the property's prefix {a:p}; every other key is derived from it (tracking/keys.py).
-- ARGV     1 now in ms  2 the property's version as the caller knows it ("" = do not ask)
--          3 visitor limit  4 number of refusals, then that many (reason, count) pairs,
--          then the number of items, then FIELDS values for each item (tracking/store.py).
-- Answers  {"cold"} when the property's memory is empty: restore it, then call again;
--          {"stale", version} when the property has changed: judge again, then call again;
--          {"ok", visitor numbers given out so far, verdict of each item ...}: "a" accepted,
--          "d" duplicate, "c" duplicate with another payload, "l" visitor limit, "p" ping.
-- All arguments are checked before the first write; a script runs whole or not at all.

local FIELDS = 15
local SMALL_SET, VALUES_PER_DAY = 512, 10000
local HOUR, DAY = 3600, 86400
local KEEP_MINUTE, KEEP_HOUR, KEEP_LEDGER = 3 * HOUR, 3 * DAY, 8 * DAY
local HALF_DAY_MS, KEEP_IDS = 43200000, 36 * HOUR
local KNOWN_DAYS, KEEP_KNOWN, KEEP_COOKIELESS = 396, 400 * DAY, 2 * DAY

local prefix = KEYS[1]
local now = tonumber(ARGV[1])
local refusals = tonumber(ARGV[4])
local first_item = 6 + 2 * (refusals or 0)
local items = tonumber(ARGV[first_item - 1])
if not now or not refusals or not items or #ARGV ~= first_item - 1 + items * FIELDS then
  return redis.error_reply('ERR accept: arguments do not add up')
end
local limit = tonumber(ARGV[3]) or 0
for i = 0, items - 1 do
  local at = first_item + i * FIELDS
  local kind = ARGV[at]
  if kind == 'p' then
    if not tonumber(ARGV[at + 13]) or #ARGV[at + 12] < 16 then
      return redis.error_reply('ERR accept: ping ' .. i)
    end
  elseif (kind ~= 'e' and kind ~= 'b' and kind ~= 'o') or #ARGV[at + 1] ~= 16
    or #ARGV[at + 3] ~= 16 or not tonumber(ARGV[at + 5]) or not tonumber(ARGV[at + 6])
    or not tonumber(ARGV[at + 7]) then
    return redis.error_reply('ERR accept: item ' .. i)
  end
end

local meta = prefix .. ':m'
local highest = 0
if ARGV[2] ~= '' then
  local known = redis.call('HMGET', meta, 'v', 'n')
  if not known[1] or not known[2] then return {'cold'} end
  if known[1] ~= ARGV[2] then return {'stale', known[1]} end
  highest = tonumber(known[2])
end

-- Additions are gathered and written once at the end: events that share a call share the work.
local counters, marks, expiries = {}, {}, {}
local function add(key, field, keep)
  local fields = counters[key]
  if not fields then
    fields = {}
    counters[key] = fields
    expiries[key] = keep
  end
  fields[field] = (fields[field] or 0) + 1
end
local function mark(key, number, keep)
  local numbers = marks[key]
  if not numbers then
    numbers = {}
    marks[key] = numbers
    expiries[key] = keep
  end
  numbers[#numbers + 1] = number
end

local half_day = math.floor(now / HALF_DAY_MS)
local function is_known_id(id, fingerprint)
  local bucket = string.byte(id, 15) * 16 + math.floor(string.byte(id, 16) / 16)
  local newest = prefix .. ':d:' .. half_day .. ':' .. bucket
  for back = 0, 2 do
    local seen = redis.call('HGET', back == 0 and newest
      or prefix .. ':d:' .. (half_day - back) .. ':' .. bucket, id)
    if seen then return seen == fingerprint and 'd' or 'c' end
  end
  return nil, newest
end

local today = math.floor(now / 86400000)
local function visitor_number(visitor, cookieless_day)
  local bucket = string.format('%02x%02x', string.byte(visitor, 15, 16))
  local key = prefix .. ':i:' .. (cookieless_day ~= '' and cookieless_day .. ':' or '') .. bucket
  local field = string.sub(visitor, 1, 14)
  local entry = redis.call('HGET', key, field)
  if entry then
    local number, day = string.match(entry, '^(%d+) (%d+)$')
    if today - tonumber(day) <= KNOWN_DAYS then
      if tonumber(day) < today and cookieless_day == '' then
        redis.call('HSET', key, field, number .. ' ' .. today)
        redis.call('EXPIRE', key, KEEP_KNOWN)
      end
      return tonumber(number)
    end
  end
  if highest >= limit then return nil end
  highest = redis.call('HINCRBY', meta, 'n', 1)
  redis.call('HSET', key, field, highest .. ' ' .. today)
  redis.call('EXPIRE', key, cookieless_day ~= '' and KEEP_COOKIELESS or KEEP_KNOWN)
  return highest
end

-- The index of a value in its day's dictionary; 0 is "(other)", when the day is full.
local function index_of(dimension, day, value)
  local key = prefix .. ':n:' .. day .. ':' .. dimension
  local index = redis.call('HGET', key, value)
  if index then return index end
  local size = redis.call('HLEN', key)
  if size >= VALUES_PER_DAY then return '0' end
  redis.call('HSET', key, value, size + 1)
  if size == 0 then redis.call('EXPIRE', key, KEEP_HOUR) end
  return tostring(size + 1)
end

local function count(at, kind, number)
  local minute, hour, day = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  local name, page = ARGV[at + 8], ARGV[at + 9]
  local tally = prefix .. ':c:' .. hour
  local by_hour = prefix .. ':b:h' .. hour .. ':'
  local by_minute = prefix .. ':b:m' .. minute .. ':'
  local event = index_of('event', day, name)
  add(tally, 'e', KEEP_HOUR)
  add(tally, 'E' .. event, KEEP_HOUR)
  mark(by_hour .. 'a', number, KEEP_HOUR)
  mark(by_hour .. 'E' .. event, number, KEEP_HOUR)
  mark(by_minute .. 'a', number, KEEP_MINUTE)
  mark(by_minute .. 'E' .. event, number, KEEP_MINUTE)
  if ARGV[at + 10] == '1' then add(tally, 'v', KEEP_HOUR) end
  if page ~= '' then
    local index = index_of('page', day, page)
    add(tally, 'A' .. index, KEEP_HOUR)
    if ARGV[at + 10] == '1' then add(tally, 'V' .. index, KEEP_HOUR) end
    mark(by_hour .. 'P' .. index, number, KEEP_HOUR)
  end
end

-- Who is online: one member per visitor and tab, its score the moment at which it expires.
local online, tabs = prefix .. ':o', prefix .. ':t'
local anyone_online, arrived = false, false
local function show_online(at, is_ping)
  local member, expiry = ARGV[at + 12], tonumber(ARGV[at + 13])
  if member == '' then return end
  if expiry <= now then
    redis.call('ZREM', online, member)
    redis.call('HDEL', tabs, member)
    return
  end
  anyone_online = true
  local info = cjson.decode(ARGV[at + 14])
  local before = redis.call('HGET', tabs, member)
  if before then
    local old = cjson.decode(before)
    -- The source is that of the first page; an event does not make a reader less engaged.
    if old.source then info.source = old.source end
    if not is_ping then info.state = old.state end
    if not info.page then info.page = old.page end
  end
  if not before then arrived = true end
  if is_ping then
    redis.call('ZADD', online, expiry, member)
  else
    redis.call('ZADD', online, 'GT', expiry, member)
  end
  redis.call('HSET', tabs, member, cjson.encode(info))
end

local accepted, duplicates, pings, bots, limited = 0, 0, 0, 0, 0
local verdicts = {}
local function judge(at)
  local kind = ARGV[at]
  if kind == 'p' then
    pings = pings + 1
    show_online(at, true)
    return 'p'
  end
  local id, fingerprint = ARGV[at + 1], ARGV[at + 2]
  local again, ids = is_known_id(id, fingerprint)
  if again then
    duplicates = duplicates + 1
    if again == 'c' then
      redis.call('XADD', prefix .. ':s', '*', 'v', '1', 'k', 'conflict', 'd', ARGV[at + 11])
    end
    return again
  end
  local number = 0
  if kind ~= 'b' then
    number = visitor_number(ARGV[at + 3], ARGV[at + 4])
    if not number then
      limited = limited + 1
      return 'l'
    end
  end
  redis.call('HSET', ids, id, fingerprint)
  redis.call('EXPIRE', ids, KEEP_IDS, 'NX')
  redis.call('XADD', prefix .. ':s', '*', 'v', '1', 'n', number, 'd', ARGV[at + 11])
  accepted = accepted + 1
  if kind == 'b' then
    bots = bots + 1
  elseif kind == 'e' then
    count(at, kind, number)
    show_online(at, false)
  end
  return 'a'
end
for i = 0, items - 1 do
  verdicts[i + 1] = judge(first_item + i * FIELDS)
end

for key, fields in pairs(counters) do
  local is_new = false
  for field, by in pairs(fields) do
    -- 'e' is counted with every event: when it begins, so does the key.
    is_new = redis.call('HINCRBY', key, field, by) == by and field == 'e' or is_new
  end
  if is_new then redis.call('EXPIRE', key, expiries[key]) end
end

-- Containers: see tracking/keys.py. pcall, because a key that has outgrown its set is a string.
local function mark_in_container(key, number, keep)
  local chunk = math.floor(number / 65536)
  local offset = number % 65536
  local container = key .. ':' .. chunk
  redis.call('SETBIT', key, chunk, 1)
  local added = redis.pcall('SADD', container, offset - 32768)
  if type(added) == 'table' then
    redis.call('SETBIT', container, offset, 1)
  elseif added == 1 then
    local size = redis.call('SCARD', container)
    if size == 1 then redis.call('EXPIRE', container, keep) end
    if size > SMALL_SET then
      local members = redis.call('SMEMBERS', container)
      redis.call('DEL', container)
      for _, member in ipairs(members) do
        redis.call('SETBIT', container, tonumber(member) + 32768, 1)
      end
      redis.call('EXPIRE', container, keep)
    end
  end
end
for key, numbers in pairs(marks) do
  local keep = expiries[key]
  local added = redis.pcall('SADD', key, unpack(numbers))
  if type(added) == 'table' then
    for _, number in ipairs(numbers) do mark_in_container(key, number, keep) end
  elseif added > 0 then
    local size = redis.call('SCARD', key)
    if size == added then redis.call('EXPIRE', key, keep) end
    if size > SMALL_SET then
      local members = redis.call('SMEMBERS', key)
      redis.call('DEL', key)
      for _, member in ipairs(members) do mark_in_container(key, tonumber(member), keep) end
      redis.call('EXPIRE', key, keep)
    end
  end
end

-- Not with every call: the keys live an hour, and somebody who stays is seen hundreds of times.
if anyone_online and (arrived or now % 8 == 0) then
  redis.call('EXPIRE', online, HOUR)
  redis.call('EXPIRE', tabs, HOUR)
  -- A few of those who left, so that the set is bounded even while no worker sweeps it.
  local gone = redis.call('ZRANGEBYSCORE', online, '-inf', now, 'LIMIT', 0, 4)
  if #gone > 0 then
    redis.call('ZREM', online, unpack(gone))
    redis.call('HDEL', tabs, unpack(gone))
  end
end

local ledger = prefix .. ':l:' .. (math.floor(now / 3600000) * HOUR)
local ledger_began = false
local function tally(field, by)
  if by > 0 and redis.call('HINCRBY', ledger, field, by) == by then ledger_began = true end
end
tally('accepted', accepted)
tally('duplicate', duplicates)
tally('ping', pings)
tally('bot', bots)
tally('r.visitor_limit', limited)
for i = 0, refusals - 1 do
  tally('r.' .. ARGV[5 + 2 * i], tonumber(ARGV[6 + 2 * i]))
end
if ledger_began then redis.call('EXPIRE', ledger, KEEP_LEDGER, 'NX') end

return {'ok', highest, unpack(verdicts)}
