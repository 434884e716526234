#!lua flags=no-writes,allow-stale
-- For prometheus-redis-exporter --script=redis-exporter.lua: every field of INFO blocking as redis_script_values{key="..."}.
-- The exporter's user needs +eval and +info for it; the first line lets it work on replicas and while writes are paused.
local reply = {'blocking_module_loaded', '0'}
for name, value in string.gmatch(redis.call('INFO', 'blocking'), '(blocking_[%w_]+):(%d+)') do
  reply[2] = '1'
  reply[#reply + 1] = name
  reply[#reply + 1] = value
end
return reply
