-- The same task again and again, each answer looked at: it must say that the task is done. At the end one line of JSON.
wrk.method = "POST"
wrk.body = '{"type":"nothing","payload":{"n":5}}'
wrk.headers["Content-Type"] = "application/json"
bad = 0
local thread

function setup(t)
  thread = t
end

function response(status, headers, body)
  if status ~= 200 or not string.find(body, '"done","result":5', 1, true) then
    bad = bad + 1
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"answers":%d,"seconds":%.6f,"bad":%d,"p50":%.6f,"p99":%.6f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout + thread:get("bad"),
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
