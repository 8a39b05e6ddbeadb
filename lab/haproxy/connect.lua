-- What a region's TLS endpoint does with each MQTT CONNECT: counts it against AWS IoT Core's quotas, and tells the broker
-- whose it is, since only the endpoint sees the client's certificate.
--
-- The variable QUOTAS of the environment names a file that the AWS API stand-in writes: a quota and its rate a line.
--
-- The user name of the CONNECT becomes "CERTIFICATE EXPIRY WILL": the certificate's ID; the seconds that the session
-- outlives the connection; and the will's topic with "w" before it, "r" where it is retained, or "-" for no will. AWS IoT
-- Core does not heed a user name beside a certificate. The password goes.
--
-- Source: OASIS, "MQTT Version 3.1.1" and "MQTT Version 5.0", 3.1.

local QUOTAS = assert(os.getenv("QUOTAS"), "no QUOTAS in the environment")
-- A request has to fit into a buffer of HAProxy with what is added to it.
local LONGEST = 15000
-- AWS General Reference, "AWS IoT Core endpoints and quotas": persistent session expiry period, seconds.
local SESSION_EXPIRY = 3600
-- Return codes: MQTT 3.1.1 has none for a quota; "server unavailable" is what comes nearest.
local UNAVAILABLE, QUOTA_EXCEEDED = 3, 0x97
-- MQTT 5, 2.2.2.2: how long the values of the properties of CONNECT are; true: they begin with their length.
local PROPERTIES = {
    [0x11] = 4, [0x15] = true, [0x16] = true, [0x17] = 1, [0x19] = 1, [0x21] = 2, [0x22] = 2, [0x27] = 4,
}
local SESSION_EXPIRY_PROPERTY, USER_PROPERTY = 0x11, 0x26

local account = {tokens = nil, at = 0}
-- When each client connected, in seconds, of the last second and some.
local clients, number_of_clients = {}, 0

local Reader = {}
Reader.__index = Reader

function Reader:byte()
    return self:take(1):byte()
end

function Reader:number(bytes)
    return (string.unpack(">I" .. bytes, self:take(bytes)))
end

