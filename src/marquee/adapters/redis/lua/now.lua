-- The time in microseconds, as it is given, or else the server's own.
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end

-- A whole number as a text: Lua's own would be 1.7e+15.
local function text(number)
    return string.format('%.0f', number)
end

