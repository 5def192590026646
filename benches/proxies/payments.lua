-- wrk's requests: payments whose ids never repeat. The argument after `--` is the run's seed, so
-- that no two runs share an id. All requests have one length, so the head is built once.
-- Statuses are not looked at here: a response function makes wrk build a table of headers for
-- every answer, which costs more than the request. wrk itself counts those from 400 on, and the
-- script compares with what the upstream saw.

local threads = 0
local head
local tail = '","amount":19.90}'
local counter = 0
local prefix

function setup(thread)
   thread:set("thread_number", threads)
   threads = threads + 1
end

function init(args)
   local seed = tonumber(args[1] or "1")
   prefix = string.format('{"correlationId":"%08x-%04x-4000-8000-', seed, thread_number)
   local length = #prefix + 12 + #tail
   head = "POST /payments HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port ..
      "\r\nContent-Type: application/json\r\nContent-Length: " .. length .. "\r\n\r\n"
   prefix = head .. prefix
end

function request()
   counter = counter + 1
   return prefix .. string.format("%012x", counter) .. tail
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"answers":%d,"seconds":%.6f,"bad_statuses":%d,"broken":%d,' ..
      '"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
