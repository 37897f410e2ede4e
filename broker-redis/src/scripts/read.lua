-- Reads records of a log: its end, the offset of its first entry, and the records from an id on.
--
-- KEYS  the end of the log; its stream
-- ARGV  1 id, 2 bytes: one record at least, and no more than about so many
local log_end = redis.call('GET', KEYS[1])
if not log_end then return {} end
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local out = { log_end, oldest and string.sub(oldest[2][2], 9, 24) or '' }
local id, left = ARGV[1], tonumber(ARGV[2])
while true do
    local page = redis.call('XRANGE', KEYS[2], id, '+', 'COUNT', 16)
    for _, entry in ipairs(page) do
        local record = entry[2][2]
        if #record > left and #out > 2 then return out end
        left = left - #record
        out[#out + 1] = record
    end
    if #page < 16 then return out end
    id = '(' .. page[16][1]
end
