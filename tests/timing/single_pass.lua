-- What a good script does in one piece: one pass over the keyspace, everything decided in tables, removed in chunks.
-- The yardstick for stalls: the same work as BLOCKING.CLEANUP over the families that the tests load.
-- ARGV[1]: threshold in seconds. Yields the number of keys removed.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest_ms = now_ms - (tonumber(ARGV[1]) + 1) * 1000
local sub, find = string.sub, string.find

local beats, owned = {}, {}
local function own(id, key)
  local keys = owned[id]
  if keys then keys[#keys + 1] = key else owned[id] = { key } end
end

local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 10000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    if sub(key, 1, 9) == 'blocking:' then
      if sub(key, 10, 19) == 'heartbeat:' then
        beats[sub(key, 20)] = key
      elseif sub(key, 10, 16) == 'signal:' then
        own(sub(key, 17), key)
      elseif sub(key, 10, 13) == 'ack:' then
        own(sub(key, 14, (find(key, ':', 14, true) or 0) - 1), key)
      elseif sub(key, 10, 21) == 'idempotency:' then
        own(sub(key, 22, (find(key, ':', 22, true) or 0) - 1), key)
      end
    elseif sub(key, 1, 21) == 'coordinator:activity:' then
      own(sub(key, 22), key)
    elseif sub(key, 1, 6) == 'swarm:' then
      local _, last = find(key, ':blocking:', 7, true)
      if last then own(sub(key, last + 1), key) end
    end
  end
until cursor == '0'

local gone, removed = {}, 0
for id, key in pairs(beats) do
  local value = redis.call('GET', key)
  local ok, beat = pcall(cjson.decode, value)
  local beat_ms = ok and type(beat) == 'table' and tonumber(beat.timestamp)
  if beat_ms and beat_ms <= oldest_ms then
    for _, other in ipairs(owned[id] or {}) do gone[#gone + 1] = other end
    gone[#gone + 1] = key
  end
end
for first = 1, #gone, 5000 do
  removed = removed + redis.call('UNLINK', unpack(gone, first, math.min(first + 4999, #gone)))
end
return removed
