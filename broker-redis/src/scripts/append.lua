-- Appends a record to a log and sends it to those who follow the feed, or finds the one that an earlier attempt left.
--
-- KEYS  the end of the log; its stream
-- ARGV  1 tag, 2 number of entries, 3 body, 4 birth for a new log, 5 entries to keep, 6 life of the end, 7 life of the
--       stream, 8 channel, 9 PUBLISH or SPUBLISH, 10 the node's time
--       and for another attempt: 11 offset and 12 proof of the end that the node knew, 13 writer, 14 patience
--
-- The end: birth (8), offset of the last entry (16), its proof (13), time at which the life of the stream ends.
-- A record: birth (8), offset of its first entry (16), proof before it (13), its proof (13), body. Its id in the stream
-- is the offset of its last entry.
--
-- Every call and every string that is made costs: most appends make four calls, and leave what is there in place.
local call, sub, format, number, keys, argv = redis.call, string.sub, string.format, tonumber, KEYS, ARGV

local birth, top, base, due = argv[4], 0, '0000000000000', nil
local log_end = call('GET', keys[1])
if log_end then
    birth, top, base, due = sub(log_end, 1, 8), number(sub(log_end, 9, 24)), sub(log_end, 25, 37), number(sub(log_end, 38))
    if not (top and due) then return { err = 'NOTALOG no node has written the end of the log that is at ' .. keys[1] } end
else
    call('UNLINK', keys[2])
end

if argv[11] then
    local stream, first_of = keys[2], function(record) return number(sub(record, 9, 24)) end

    -- Returns what `fits` returns for the first record from `id` on for which it returns something.
    local function find(id, fits)
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
    local function is_known(offset, proof)
        local entry = call('XRANGE', stream, format('%.0f', offset), '+', 'COUNT', 1)[1]
        if not entry then return top == offset and base == proof end
        local record = entry[2][2]
        local first = first_of(record)
        if first == offset + 1 then return sub(record, 25, 37) == proof end
        return first and first <= offset and sub(record, 38, 50) == proof
    end

    -- Returns true if all records that came after the draft was made are there: the oldest is well older than it.
    local function reaches_back(time, patience)
        local entry = call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
        if not entry then return top == 0 end
        local record = entry[2][2]
        if first_of(record) == 1 then return true end
        return #record > 75 and struct.unpack('<I8', record, 68) + patience < time
    end

    local offset, writer = number(argv[11]), argv[13]
    local known = is_known(offset, argv[12])
    local found = find(known and format('%.0f', offset + 1) or '-', function(record, id)
        if sub(record, 52, 67) ~= writer then return nil end
        return sub(record, 1, 8) .. format('%016.0f', number(string.match(id, '^%d+'))) .. sub(record, 38, 50)
    end)
    if found then
        -- Where a right is missing, an earlier attempt may have come no further than the stream.
        if number(sub(found, 9, 24)) > top then call('SET', keys[1], found .. '0', 'PX', argv[6]) end
        return found
    end
    if not known and not reaches_back(number(argv[10]), number(argv[14])) then return '?' end
end

local count, now, life = number(argv[2]), number(argv[10]), number(argv[7])
local last = top + count
local id = format('%016.0f', last)
local proof = sub(redis.sha1hex(base .. argv[1]), 1, 13)
local record = birth .. format('%016.0f', top + 1) .. base .. proof .. argv[3]

-- The stream comes first: if that is refused, nothing was written. It is trimmed, and the lives of both keys are set, where
-- a multiple of 16 is passed; also by what is large, by who keeps entries for another time, after an eighth of the life in
-- logs that are slow, and where there is no stream.
local is_quick = due and last % 16 >= count and #argv[3] <= 4096 and due - now <= life and due - now >= life * 7 / 8
if is_quick and call('XADD', keys[2], 'NOMKSTREAM', id, 'r', record) then
    call('SETRANGE', keys[1], 8, id .. proof)
else
    local keep_from = format('%.0f', math.max(last - argv[5] + 1, 0))
    call('XADD', keys[2], 'MINID', '~', keep_from, id, 'r', record)
    call('PEXPIRE', keys[2], argv[7])
    call('SET', keys[1], birth .. id .. proof .. format('%.0f', now + life), 'PX', argv[6])
end
call(argv[9], argv[8], record)
return birth .. id .. proof
