-- For wrk: GET what the command line says, or, given a file of tokens and a file of movie ids, POST
-- ratings of anybody for any movie. The last line of the output is the run's figures as JSON.
--   wrk … -s wrk.lua URL [-- TOKENS MOVIES SEED]

local function lines(name)
  local found = {}
  for line in io.lines(name) do
    found[#found + 1] = line
  end
  return found
end

function init(args)
  if #args == 0 then
    local whole = wrk.format()
    request = function() return whole end
    return
  end
  local tokens, movies = lines(args[1]), lines(args[2])
  math.randomseed(tonumber(args[3]))
  local random = math.random
  request = function()
    local body = '{"rate":' .. random(2, 20) / 2 .. '}'
    return 'POST /movies/' .. movies[random(#movies)] .. '/users/rate HTTP/1.1\r\n'
      .. 'Host: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer '
      .. tokens[random(#tokens)] .. '\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6,
    latency:percentile(99) / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
