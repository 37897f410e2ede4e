-- Replaces a value by another; returns 0 if it was not that value.
--
-- KEYS  the key
-- ARGV  1 value to replace, 2 value, 3 life
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
