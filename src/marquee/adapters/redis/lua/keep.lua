-- A place for one chart, KEYS[1]. ARGV: now, the query, how long it is fresh, in microseconds, how
-- long a place is held at least, in milliseconds, when it was refreshed, the chart; these last two
-- are left out where it could not be drawn.
local place = redis.call('HMGET', KEYS[1], 'query', 'refreshed_at')
local ours = place[1] == ARGV[2]
if not ARGV[6] or (ours and (tonumber(place[2]) or 0) > tonumber(ARGV[5])) then
    if ours then
        redis.call('HDEL', KEYS[1], 'turn_until')
    end
    return
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'query', ARGV[2], 'fresh_until', text(now + ARGV[3]),
    'refreshed_at', ARGV[5], 'chart', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
