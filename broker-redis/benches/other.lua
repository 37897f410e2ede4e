-- The shape of the established script of a history with epoch and offset: a hash, a stream and a publication for one
-- message, without proofs. A publisher that retries has a third key, which remembers the result.
--
-- KEYS  stream, meta, result ('' without one)
-- ARGV  1 message, 2 size, 3 life of the stream, 4 life of meta, 5 epoch for a new one, 6 channel, 7 PUBLISH or SPUBLISH,
--       8 life of the result ('' without one)
local stream, meta, result, message, result_life = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[8]
if result_life ~= '' then
    local known = redis.call('HMGET', result, 'epoch', 'offset')
    if known[1] then return { known[2], known[1], '1' } end
end
local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
    epoch = ARGV[5]
    redis.call('HSET', meta, 'epoch', epoch)
end
local offset = redis.call('HINCRBY', meta, 'offset', 1)
redis.call('EXPIRE', meta, ARGV[4])
-- A new epoch has none of the entries of the old one.
if offset == 1 then redis.call('UNLINK', stream) end
redis.call('XADD', stream, 'MAXLEN', ARGV[2], offset, 'm', message)
redis.call('EXPIRE', stream, ARGV[3])
redis.call(ARGV[7], ARGV[6], 'p:' .. offset .. ':' .. epoch .. ':' .. message)
if result_life ~= '' then
    redis.call('HSET', result, 'epoch', epoch, 'offset', offset)
    redis.call('EXPIRE', result, result_life)
end
return { offset, epoch, '0' }
