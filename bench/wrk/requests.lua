-- Sends the requests of a file, one after the other and again from the start.
-- wrk -s requests.lua URL -- FILE RUN, where RUN is a number that no other run has.
local COUNTER = "@@@@@@@@@@@@"
local requests, count, position, sent, run = {}, 0, 0, 0, "0"

local function split(raw)
  local parts, from = {}, 1
  while true do
    local at, last = raw:find(COUNTER, from, true)
    parts[#parts + 1] = raw:sub(from, (at or 0) - 1)
    if not at then return #parts > 1 and parts or raw end
    from = last + 1
  end
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  run = args[2]
  for line in file:lines() do
    count = count + 1
    requests[count] = split(file:read(tonumber(line:match("%d+$"))))
  end
  file:close()
end

function request()
  position = position % count + 1
  local raw = requests[position]
  if type(raw) == "string" then return raw end
  sent = sent + 1
  return table.concat(raw, string.format("%05d%07d", run, sent))
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
