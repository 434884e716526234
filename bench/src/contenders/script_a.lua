-- The usual script: finds the heartbeats, and for each stale coordinator looks for its keys. That takes two walks over
-- the whole keyspace for every stale coordinator, and every key it deletes goes through unpack.
-- ARGV[1]: threshold in seconds. ARGV[2]: the swarm. It is given, so that state keys need no third walk.
local time = redis.call('TIME')
local now_s = tonumber(time[1])

local function find(pattern, into)
  local cursor = '0'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 10000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do into[#into + 1] = key end
  until cursor == '0'
end

local heartbeats = {}
find('blocking:heartbeat:*', heartbeats)
if #heartbeats == 0 then return 0 end
local values = redis.call('MGET', unpack(heartbeats))

local doomed = {}
for n, heartbeat in ipairs(heartbeats) do
  local ms = values[n] and string.match(values[n], '"timestamp":(%d+)')
  if ms and now_s - math.floor(tonumber(ms) / 1000) > tonumber(ARGV[1]) then
    local id = string.sub(heartbeat, #'blocking:heartbeat:' + 1)
    find('blocking:ack:' .. id .. ':*', doomed)
    find('blocking:idempotency:*' .. id .. ':*', doomed)
    doomed[#doomed + 1] = 'blocking:signal:' .. id
    doomed[#doomed + 1] = 'coordinator:activity:' .. id
    doomed[#doomed + 1] = 'swarm:' .. ARGV[2] .. ':blocking:' .. id
    doomed[#doomed + 1] = heartbeat
  end
end

local removed = 0
for first = 1, #doomed, 10000 do
  local last = math.min(first + 9999, #doomed)
  removed = removed + redis.call('DEL', unpack(doomed, first, last))
end
return removed
