-- The generic cell rate algorithm: KEYS[1] holds when the whole burst is back, or nothing.
-- ARGV: now, microseconds between two, burst. Gives 0, or how long to wait, in microseconds.
local interval, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
-- Never above what a whole burst takes, though another server's clock may have said so.
local arrival = math.min(tonumber(redis.call('GET', KEYS[1])) or now, now + burst * interval)
local debt = math.max(arrival - now, 0) + interval
local wait = debt - burst * interval
if wait > 0 then
    return wait
end
redis.call('SET', KEYS[1], text(now + debt), 'PX', text(math.ceil(debt / 1000)))
return 0
