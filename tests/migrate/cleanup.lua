-- A cleanup as users write it: one script for everything. For the tests of docs/migrate.md, not for use.
-- redis-cli --eval cleanup.lua , 600 0: the threshold in seconds, and 1 for a dry run.
-- Its known faults are those of such scripts, and are marked; none was added on purpose.
local threshold = tonumber(ARGV[1]) or 600
local dry_run = ARGV[2] == '1'
local now = tonumber(redis.call('TIME')[1])

local checked, stale, doomed = 0, {}, {}
-- Fault: the server serves nobody until the script is over.
for _, heartbeat in ipairs(redis.call('KEYS', 'blocking:heartbeat:*')) do
  checked = checked + 1
  -- Fault: a heartbeat that is no string ends the script.
  local ok, beat = pcall(cjson.decode, redis.call('GET', heartbeat))
  local ms = ok and type(beat) == 'table' and tonumber(beat.timestamp)
  -- Fault: seconds are taken for milliseconds.
  if ms and now - math.floor(ms / 1000) > threshold then
    local id = string.sub(heartbeat, #'blocking:heartbeat:' + 1)
    stale[#stale + 1] = id
    -- Faults: the id is a pattern here, and part of other ids; two walks over all keys for every stale coordinator.
    for _, pattern in ipairs({ 'blocking:ack:' .. id .. ':*', 'blocking:idempotency:*' .. id .. '*' }) do
      for _, key in ipairs(redis.call('KEYS', pattern)) do doomed[#doomed + 1] = key end
    end
    doomed[#doomed + 1] = 'blocking:signal:' .. id
    doomed[#doomed + 1] = 'coordinator:activity:' .. id
    doomed[#doomed + 1] = heartbeat
  end
end

-- Fault: unpack takes some 8,000 names and no more.
local deleted = #doomed
if deleted > 0 and not dry_run then deleted = redis.call('DEL', unpack(doomed)) end
return cjson.encode({
  totalCoordinatorsChecked = checked,
  staleCoordinatorsFound = #stale,
  keysDeleted = deleted,
  staleCoordinatorIds = stale,
})
