-- Exchanges between a replica and limits that several share, of which each has a key
-- and 14 arguments. All of a limit is one hash: what was used (level), since when it
-- is remembered (born), and for each replica what it holds, what it has used in all,
-- and until when it holds it. Returns five numbers for each.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function exchange(key, me, mode, size, unit, keep, need, want, charge, apart, acked, held, known, seed, last)
  size, unit, keep, need, want = tonumber(size), tonumber(unit), tonumber(keep), tonumber(need), tonumber(want)
  charge, apart, acked, held = tonumber(charge), tonumber(apart), tonumber(acked), tonumber(held)
  seed, last = tonumber(seed), tonumber(last)
  local at = mode == 'flow' and now or 0 -- where a level begins that says nothing is used

  local raw = redis.pcall('HGETALL', key)
  if raw.err then
    if not string.find(raw.err, 'WRONGTYPE', 1, true) then return raw end
    redis.call('DEL', key)
    raw = {}
  end

  local level, born, mine
  local others, replicas, lost = 0, 1, 0
  for i = 1, #raw, 2 do
    local field, value = raw[i], raw[i + 1]
    if field == 'level' then
      level = string.match(value, '^%-?%d+%.%d+$') and tonumber(value)
    elseif field == 'born' then
      born = string.match(value, '^[1-9]%d*$')
    else
      local holds, used, ends = string.match(value, '^(%d+) (%-?%d+) (%d+)$')
      holds, used, ends = tonumber(holds), tonumber(used), tonumber(ends)
      if field == me and holds then
        mine = used
      elseif not holds or ends <= now and (holds == 0 or mode == 'slots') then
        redis.call('HDEL', key, field)
      elseif ends <= now then -- what it held may have been used; if it comes back soon, it will say
        lost = lost + holds
        redis.call('HSET', key, field, string.format('0 %.0f %.0f', used + holds, now + 2000000))
      elseif holds > 0 then
        others, replicas = others + holds, replicas + 1
      end
    end
  end
  if not level or not born or #born > 16 then
    level, born = at, string.format('%.0f', now)
  end

  if mode ~= 'slots' then
    local new = charge - (mine or acked)
    apart = math.max(0, math.min(apart, new))
    new = new - apart
    if born ~= known then -- what the replica knows has in it what all have taken from their shares
      level, apart = math.max(level, at + seed), 0
    elseif not mine then
      new = math.max(0, new - held) -- all of it was counted as used
    end
    new = new + lost
    if new + apart > 0 then level = math.max(level, at) end
    level = level + new * unit
    -- Shares are paid back, but nobody waits for that longer than five seconds.
    level = math.max(level, math.min(level + apart * unit, at + size * unit + 5000000))
  end
  if mode == 'flow' then level = math.min(level, now + 100 * size * unit) end

  local free = size - math.max(0, level - at) / unit - others
  local lot = 0 -- what is worth an exchange
  if mode == 'flow' then lot = 150000 / unit / replicas end
  if mode == 'sum' then lot = size / 4096 / replicas end
  lot = math.max(1, math.ceil(lot))
  local total = keep
  if need > free then
    total = math.min(lot, free)
  elseif want >= 0 then
    total = math.min(free, math.max(need, keep + math.min(want - keep, (free - keep) / (2 * replicas)), lot))
  end
  total = math.max(keep, math.floor(total))

  local ends = now + (total > 0 and 800000 or 10000000)
  redis.call('HSET', key, 'level', string.format('%.3f', level), 'born', born,
    me, string.format('%.0f %.0f %.0f', total, charge, ends))
  if mode == 'flow' then
    last = (math.max(0, level - now) + size * unit) / 1000 + 10000
  elseif mode == 'slots' then
    last = 60000
  end
  if last > 0 then
    redis.call('PEXPIRE', key, string.format('%.0f', math.min(last, 1e13)))
  else
    redis.call('PERSIST', key)
  end
  return { total, math.ceil(math.max(0, level - at)), others + total, replicas, tonumber(born) }
end

local all = {}
for i, key in ipairs(KEYS) do
  local grant = exchange(key, unpack(ARGV, 14 * i - 13, 14 * i))
  if grant.err then return grant end
  for _, n in ipairs(grant) do table.insert(all, n) end
end
return all