function Reader:take(length)
    local from = self.at
    self.at = from + length
    assert(self.at <= #self.text + 1, "a packet that ends too early")
    return self.text:sub(from, self.at - 1)
end

function Reader:field()
    return self:take(self:number(2))
end

-- A variable byte integer.
function Reader:length()
    local value, shift = 0, 0
    repeat
        local byte = self:byte()
        value = value | (byte & 0x7f) << shift
        shift = shift + 7
    until byte < 0x80 or shift > 21
    return value
end

-- The session's expiry among the properties of a CONNECT.
local function expiry_of(text)
    local reader, expiry = setmetatable({text = text, at = 1}, Reader), 0
    while reader.at <= #text do
        local property = reader:byte()
        if property == USER_PROPERTY then
            reader:field()
            reader:field()
        elseif property == SESSION_EXPIRY_PROPERTY then
            expiry = reader:number(4)
        else
            local size = assert(PROPERTIES[property], "a property that CONNECT does not have")
            reader:take(size == true and reader:number(2) or size)
        end
    end
    return math.min(expiry, SESSION_EXPIRY)
end

local function length_of(number)
    local bytes = {}
    repeat
        local rest = number >> 7
        bytes[#bytes + 1] = string.char(number & 0x7f | (rest > 0 and 0x80 or 0))
        number = rest
    until number == 0
    return table.concat(bytes)
end

-- A CONNECT without its fixed header, as what is in it and what the broker is to have in its place.
local function parse(content)
    local reader = setmetatable({text = content, at = 1}, Reader)
    reader:field()
    local level = reader:byte()
    local flags_at = reader.at
    local flags = reader:byte()
    reader:number(2)
    local expiry = flags & 0x02 == 0 and SESSION_EXPIRY or 0
    if level >= 5 then
        expiry = expiry_of(reader:take(reader:length()))
    end
    local client_id = reader:field()
    local will = "-"
    if flags & 0x04 ~= 0 then
        if level >= 5 then
            reader:take(reader:length())
        end
        will = (flags & 0x20 ~= 0 and "r" or "w") .. reader:field()
        reader:field()
    end
    local kept_to = reader.at - 1
    if flags & 0x80 ~= 0 then
        reader:field()
    end
    if flags & 0x40 ~= 0 then
        reader:field()
    end
    assert(reader.at == #content + 1, "more than there is in a CONNECT")
    local head = content:sub(1, flags_at - 1) .. string.char(flags & 0x3e | 0x80)
    local kept = head .. content:sub(flags_at + 1, kept_to)
    return {level = level, client_id = client_id, expiry = expiry, will = will, kept = kept}
end

local function quotas()
    local rates = {}
    for line in io.lines(QUOTAS) do
        local name, rate = line:match("^(%S+) (%S+)$")
        rates[name or ""] = tonumber(rate)
    end
    return rates
end

local function seconds()
    local now = core.now()
    return now.sec + now.usec / 1e6
end

-- Whether the account may have one more CONNECT: a token bucket that holds one second's worth.
local function account_allows(rate, now)
    local capacity = math.max(rate, 1)
    account.tokens = math.min(capacity, (account.tokens or capacity) + (now - account.at) * rate)
    account.at = now
    if account.tokens < 1 then
        return false
    end
    account.tokens = account.tokens - 1
    return true
end

-- Whether a client may connect again: not before the quota's interval is over.
local function client_allows(client_id, rate, now)
    local interval = 1 / rate
    if now - (clients[client_id] or -math.huge) < interval then
        return false
    end
    if number_of_clients >= 1000 then
        number_of_clients = 0
        for name, at in pairs(clients) do
            if now - at >= interval then
                clients[name] = nil
            end
        end
    end
    clients[client_id] = now
    number_of_clients = number_of_clients + 1
    return true
end

-- The quota that a CONNECT exceeds, or nil.
local function exceeded(client_id)
    local rates, now = quotas(), seconds()
    if rates.Connect and not account_allows(rates.Connect, now) then
        return "connect-throttled"
    end
    local per_client = rates.ConnectPerClientId
    if per_client and client_id ~= "" and not client_allows(client_id, per_client, now) then
        return "client-id-throttled"
    end
end

-- The whole CONNECT that is at the beginning of what was received, without its fixed header, and the header's length.
local function received(channel)
    local reader = setmetatable({at = 2}, Reader)
    for size = 2, 5 do
        reader.text = channel:data(0, size) or ""
        assert(reader.text:byte() == 0x10, "no CONNECT")
        if reader.text:byte(size) < 0x80 then
            break
        end
    end
    local length = reader:length()
    local head = reader.at - 1
    assert(head + length <= LONGEST, "a CONNECT that is too long")
    return channel:data(head, length) or "", head
end

local function connect(txn)
    local content, head = received(txn.req)
    local packet = parse(content)
    local problem = exceeded(packet.client_id)
    if problem then
        txn:set_var("sess.reason", problem)
        txn:set_var("sess.level", packet.level)
        return
    end
    local user = string.format("%s %d %s", txn:get_var("sess.certificate"), packet.expiry, packet.will)
    local changed = packet.kept .. string.pack(">s2", user)
    txn.req:set(string.char(0x10) .. length_of(#changed) .. changed, 0, head + #content)
end

core.register_action("connect", {"tcp-req"}, function(txn)
    -- What waits for more bytes cannot be called in protected mode, so what is wrong is asserted and ends the connection.
    connect(txn)
    txn:set_var("sess.connect", "seen")
end)

core.register_service("throttle", "tcp", function(applet)
    if applet:get_var("sess.level") >= 5 then
        applet:send(string.char(0x20, 3, 0, QUOTA_EXCEEDED, 0))
    else
        applet:send(string.char(0x20, 2, 0, UNAVAILABLE))
    end
end)
