-- Appends a record to a log and sends it to those who follow the feed, or finds the one that an earlier attempt left.
--
-- KEYS  the end of the log; its stream
-- ARGV  1 tag, 2 number of entries, 3 body, 4 birth for a new log, 5 entries to keep, 6 first offset that must stay,
--       7 life of the end, 8 life of the stream, 9 channel, 10 PUBLISH or SPUBLISH, 11 the node's time
--       and for another attempt: 12 offset and 13 proof of the end that the node knew, 14 writer, 15 patience
--
-- The end: birth (8), offset of the last entry (16), its proof (13), time at which the stream's life was set.
-- A record: birth (8), offset of its first entry (16), proof before it (13), its proof (13), body. Its id in the stream
-- is the offset of its last entry and its proof, so a position is an id.
local call, sub, format, number = redis.call, string.sub, string.format, tonumber

-- Returns what `fits` returns for the first record from `id` on for which it returns something.
local function find(stream, id, fits)
    while true do
        local page = call('XRANGE', stream, id, '+', 'COUNT', 64)
        for _, entry in ipairs(page) do
            local found = fits(entry[2][2], entry[1])
            if found then return found end
        end
        if #page < 64 then return nil end
        id = '(' .. page[64][1]
    end
end

-- Returns true if the log has the end that the node knew: then all that came behind it is there.
local function is_known(stream, offset, proof, top, top_proof)
    local entry = call('XRANGE', stream, format('%.0f', offset), '+', 'COUNT', 1)[1]
    if not entry then return top == offset and top_proof == proof end
    local first = number(sub(entry[2][2], 9, 24))
    if first == offset + 1 then return sub(entry[2][2], 25, 37) == proof end
    return first <= offset and sub(entry[2][2], 38, 50) == proof
end

-- Returns true if all records that came after the draft was made are there: the oldest is well older than it.
local function reaches_back(stream, top, time, patience)
    local entry = call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not entry then return top == 0 end
    if number(sub(entry[2][2], 9, 24)) == 1 then return true end
    return struct.unpack('<I8', entry[2][2], 68) + patience < time
end

local birth, top, base, kept = ARGV[4], 0, '0000000000000', 0
local log_end = call('GET', KEYS[1])
if log_end then
    birth, top, base, kept = sub(log_end, 1, 8), number(sub(log_end, 9, 24)), sub(log_end, 25, 37), number(sub(log_end, 38))
else
    call('UNLINK', KEYS[2])
end

if ARGV[12] then
    local offset, proof, writer = number(ARGV[12]), ARGV[13], ARGV[14]
    local known = is_known(KEYS[2], offset, proof, top, base)
    local found = find(KEYS[2], known and format('%.0f', offset + 1) or '-', function(record, id)
        if sub(record, 52, 67) ~= writer then return nil end
        return sub(record, 1, 8) .. format('%016.0f', number(string.match(id, '^%d+'))) .. sub(record, 38, 50)
    end)
    if found then return found end
    if not known and not reaches_back(KEYS[2], top, number(ARGV[11]), number(ARGV[15])) then return '?' end
end

local last = top + ARGV[2]
local proof = sub(redis.sha1hex(base .. ARGV[1]), 1, 13)
local record = birth .. format('%016.0f', top + 1) .. base .. proof .. ARGV[3]
local keep_from = math.max(last - ARGV[5] + 1, ARGV[6], 0)
call('XADD', KEYS[2], 'MINID', '~', format('%.0f', keep_from), format('%.0f-%.0f', last, number(proof, 16)), 'r', record)

-- The life of the stream is renewed every 16 entries, and after a quarter of its time for logs that are slow.
local now = number(ARGV[11])
if math.floor(last / 16) ~= math.floor(top / 16) or now < kept or now - kept > ARGV[8] / 8 then
    call('PEXPIRE', KEYS[2], ARGV[8])
    kept = now
end
local at = birth .. format('%016.0f', last) .. proof
call('SET', KEYS[1], at .. format('%.0f', kept), 'PX', ARGV[7])
call(ARGV[10], ARGV[9], record)
return at
