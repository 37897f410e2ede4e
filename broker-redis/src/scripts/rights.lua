-- Returns the commands that the user may not use; none where the server cannot tell (before 7.0).
--
-- ARGV  commands, each with its words parted by zeros
local missing = {}
if not redis.acl_check_cmd then return missing end
for _, command in ipairs(ARGV) do
    local words = {}
    for word in string.gmatch(command, '[^%z]+') do words[#words + 1] = word end
    local known, may = pcall(redis.acl_check_cmd, unpack(words))
    if not (known and may) then missing[#missing + 1] = command end
end
return missing
