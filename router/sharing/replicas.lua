-- A replica says that it is here, or (ARGV[2]) that it leaves. Whoever has been
-- silent for 5 s is gone. Returns how many there are.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if ARGV[2] == 'leave' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - 5000000))
redis.call('PEXPIRE', KEYS[1], 60000)
return { redis.call('ZCARD', KEYS[1]) }
