-- Stores a value under a key that has none; returns that of another.
--
-- KEYS  the key
-- ARGV  1 value, 2 life
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
