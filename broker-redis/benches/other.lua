-- A stand-in for the usual script of a history with epoch and offset, in a hash and a stream: no proof, one message.
--
-- KEYS  meta, stream
-- ARGV  1 message, 2 size, 3 life of the stream, 4 life of meta, 5 epoch for a new one, 6 channel
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
    epoch = ARGV[5]
    redis.call('HSET', KEYS[1], 'epoch', epoch)
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], offset, 'm', ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', ARGV[6], offset .. ':' .. epoch .. ':' .. ARGV[1])
return { offset, epoch }
