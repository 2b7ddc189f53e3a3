-- The requests that differ, by the word after the URL: what loads.py calls "vary". Without one, all are the same.
local browsers = {
  { ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
    ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ["Accept-Language"] = "en-US,en;q=0.5", ["Accept-Encoding"] = "gzip, deflate, br",
    ["Upgrade-Insecure-Requests"] = "1", ["Sec-Fetch-Dest"] = "document", ["Sec-Fetch-Mode"] = "navigate",
    ["Sec-Fetch-Site"] = "none", ["Sec-Fetch-User"] = "?1" },
  { ["User-Agent"] = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36",
    ["sec-ch-ua"] = '"Chromium";v="118", "Google Chrome";v="118", "Not=A?Brand";v="99"', ["sec-ch-ua-mobile"] = "?0",
    ["sec-ch-ua-platform"] = '"Windows"', ["Accept"] = "*/*", ["Accept-Language"] = "de-DE,de;q=0.9,en;q=0.8",
    ["Accept-Encoding"] = "gzip, deflate, br", ["Referer"] = "https://www.example.com/news/",
    ["Sec-Fetch-Dest"] = "script", ["Sec-Fetch-Mode"] = "no-cors", ["Sec-Fetch-Site"] = "same-origin" },
  { ["User-Agent"] = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1",
    ["Accept"] = "image/webp,image/avif,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    ["Accept-Language"] = "fr-FR,fr;q=0.9", ["Accept-Encoding"] = "gzip, deflate, br",
    ["Referer"] = "https://www.example.com/", ["Cookie"] = "sid=8f14e45fceea167a; theme=dark; consent=1" },
  { ["User-Agent"] = "curl/7.88.1", ["Accept"] = "*/*" },
}
local next_request = 0

function init(arguments)
  local vary = arguments[1]
  if vary == "browsers" then
    local formatted = {}
    for at, headers in ipairs(browsers) do
      headers["Host"] = wrk.headers["Host"]
      formatted[at] = wrk.format("GET", wrk.path, headers)
    end
    request = function()
      next_request = next_request % #formatted + 1
      return formatted[next_request]
    end
  elseif vary == "cookies" then
    request = function()
      next_request = next_request + 1
      return wrk.format("GET", wrk.path, { ["Host"] = wrk.headers["Host"], ["Cookie"] = "sid=" .. next_request })
    end
  elseif vary == "pipelined" then
    local sixteen = string.rep(wrk.format("GET", wrk.path), 16)
    request = function()
      return sixteen
    end
  elseif vary == "proxied" then
    wrk.headers["Host"] = arguments[2]
    wrk.path = "http://" .. arguments[2] .. wrk.path
  elseif string.sub(vary, 1, 6) == "paths " then
    local formatted = {}
    for path in string.gmatch(string.sub(vary, 7), "%S+") do
      table.insert(formatted, wrk.format("GET", path))
    end
    request = function()
      next_request = next_request % #formatted + 1
      return formatted[next_request]
    end
  elseif vary == "urls" then
    request = function()
      next_request = next_request + 1
      return wrk.format("GET", wrk.path .. "?n=" .. next_request)
    end
  end
end

-- What wrk counted, in one line for loads.py: requests, microseconds, then its errors by kind.
function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format("RESULT %d %d %d %d %d %d %d", summary.requests, summary.duration,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
