// ZMTP 3.1 as a DEALER with the NULL mechanism speaks it, sans I/O: rfc.zeromq.org/spec/37.
// Bytes in, events out; and the bytes of what is sent. Everything that comes in is limited.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "messages.h"

namespace realmaster::zmtp {

constexpr std::size_t greeting_bytes = 64;
constexpr std::size_t max_command_bytes = 1024;
constexpr std::size_t max_context_bytes = 16;     // of a PING
constexpr std::uint64_t max_part_bytes = 1 << 30;  // of a payload, which is passed over

// Our side's greeting, sent as soon as the connection stands.
void write_greeting(std::uint8_t (&out)[greeting_bytes]) noexcept;

// The head of a frame of `size` bytes; returns its length, at most 9.
constexpr std::size_t max_head_bytes = 9;
std::size_t write_head(std::uint8_t* out, std::uint64_t size, bool more, bool command) noexcept;

// Whole command frames; each returns the length written, at most max_command_frame.
constexpr std::size_t max_command_frame = 64;
std::size_t write_ready(std::uint8_t* out) noexcept;
std::size_t write_ping(std::uint8_t* out, std::int64_t ttl_ns) noexcept;
std::size_t write_pong(std::uint8_t* out, std::string_view context) noexcept;

enum class Event : std::uint8_t {
    none,     // all bytes are taken, nothing whole came of them
    greeted,  // the peer's greeting is good: send READY
    ready,    // the peer is a ROUTER and ready: messages may be sent
    ping,     // answer with PONG and context()
    pong,
    message,  // header(), payload_sizes(), num_payloads()
    failed    // fault(); the connection is of no more use
};

// What comes from the peer. One per connection, or `reset` between two.
class Decoder {
public:
    // Allocates; ok() says whether there was memory.
    Decoder() noexcept;
    bool ok() const noexcept { return header_ != nullptr; }
    void reset() noexcept;

    // Takes bytes until an event; call it again with what is left until it says none.
    Event feed(const std::uint8_t** data, std::size_t* size) noexcept;

    const char* fault() const noexcept { return fault_; }
    std::string_view context() const noexcept { return {context_, context_size_}; }
    const std::uint8_t* header() const noexcept { return header_.get(); }
    std::size_t header_size() const noexcept { return header_size_; }
    const std::uint64_t* payload_sizes() const noexcept { return payload_sizes_; }
    std::size_t num_payloads() const noexcept { return num_parts_ == 0 ? 0 : num_parts_ - 1; }

private:
    enum class State : std::uint8_t { greeting, head, command, first_part, later_part, broken };

    Event step() noexcept;
    Event fail(const char* fault) noexcept;
    Event after_greeting() noexcept;
    Event after_head() noexcept;
    Event after_command() noexcept;
    Event after_part() noexcept;
    Event read_ready(std::string_view metadata) noexcept;
    void expect(State state, std::uint8_t* into, std::uint64_t num_bytes) noexcept;
    void expect_head() noexcept;

    State state_ = State::greeting;
    std::uint8_t* into_ = nullptr;  // where the bytes of this state go; nullptr: passed over
    std::uint64_t wanted_ = 0;
    std::uint64_t taken_ = 0;

    std::uint8_t small_[max_command_bytes];  // greeting, head or command
    std::unique_ptr<std::uint8_t[]> header_;
    std::size_t header_size_ = 0;
    std::uint64_t payload_sizes_[max_buffers];
    std::size_t num_parts_ = 0;
    std::uint64_t frame_size_ = 0;
    std::uint8_t flags_ = 0;
    bool message_done_ = true;
    bool is_ready_ = false;
    char context_[max_context_bytes];
    std::size_t context_size_ = 0;
    const char* fault_ = "";
};

}  // namespace realmaster::zmtp
