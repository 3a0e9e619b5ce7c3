-- Sends writes that carry the ETag of the answer before about the same user; no user is asked about twice at once.
-- wrk -s if_match.lua URL -- FILE RUN
local TAG = "*$$$$$$$$$$$$$$$$$$$$$$$$$$$$$$$"
local before, after, tags, free, first, last = {}, {}, {}, {}, 1, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for line in file:lines() do
    local user, length = line:match("^(%S+) (%d+)$")
    local raw = file:read(tonumber(length))
    local from, to = raw:find(TAG, 1, true)
    before[user], after[user], tags[user] = raw:sub(1, from - 1), raw:sub(to + 1), "*"
    last = last + 1
    free[last] = user
  end
  file:close()
end

function request()
  local user = free[first]
  free[first] = nil
  first = first + 1
  return before[user] .. tags[user] .. after[user]
end

function response(status, headers, body)
  local user = body:match("user%-%d+")
  if status ~= 200 or not user then return end
  tags[user] = headers["etag"] or headers["ETag"] or headers["Etag"]
  last = last + 1
  free[last] = user
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "microseconds": %d, "bytes": %d, "refused": %d, "broken": %d, '
      .. '"p50": %d, "p99": %d, "p999": %d}\n',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
