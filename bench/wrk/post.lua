-- The same task again and again; at the end one line of JSON.
wrk.method = "POST"
wrk.body = '{"type":"nothing","payload":{"n":5}}'
wrk.headers["Content-Type"] = "application/json"

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"answers":%d,"seconds":%.6f,"bad":%d,"p50":%.6f,"p99":%.6f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
