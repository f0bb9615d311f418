-- One gate of all machines, in one step: who may go in, and when. Time is this server's alone.
--
-- KEYS[1]  the gate's state, a hash: see `state` below; all times are whole microseconds
-- KEYS[2]  the entries of the last day, a hash: how many, by the minute
-- ARGV[1]  "enter" or "close"
--
-- close: ARGV[2] how long, in microseconds. Every turn that was given out is void.
--
-- enter: ARGV[2] spacing of entries, in microseconds, 0 for none, and [3] how much of it may go at
--        once; [4] spacing of tokens, [5] likewise, [6] the tokens of this entry; [7] epoch and [8]
--        time of the turn that the caller has, 0 for none; [9] entries a day, 0 for any number;
--        from [10] on, where a day is one of the calendar, its borders in seconds since 1970.
-- Answers: {"in"}, {"wait", microseconds, epoch, time} with a turn, {"closed", microseconds},
--        {"spent", microseconds}.
--
-- Entries are spaced by the generic cell rate algorithm: `next` is when the next one is due if all
-- are evenly spaced. A caller that has to wait gets a turn at once and comes again when it is due:
-- so callers go in by the order in which they asked, and none can be overtaken for ever. One that
-- dies leaves a gap of one turn.

local GRACE = 5000000       -- a turn is void when it is used later than this
local LAPSE = 120000000     -- a lower limit holds for so long after the last caller that named it
local KEPT = 3600000000     -- a gate without callers is forgotten after this
local DAY, MINUTE = 86400, 60

local clock = redis.call("TIME")
local now = clock[1] * 1000000 + clock[2]
local names = {"seen", "epoch", "closed", "next", "next_token",
               "spacing", "spaced", "token_spacing", "token_spaced"}
local state = {}
for place, value in ipairs(redis.call("HMGET", KEYS[1], unpack(names))) do
  state[names[place]] = tonumber(value or 0)
end

local function void_turns()
  state.epoch = math.max(state.epoch + 1, now)
end

-- A server whose clock was put back, or that took over from another one.
if state.seen > now then
  local back = state.seen - now
  for _, name in ipairs({"closed", "next", "next_token", "spaced", "token_spaced"}) do
    state[name] = state[name] - back
  end
  void_turns()
elseif state.epoch == 0 then
  void_turns()
end
state.seen = now

local function keep()
  local flat = {}
  for _, name in ipairs(names) do
    flat[#flat + 1] = name
    flat[#flat + 1] = string.format("%.0f", state[name])
  end
  redis.call("HSET", KEYS[1], unpack(flat))
  local last = math.max(now, state.closed, state.next, state.next_token)
  redis.call("PEXPIRE", KEYS[1], string.format("%.0f", (last - now + KEPT) / 1000))
end

if ARGV[1] == "close" then
  local until_ = now + tonumber(ARGV[2])
  if until_ > state.closed then
    state.closed = until_
    -- Who comes next lines up behind the closure.
    state.next, state.next_token = until_, until_
    void_turns()
  end
  keep()
  return {"closed", state.closed - now}
end

-- The lowest of the limits that callers have named lately.
local function lowest(limit, since, given, due)
  local lapse = LAPSE + 2 * math.max(0, state[due] - now)
  if given >= state[limit] or now - state[since] > lapse then
    state[limit], state[since] = given, now
  end
  return state[limit]
end

local spacing = lowest("spacing", "spaced", tonumber(ARGV[2]), "next")
local at_once = tonumber(ARGV[3])
local token_spacing = lowest("token_spacing", "token_spaced", tonumber(ARGV[4]), "next_token")
local tokens_at_once = tonumber(ARGV[5])
local cost = token_spacing * tonumber(ARGV[6])

if state.closed > now then
  keep()
  return {"closed", state.closed - now}
end

-- The day: nil where there is room, else the microseconds until there is.
local minute = math.floor(now / 1000000 / MINUTE)
local function until_room(most)
  local seconds = now / 1000000
  local begins, ends = seconds - DAY - MINUTE, nil
  for place = 10, #ARGV do
    local border = tonumber(ARGV[place])
    if border <= seconds then begins = border else ends = math.min(ends or border, border) end
  end
  local minutes, total, stored = {}, 0, redis.call("HGETALL", KEYS[2])
  for place = 1, #stored, 2 do
    local then_ = tonumber(stored[place])
    if then_ * MINUTE < begins then
      redis.call("HDEL", KEYS[2], stored[place])
    else
      minutes[#minutes + 1] = {then_, tonumber(stored[place + 1])}
      total = total + tonumber(stored[place + 1])
    end
  end
  if total < most then return nil end
  if ends then return (ends - seconds) * 1000000 end
  table.sort(minutes, function(one, other) return one[1] < other[1] end)
  for _, pair in ipairs(minutes) do
    total = total - pair[2]
    if total < most then return ((pair[1] + 1) * MINUTE + DAY - seconds) * 1000000 + 1 end
  end
end

local most = tonumber(ARGV[9])
local spent = most > 0 and until_room(most)
if spent then
  keep()
  return {"spent", spent}
end

local due
local epoch, turn = tonumber(ARGV[7]), tonumber(ARGV[8])
if epoch == state.epoch and now - turn <= GRACE + spacing then
  due = turn
else
  due = math.max(
    now,
    state.next - math.max(0, at_once - spacing),
    state.next_token + cost - math.max(tokens_at_once, cost)
  )
  state.next = math.max(state.next, due) + spacing
  state.next_token = math.max(state.next_token, due) + cost
end
keep()
if due > now then
  return {"wait", due - now, string.format("%.0f", state.epoch), string.format("%.0f", due)}
end
if most > 0 then
  redis.call("HINCRBY", KEYS[2], string.format("%.0f", minute), 1)
  redis.call("EXPIRE", KEYS[2], DAY + 2 * MINUTE)
end
return {"in"}
