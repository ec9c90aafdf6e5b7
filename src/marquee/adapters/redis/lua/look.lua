-- A place for one chart, KEYS[1]. ARGV: now, the query, how long a turn lasts, how long a place is
-- held at least, in microseconds and milliseconds.
-- Gives the chart or nothing, for how long it is fresh, and whether the turn is given.
local place = redis.call('HMGET', KEYS[1], 'query', 'chart', 'fresh_until', 'turn_until')
if place[1] ~= ARGV[2] then
    redis.call('DEL', KEYS[1])
    place = {false, false, false, false}
end
local fresh = place[2] and tonumber(place[3]) - now or 0
if fresh > 0 or (tonumber(place[4]) or 0) > now then
    return {place[2], fresh, 0}
end
redis.call('HSET', KEYS[1], 'query', ARGV[2], 'turn_until', text(now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {place[2], fresh, 1}
