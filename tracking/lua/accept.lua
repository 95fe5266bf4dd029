-- Everything that accepting events does to Valkey, for one property, in one atomic step.
--
-- KEYS[1]  the property's prefix {a:p}; every other key is derived from it (tracking/keys.py).
-- ARGV     1 now in ms  2 the property's version as the caller knows it ("" = do not ask)
--          3 visitor limit, then four lists, each with its length in front (tracking/items.py):
--          refusals (reason, count), moments (minute, hour, day, event name), pages (hour, day,
--          page, "1" for pageviews), items (head, row).
-- Answers  {"cold"} when the property's memory is empty: restore it, then call again;
--          {"stale", version} when the property has changed: judge again, then call again;
--          {"ok", visitor numbers given out so far, a letter for each item}: "a" accepted,
--          "d" duplicate, "c" duplicate with another payload, "l" visitor limit, "q" the account's
--          plan is used up, "p" ping.
-- All arguments are checked before the first write; a script runs whole or not at all. The text of
-- online.lua stands in front of this one.
--
-- A command costs more than what it does, in the server and in the append-only file. So items
-- are decided one by one, and what they add up to is written once for each key.

local HEAD, HEAD_SIZE, LIVE_SIZE, NONE = '>c1BHHi4c16c16', 42, 40, 65535  -- tracking/items.py
local LOOK = '>BHc0Hc0Hc0'  -- state, page, source, campaign; the rest is not read (tracking/looks.py)
local SMALL_SET, VALUES_PER_DAY = 512, 10000
local HOUR, DAY = 3600, 86400
local KEEP_MINUTE, KEEP_HOUR, KEEP_LEDGER = 3 * HOUR, 3 * DAY, 8 * DAY
local ID_HOURS, RENEW_HOURS, KEEP_IDS = 24, 12, 37 * HOUR
local LEAST_BITS, MOST_BITS, FULL = 10, 22, 96
local KNOWN_DAYS, KEEP_KNOWN, KEEP_COOKIELESS = 396, 400 * DAY, 2 * DAY
local NEW_FOR = 1800000  -- ms after the first event at least, twice as much at most
local FEED_LENGTH, FEED_A_CALL, KEEP_FEED = 1000, 20, 600

local prefix = KEYS[1]
local now = tonumber(ARGV[1])
local limit = tonumber(ARGV[3])

-- -- arguments ------------------------------------------------------------------------------

