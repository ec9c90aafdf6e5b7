-- The ten in KEYS[1]. ARGV: now, when it was refreshed, the chart.
local kept = tonumber(redis.call('HGET', KEYS[1], 'refreshed_at')) or 0
if tonumber(ARGV[2]) >= kept then
    redis.call('HSET', KEYS[1], 'refreshed_at', ARGV[2], 'chart', ARGV[3])
end
