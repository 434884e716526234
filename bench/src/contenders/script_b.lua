-- The best script we can write: one walk over the keyspace, decisions in tables, removal in chunks.
-- It does what BLOCKING.CLEANUP does for ids without a colon: the newest of three time fields counts, in JSON or as a
-- bare number; an idempotency key goes only if neither of the two coordinators it names is alive.
-- ARGV[1]: threshold in seconds. Returns the number of keys removed.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest_ms = now_ms - (tonumber(ARGV[1]) + 1) * 1000
local call, sub, find, byte, decode = redis.call, string.sub, string.find, string.byte, cjson.decode

local beats, owned, shared = {}, {}, {}
local function own(id, key)
  local keys = owned[id]
  if keys then keys[#keys + 1] = key else owned[id] = { key } end
end

-- The first letter tells most foreign keys apart, without making a string.
local B, C, S = byte('bcs', 1, 3)
local cursor = '0'
repeat
  local page = call('SCAN', cursor, 'COUNT', 10000)
  cursor = page[1]
  local keys = page[2]
  for n = 1, #keys do
    local key = keys[n]
    local first = byte(key, 1)
    if first == B then
      if sub(key, 1, 9) == 'blocking:' then
        if sub(key, 10, 19) == 'heartbeat:' then
          beats[sub(key, 20)] = key
        elseif sub(key, 10, 16) == 'signal:' then
          own(sub(key, 17), key)
        elseif sub(key, 10, 13) == 'ack:' then
          own(sub(key, 14, (find(key, ':', 14, true) or 0) - 1), key)
        elseif sub(key, 10, 21) == 'idempotency:' then
          shared[#shared + 1] = key
        end
      end
    elseif first == C then
      if sub(key, 1, 21) == 'coordinator:activity:' then own(sub(key, 22), key) end
    elseif first == S and sub(key, 1, 6) == 'swarm:' then
      local _, last = find(key, ':blocking:', 7, true)
      if last then own(sub(key, last + 1), key) end
    end
  end
until cursor == '0'

local function newest_ms(value)
  local ok, beat = pcall(decode, value)
  if not ok then return nil end
  if type(beat) == 'number' then return beat end
  if type(beat) ~= 'table' then return nil end
  local newest
  for _, field in ipairs({ 'timestamp', 'lastHeartbeat', 'last_heartbeat' }) do
    local ms = tonumber(beat[field])
    if ms and (not newest or ms > newest) then newest = ms end
  end
  return newest
end

local gone, stale = {}, {}
for id, key in pairs(beats) do
  local value = call('GET', key)
  local beat_ms = value and newest_ms(value)
  if beat_ms and beat_ms <= oldest_ms then
    stale[id] = true
    local keys = owned[id]
    if keys then
      for n = 1, #keys do gone[#gone + 1] = keys[n] end
    end
    gone[#gone + 1] = key
  end
end
for n = 1, #shared do
  local key = shared[n]
  local colon = find(key, ':', 22, true) or #key + 1
  local sender = sub(key, 22, colon - 1)
  local receiver = sub(key, colon + 1, (find(key, ':', colon + 1, true) or 0) - 1)
  if (stale[sender] or not beats[sender]) and (stale[receiver] or not beats[receiver])
      and (stale[sender] or stale[receiver]) then
    gone[#gone + 1] = key
  end
end

local removed = 0
for first = 1, #gone, 5000 do
  removed = removed + call('UNLINK', unpack(gone, first, math.min(first + 4999, #gone)))
end
return removed