-- Where each list begins, and how many it holds; nil when they do not add up to what was sent.
local function lists(...)
  local at, found = 4, {}
  for _, width in ipairs({...}) do
    local length = tonumber(ARGV[at])
    if not length then return nil end
    found[#found + 1] = at + 1
    found[#found + 1] = length
    at = at + 1 + length * width
  end
  return at == #ARGV + 1 and found or nil
end
local found = now and limit and lists(2, 4, 4, 2)
if not found then return redis.error_reply('ERR accept: arguments do not add up') end
local first_refusal, refusals, first_moment, moments, first_page, pages, first_item, items =
  unpack(found)

local function is_whole(at)
  local head = ARGV[at]
  if not head or #head < HEAD_SIZE then return false end
  local kind, _, moment, page = struct.unpack('>c1BHH', head)
  return (#head == HEAD_SIZE or #head >= HEAD_SIZE + LIVE_SIZE)
    and (kind == 'p' or kind == 'b' or kind == 'o'
      or kind == 'e' and moment < moments and (page < pages or page == NONE))
end
for i = 0, items - 1 do
  if not is_whole(first_item + 2 * i) then
    return redis.error_reply('ERR accept: item ' .. i)
  end
end
for i = 0, refusals - 1 do
  if not tonumber(ARGV[first_refusal + 2 * i + 1]) then
    return redis.error_reply('ERR accept: refusal ' .. i)
  end
end

local meta = prefix .. ':m'
local this_hour = math.floor(now / 3600000)

-- How many more events the account's plan lets in; nil: as many as come. tracking/quota.py says up
-- to which number, counted since the beginning of an hour; when it has not looked for a day, or the
-- month is over, nothing is refused.
local function room_of(quota)
  local hour, most, ends = string.match(quota, '^(%d+) (%d+) (%d+)$')
  hour = tonumber(hour)
  if not hour or now >= tonumber(ends) or this_hour - hour > 24 then return nil end
  local taken = 0
  for at = hour, math.max(hour, this_hour) do
    taken = taken + tonumber(redis.call('HGET', prefix .. ':l:' .. at * HOUR, 'accepted') or 0)
  end
  return tonumber(most) - taken
end

local highest, id_bits, grown, room = 0, LEAST_BITS, 0, nil
if ARGV[2] ~= '' then
  local known = redis.call('HMGET', meta, 'v', 'n', 'd', 'q')
  if not known[1] or not known[2] then return {'cold'} end
  if known[1] ~= ARGV[2] then return {'stale', known[1]} end
  highest = tonumber(known[2])
  if not known[3] then
    -- Its first call by this version: what the version before knew is looked for as if split.
    known[3] = LEAST_BITS .. ' ' .. math.floor(now / 3600000)
    redis.call('HSET', meta, 'd', known[3])
  end
  local bits, hour = string.match(known[3], '^(%d+) (%d+)$')
  id_bits, grown = tonumber(bits), tonumber(hour)
  if known[4] and items > 0 then room = room_of(known[4]) end
end

-- -- ids and visitors -----------------------------------------------------------------------

-- Buckets of event ids and of cookieless visitors: see tracking/keys.py. A bucket is a hash that
-- stays packed; which one is said by the low bits of the four words of the id, xored, so that ids
-- that differ in one word only spread too. The last byte follows from the others and the bucket.
local function fold(id)
  local a, b, c, d = struct.unpack('>I4I4I4I4', id)
  return bit.bxor(a, b, c, d)
end
local function write_fields(key, fields)
  for from = 1, #fields, 1000 do
    redis.call('HSET', key, unpack(fields, from, math.min(from + 999, #fields)))
  end
end

-- The buckets have become more: what lies in a wider one moves to those that take its place.
local function split(base, place, keep)
  for bits = id_bits - 2, LEAST_BITS, -2 do
    local wide = base .. bits .. ':' .. bit.band(place, 2 ^ bits - 1)
    local entries = redis.call('HGETALL', wide)
    if #entries > 0 then
      local parts = {}
      for i = 1, #entries, 2 do
        if entries[i] ~= '' then
          local high = bit.band(fold(entries[i] .. '\0'), 2 ^ id_bits - 256)
          local key = base .. id_bits .. ':' .. high + bit.band(place, 255)
          local part = parts[key] or {}
          parts[key] = part
          part[#part + 1], part[#part + 2] = entries[i], entries[i + 1]
        end
      end
      for key, part in pairs(parts) do
        write_fields(key, part)
        redis.call('EXPIRE', key, keep)
      end
      redis.call('DEL', wide)
      return true
    end
  end
end
local function was_split_lately()
  return math.abs(this_hour - grown) <= 48 + RENEW_HOURS
end

-- In a bucket of ids the field "" says at how many to look for old ones, and the hour in which the
-- bucket's end was last put off. One id in four looks how many there are.
local function is_known_id(id, fingerprint)
  local base, place, field = prefix .. ':d:', fold(id), string.sub(id, 1, 15)
  local bucket = base .. id_bits .. ':' .. bit.band(place, 2 ^ id_bits - 1)
  local found = redis.call('HMGET', bucket, '', field)
  if not found[1] and was_split_lately() and split(base, place, KEEP_IDS) then
    found = redis.call('HMGET', bucket, '', field)
  end
  if found[2] then
    return struct.unpack('>i4', found[2]) == fingerprint and 'd' or 'c'
  end
  return nil, bucket, found[1] or '', bit.band(place, 50331648) == 0
end

local function forget_old_ids(bucket)
  local entries, old, left = redis.call('HGETALL', bucket), {}, 0
  for i = 1, #entries, 2 do
    if entries[i] ~= '' then
      local age = (this_hour - string.byte(entries[i + 1], 5)) % 256
      if age > ID_HOURS and age < 128 then old[#old + 1] = entries[i] else left = left + 1 end
    end
  end
  for from = 1, #old, 1000 do
    redis.call('HDEL', bucket, unpack(old, from, math.min(from + 999, #old)))
  end
  return left
end

-- More buckets with the next call, if it is the number of ids that fills this one, and not a
-- sender whose ids are all alike.
local function ask_for_more_buckets()
  local ids = 0
  for back = 0, ID_HOURS do
    local hour = prefix .. ':l:' .. (this_hour - back) * HOUR
    ids = ids + tonumber(redis.call('HGET', hour, 'accepted') or 0)
  end
  if id_bits < MOST_BITS and ids > 2 ^ id_bits * FULL * 3 / 4 then
    redis.call('HSET', meta, 'd', id_bits + 2 .. ' ' .. this_hour)
  end
end

local function remember_id(id, fingerprint, bucket, header, looks)
  local full, renewed = 16, 0
  if header ~= '' then full, renewed = struct.unpack('>I3I3', header) end
  local is_due, is_full = math.abs(this_hour - renewed) >= RENEW_HOURS, false
  if looks and redis.call('HLEN', bucket) > full then
    is_full = true
    local left = forget_old_ids(bucket)
    full = left + math.floor(left / 8) + 8
    if left > FULL then ask_for_more_buckets() end
  end
  local field = string.sub(id, 1, 15)
  local value = struct.pack('>i4B', fingerprint, this_hour % 256)
  if is_due or is_full then
    header = struct.pack('>I3I3', full, is_due and this_hour or renewed)
    redis.call('HSET', bucket, '', header, field, value)
    if is_due then redis.call('EXPIRE', bucket, KEEP_IDS) end
  else
    redis.call('HSET', bucket, field, value)
  end
end

local today = math.floor(now / 86400000)
local function visitor_entry(number)
  return struct.pack(number < 16777216 and '>HI3' or '>HI4', today, number)
end
local function read_entry(entry)
  -- Entries of more than six bytes were written as text by an earlier version.
  if #entry > 6 then
    local number, day = string.match(entry, '^(%d+) (%d+)$')
    return tonumber(day), tonumber(number)
  end
  return struct.unpack(#entry == 5 and '>HI3' or '>HI4', entry)
end

-- How often she comes: new in the last half hour or hour, loyal (reports/loyalty.py), or returning.
-- Numbers are given out in order, so one above the highest of then is younger than then.
local highest_then = nil
local function find_highest_then()
  local known = redis.call('HGET', meta, 'y') or ''
  local first, then_, second, since = string.match(known, '^(%d+) (%d+) (%d+) (%d+)$')
  local age = now - tonumber(second or 0)
  if age >= NEW_FOR or age < 0 then
    local is_old = age >= 2 * NEW_FOR or age < 0
    first, then_ = is_old and now or second, is_old and highest or since
    second, since = now, highest
    redis.call('HSET', meta, 'y', first .. ' ' .. then_ .. ' ' .. second .. ' ' .. since)
  end
  highest_then = tonumber(then_)
end
local function visit_of(number)
  if not highest_then then find_highest_then() end
  if number > highest_then then return 'n' end
  local loyal = prefix .. ':y:' .. math.floor(number / 65536)
  return redis.call('GETBIT', loyal, number % 65536) == 1 and 'l' or 'r'
end

local function new_visitor(key, field, keep)
  if highest >= limit then return nil end
  if not highest_then then find_highest_then() end
  highest = redis.call('HINCRBY', meta, 'n', 1)
  redis.call('HSET', key, field, visitor_entry(highest))
  redis.call('EXPIRE', key, keep)
  return highest
end
local function take_from_earlier_version(visitor, day, key, field)
  local old = prefix .. ':i:' .. day .. ':' .. string.format('%02x%02x', string.byte(visitor, 15, 16))
  local entry = redis.call('HGET', old, string.sub(visitor, 1, 14))
  if entry then
    redis.call('HDEL', old, string.sub(visitor, 1, 14))
    redis.call('HSET', key, field, entry)
    redis.call('EXPIRE', key, KEEP_COOKIELESS)
  end
  return entry
end
local function cookieless_number(visitor, day)
  local base, place, field = prefix .. ':i:' .. day .. ':', fold(visitor), string.sub(visitor, 1, 15)
  local key = base .. id_bits .. ':' .. bit.band(place, 2 ^ id_bits - 1)
  local entry = redis.call('HGET', key, field)
  if not entry and was_split_lately() then
    if split(base, place, KEEP_COOKIELESS) then entry = redis.call('HGET', key, field) end
    entry = entry or take_from_earlier_version(visitor, day, key, field)
  end
  if entry then
    local _, number = read_entry(entry)
    return number
  end
  return new_visitor(key, field, KEEP_COOKIELESS)
end
local function visitor_number(visitor, cookieless_day)
  if cookieless_day ~= '' then return cookieless_number(visitor, cookieless_day) end
  local key = prefix .. ':i:' .. string.format('%02x%02x', string.byte(visitor, 15, 16))
  local field = string.sub(visitor, 1, 14)
  local entry = redis.call('HGET', key, field)
  if entry then
    local day, number = read_entry(entry)
    if today - day <= KNOWN_DAYS then
      if day < today then
        redis.call('HSET', key, field, visitor_entry(number))
        redis.call('EXPIRE', key, KEEP_KNOWN)
      end
      return number
    end
  end
  return new_visitor(key, field, KEEP_KNOWN)
end

-- -- what items add up to -------------------------------------------------------------------

local function add(counts, field, by)
  counts[field] = (counts[field] or 0) + by
end

-- Adds to the fields of a hash and keeps it for a while if it is new; what was there before.
local function add_up(key, counts, keep)
  local fields, writes, before = {}, {}, {}
  for field in pairs(counts) do fields[#fields + 1] = field end
  if #fields == 0 then return before end
  local values = redis.call('HMGET', key, unpack(fields))
  for i, field in ipairs(fields) do
    before[field] = tonumber(values[i] or 0)
    writes[2 * i - 1] = field
    writes[2 * i] = before[field] + counts[field]
  end
  if redis.call('HSET', key, unpack(writes)) == #fields then
    redis.call('EXPIRE', key, keep, 'NX')
  end
  return before
end

-- value -> its index in the dictionary of that day; "0" is "(other)", when the day is full.
local function indexes(dimension, day, values)
  local key = prefix .. ':n:' .. day .. ':' .. dimension
  local known = redis.call('HMGET', key, unpack(values))
  local found, size, new = {}, nil, {}
  for i, value in ipairs(values) do
    found[value] = known[i] or found[value]
    if not found[value] then
      size = size or redis.call('HLEN', key)
      if size + #new / 2 < VALUES_PER_DAY then
        found[value] = tostring(size + #new / 2 + 1)
        new[#new + 1] = value
        new[#new + 1] = found[value]
      else
        found[value] = '0'
      end
    end
  end
  if #new > 0 then
    redis.call('HSET', key, unpack(new))
    if size == 0 then redis.call('EXPIRE', key, KEEP_HOUR) end
  end
  return found
end

-- Sets these bits of a plain bitmap, but for those that are set: a write costs more than a look.
local function set_bits(key, offsets)
  local looks, writes = {}, {}
  for i, offset in ipairs(offsets) do
    looks[3 * i - 2], looks[3 * i - 1], looks[3 * i] = 'GET', 'u1', offset
  end
  for i, bit in ipairs(redis.call('BITFIELD_RO', key, unpack(looks))) do
    if bit == 0 then
      local at = #writes
      writes[at + 1], writes[at + 2], writes[at + 3], writes[at + 4] = 'SET', 'u1', offsets[i], 1
    end
  end
  if #writes > 0 then redis.call('BITFIELD', key, unpack(writes)) end
end

-- Containers: see tracking/keys.py.
local function mark_in_containers(key, numbers, keep)
  local chunks = {}
  for _, number in ipairs(numbers) do
    local chunk = math.floor(number / 65536)
    local offsets = chunks[chunk]
    if not offsets then
      offsets = {}
      chunks[chunk] = offsets
    end
    offsets[#offsets + 1] = number % 65536
  end
  for chunk, offsets in pairs(chunks) do
    local container = key .. ':' .. chunk
    redis.call('SETBIT', key, chunk, 1)
    if redis.call('TYPE', container).ok == 'string' then
      set_bits(container, offsets)
    else
      local members = {}
      for i, offset in ipairs(offsets) do members[i] = offset - 32768 end
      local added = redis.call('SADD', container, unpack(members))
      local size = added > 0 and redis.call('SCARD', container) or 0
      if size > SMALL_SET then
        for i, member in ipairs(redis.call('SMEMBERS', container)) do
          offsets[i] = tonumber(member) + 32768
        end
        redis.call('DEL', container)
        set_bits(container, offsets)
      end
      if size > 0 and (size == added or size > SMALL_SET) then
        redis.call('EXPIRE', container, keep)
      end
    end
  end
end

-- `before`: how many events this key has had, when that is known: no more than `before` plus
-- these numbers can be in it.
local function mark(key, numbers, keep, before)
  local is_small = before and before + #numbers <= SMALL_SET
  if not is_small and redis.call('TYPE', key).ok == 'string' then
    mark_in_containers(key, numbers, keep)
    return
  end
  local added = redis.call('SADD', key, unpack(numbers))
  if is_small then
    if before == 0 then redis.call('EXPIRE', key, keep) end
  elseif added > 0 then
    local size = redis.call('SCARD', key)
    if size > SMALL_SET then
      local members = redis.call('SMEMBERS', key)
      redis.call('DEL', key)
      mark_in_containers(key, members, keep)
    end
    if size == added or size > SMALL_SET then redis.call('EXPIRE', key, keep) end
  end
end

-- -- who is online --------------------------------------------------------------------------

-- What happens to each tab in this call, by visitor.
local seen, seen_order = {}, {}
local function see_online(head, number)
  if #head == HEAD_SIZE then return end
  local expiry, visitor, tab = struct.unpack('>i8c16c16', head, HEAD_SIZE + 1)
  local tabs = seen[visitor]
  if not tabs then
    tabs = {order = {}}
    seen[visitor] = tabs
    seen_order[#seen_order + 1] = visitor
  end
  if not tabs[tab] then
    tabs[tab] = {}
    table.insert(tabs.order, tab)
  end
  local look = string.sub(head, HEAD_SIZE + LIVE_SIZE + 1)
  if number then look = look .. '\0\1' .. visit_of(number) end
  table.insert(tabs[tab], {expiry, look, not number})
end

-- What the tab shows after one more item. How often its visitor comes is what the first one says.
local function shown(before, look, is_ping)
  if not before then return look end
  local visit = visit_in(before)
  if visit ~= '' then
    look = string.sub(look, 1, #look - #visit_in(look)) .. visit
  end
  if before == look then return look end
  local old_state, old_page, old_source, old_campaign = struct.unpack(LOOK, before)
  local state, page, source, campaign, rest = struct.unpack(LOOK, look)
  -- Where somebody came from is what the first page says; an event makes no reader less engaged.
  if old_source ~= '' then source, campaign = old_source, old_campaign end
  if not is_ping then state = old_state end
  if page == '' then page = old_page end
  local kept = struct.pack(LOOK, state, #page, page, #source, source, #campaign, campaign)
  return kept .. string.sub(look, rest)
end

-- What a tab shows at last (nil: nothing any more), when it expires (exactly then, or then at the
-- earliest), and until when it goes on as visible after that (online.lua).
local function follow(look, on_until, items)
  local at_least, exactly
  for _, item in ipairs(items) do
    local expiry, is_ping = item[1], item[3]
    if expiry <= now then
      look, on_until, at_least, exactly = nil, 0, nil, 0
    elseif is_ping then
      look, on_until, at_least, exactly = shown(look, item[2], true), 0, nil, expiry
    else
      local was_engaged = look and string.byte(look) == ENGAGED
      look = shown(look, item[2], false)
      if was_engaged then  -- for as long as the ping said, which no event makes longer
        on_until = math.max(on_until, expiry)
      elseif exactly then
        exactly = math.max(exactly, expiry)
      else
        at_least = math.max(at_least or 0, expiry)
      end
    end
  end
  return look, on_until, exactly, at_least
end

-- An event goes on from what the tab showed, but not from what is over and was not taken out yet.
local function is_over(member)
  return tonumber(redis.call('ZSCORE', online, member) or 0) <= now
end

local function show_online()
  local entries = redis.call('HMGET', who, unpack(seen_order))
  local changed, gone, scores, later, arrived = {}, {}, {}, {}, false
  for i, visitor in ipairs(seen_order) do
    local tabs, is_changed = read_tabs(entries[i]), false
    local before = best_of(tabs)
    for _, tab in ipairs(seen[visitor].order) do
      local items, at = seen[visitor][tab], place_of(tabs, tab)
      local old, old_until = at and tabs[at + 1], at and tabs[at + 2] or 0
      local from, from_until, is_late = old, old_until, false
      if at and not items[1][3] and is_over(visitor .. tab) then
        from, from_until, is_late = old_until > now and as_visible(old) or nil, 0, old_until > now
      end
      local look, on_until, exactly, at_least = follow(from, from_until, items)
      if is_late and at_least then at_least = math.max(at_least, old_until) end
      if not look then
        gone[#gone + 1] = visitor .. tab
        if at then drop_tab(tabs, at) end
      else
        local list = exactly and scores or at_least and later
        if list then
          list[#list + 1] = exactly or at_least
          list[#list + 1] = visitor .. tab
        end
        if at then
          tabs[at + 1], tabs[at + 2] = look, on_until
        else
          add_tab(tabs, tab, look, on_until)
        end
      end
      is_changed = is_changed or look ~= old or on_until ~= old_until
    end
    while #tabs > 3 * MOST_TABS do
      gone[#gone + 1] = visitor .. tabs[1]
      drop_tab(tabs, 1)
    end
    if is_changed then
      move(before, best_of(tabs))
      changed[#changed + 1], changed[#changed + 2] = visitor, tabs
      arrived = arrived or not before
    end
  end
  write_visitors(changed)
  if #scores > 0 then redis.call('ZADD', online, unpack(scores)) end
  if #later > 0 then redis.call('ZADD', online, 'GT', unpack(later)) end
  if #gone > 0 then redis.call('ZREM', online, unpack(gone)) end
  -- A few of those who left, so that the set is bounded even while nobody sweeps it; and not with
  -- every call: the keys live an hour, and somebody who stays is seen hundreds of times.
  local is_due = arrived or now % 8 == 0
  if is_due then let_leave(now, 4) end
  write_moved()
  if is_due then
    for _, key in ipairs({online, who, looks}) do redis.call('EXPIRE', key, HOUR) end
  end
end

-- -- the items, one by one ------------------------------------------------------------------

local stream, feed = prefix .. ':s', prefix .. ':f'
local is_watched, fed = nil, 0
-- What somebody who watches sees of the event; of very many at once, some.
local function show_in_feed(number, row)
  if is_watched == nil then is_watched = redis.call('EXISTS', prefix .. ':z') == 1 end
  if is_watched and fed < FEED_A_CALL then
    fed = fed + 1
    redis.call('XADD', feed, 'MAXLEN', FEED_LENGTH, '*', 'v', visit_of(number), 'd', row)
  end
end
local ledger = {}
local in_moment, in_page = {}, {}  -- numbers of the visitors, by index of moment and page
local function append(lists, index, number)
  local numbers = lists[index]
  if numbers then numbers[#numbers + 1] = number else lists[index] = {number} end
end

local function judge(at)
  local head = ARGV[at]
  local kind, cookieless, moment, page, fingerprint, id, visitor = struct.unpack(HEAD, head)
  if kind == 'p' then
    add(ledger, 'ping', 1)
    see_online(head)
    return 'p'
  end
  local again, bucket, header, looks = is_known_id(id, fingerprint)
  if again then
    add(ledger, 'duplicate', 1)
    if again == 'c' then
      redis.call('XADD', stream, '*', 'v', '1', 'k', 'conflict', 'd', ARGV[at + 1])
    end
    return again
  end
  if room and room <= 0 then
    add(ledger, 'r.quota', 1)
    return 'q'
  end
  local number = 0
  if kind ~= 'b' then
    number = visitor_number(visitor, cookieless == 1 and tostring(today) or '')
    if not number then
      add(ledger, 'r.visitor_limit', 1)
      return 'l'
    end
  end
  remember_id(id, fingerprint, bucket, header, looks)
  redis.call('XADD', stream, '*', 'v', '1', 'n', number, 'd', ARGV[at + 1])
  add(ledger, 'accepted', 1)
  if room then room = room - 1 end
  if kind == 'b' then
    add(ledger, 'bot', 1)
  elseif kind == 'e' then
    append(in_moment, moment, number)
    if page ~= NONE then append(in_page, page, number) end
    see_online(head, number)
    show_in_feed(number, ARGV[at + 1])
  end
  return 'a'
end
local verdicts = {}
for i = 0, items - 1 do verdicts[i + 1] = judge(first_item + 2 * i) end
if fed > 0 then redis.call('EXPIRE', feed, KEEP_FEED) end

-- -- and what they added up to --------------------------------------------------------------

-- Calls `each` with the four values of every moment or page that somebody was in, in order.
local function each_moment(each)
  for i = 0, moments - 1 do
    local numbers, at = in_moment[i], first_moment + 4 * i
    if numbers then each(numbers, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
  end
end
local function each_page(each)
  for i = 0, pages - 1 do
    local numbers, at = in_page[i], first_page + 4 * i
    if numbers then each(numbers, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
  end
end

local values = {}  -- dimension -> day -> values, then their indexes
local function want(dimension, day, value)
  local days = values[dimension] or {}
  values[dimension] = days
  days[day] = days[day] or {}
  table.insert(days[day], value)
end
each_moment(function(_, _, _, day, name) want('event', day, name) end)
each_page(function(_, _, day, page) want('page', day, page) end)
for dimension, days in pairs(values) do
  for day, wanted in pairs(days) do days[day] = indexes(dimension, day, wanted) end
end

-- key -> {numbers, how long it is kept, hour and counter field that bound its size}
local counts, marks = {}, {}
local function mark_later(key, numbers, keep, hour, field)
  local known = marks[key]
  if not known then
    marks[key] = {numbers, keep, hour, field, false}
    return
  end
  if not known[5] then
    known[1], known[5] = {unpack(known[1])}, true  -- the list belongs to others, too
  end
  for _, number in ipairs(numbers) do table.insert(known[1], number) end
end
local function count(hour, field, by)
  counts[hour] = counts[hour] or {}
  add(counts[hour], field, by)
end
each_moment(function(numbers, minute, hour, day, name)
  local event = 'E' .. values.event[day][name]
  count(hour, 'e', #numbers)
  count(hour, event, #numbers)
  local by_hour, by_minute = prefix .. ':b:h' .. hour .. ':', prefix .. ':b:m' .. minute .. ':'
  mark_later(by_hour .. 'a', numbers, KEEP_HOUR, hour, 'e')
  mark_later(by_hour .. event, numbers, KEEP_HOUR, hour, event)
  mark_later(by_minute .. 'a', numbers, KEEP_MINUTE)
  mark_later(by_minute .. event, numbers, KEEP_MINUTE)
end)
each_page(function(numbers, hour, day, page, is_pageview)
  local index = values.page[day][page]
  count(hour, 'A' .. index, #numbers)
  if is_pageview == '1' then
    count(hour, 'v', #numbers)
    count(hour, 'V' .. index, #numbers)
  end
  mark_later(prefix .. ':b:h' .. hour .. ':P' .. index, numbers, KEEP_HOUR, hour, 'A' .. index)
end)
local before = {}
for hour, fields in pairs(counts) do
  before[hour] = add_up(prefix .. ':c:' .. hour, fields, KEEP_HOUR)
end
for key, wanted in pairs(marks) do
  local numbers, keep, hour, field = wanted[1], wanted[2], wanted[3], wanted[4]
  mark(key, numbers, keep, hour and before[hour][field])
end
if #seen_order > 0 then show_online() end

for i = 0, refusals - 1 do
  local at = first_refusal + 2 * i
  add(ledger, 'r.' .. ARGV[at], tonumber(ARGV[at + 1]))
end
add_up(prefix .. ':l:' .. (math.floor(now / 3600000) * HOUR), ledger, KEEP_LEDGER)

return {'ok', highest, table.concat(verdicts)}
