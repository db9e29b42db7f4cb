// The bytes that our side of ZMTP sends.
#include <cstring>

#include "zmtp.h"

namespace realmaster::zmtp {

namespace {

constexpr std::uint8_t flag_more = 1;
constexpr std::uint8_t flag_long = 2;
constexpr std::uint8_t flag_command = 4;

std::size_t write_command(std::uint8_t* out, std::string_view name,
                          std::string_view body) noexcept {
    std::size_t size = write_head(out, 1 + name.size() + body.size(), false, true);
    out[size++] = static_cast<std::uint8_t>(name.size());
    std::memcpy(out + size, name.data(), name.size());
    size += name.size();
    if (!body.empty()) {
        std::memcpy(out + size, body.data(), body.size());
        size += body.size();
    }
    return size;
}

}  // namespace

void write_greeting(std::uint8_t (&out)[greeting_bytes]) noexcept {
    std::memset(out, 0, sizeof out);
    out[0] = 0xff;
    out[8] = 1;  // libzmq's way: looks like a long identity to the oldest peers
    out[9] = 0x7f;
    out[10] = 3;
    out[11] = 1;
    std::memcpy(out + 12, "NULL", 4);
}

std::size_t write_head(std::uint8_t* out, std::uint64_t size, bool more, bool command) noexcept {
    const bool is_long = size > 255;
    out[0] = static_cast<std::uint8_t>((more ? flag_more : 0) | (is_long ? flag_long : 0) |
                                       (command ? flag_command : 0));
    if (!is_long) {
        out[1] = static_cast<std::uint8_t>(size);
        return 2;
    }
    for (int index = 0; index < 8; ++index) {
        out[1 + index] = static_cast<std::uint8_t>(size >> (56 - 8 * index));
    }
    return 9;
}

std::size_t write_ready(std::uint8_t* out) noexcept {
    using namespace std::string_view_literals;
    return write_command(
        out, "READY"sv, "\x0bSocket-Type\0\0\0\x06" "DEALER" "\x08Identity\0\0\0\0"sv);
}

std::size_t write_ping(std::uint8_t* out, std::int64_t ttl_ns) noexcept {
    const std::int64_t tenths = ttl_ns / 100'000'000;
    const std::int64_t ttl = tenths < 1 ? 1 : tenths > 0xffff ? 0xffff : tenths;
    const char body[2] = {static_cast<char>(ttl >> 8), static_cast<char>(ttl & 0xff)};
    return write_command(out, "PING", {body, sizeof body});
}

std::size_t write_pong(std::uint8_t* out, std::string_view context) noexcept {
    return write_command(out, "PONG", context.substr(0, max_context_bytes));
}

}  // namespace realmaster::zmtp
