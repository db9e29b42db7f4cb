// What comes from the peer, byte by byte as TCP brings it.
#include <algorithm>
#include <cstring>
#include <new>

#include "zmtp.h"

namespace realmaster::zmtp {

namespace {

constexpr std::uint8_t flag_more = 1;
constexpr std::uint8_t flag_long = 2;
constexpr std::uint8_t flag_command = 4;

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return a.size() == b.size() &&
           std::equal(a.begin(), a.end(), b.begin(),
                      [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

Decoder::Decoder() noexcept : header_(new (std::nothrow) std::uint8_t[max_header_bytes]) {
    reset();
}

void Decoder::reset() noexcept {
    header_size_ = num_parts_ = context_size_ = 0;
    frame_size_ = 0;
    message_done_ = true;
    is_ready_ = false;
    fault_ = "";
    expect(State::greeting, small_, greeting_bytes);
}

void Decoder::expect(State state, std::uint8_t* into, std::uint64_t num_bytes) noexcept {
    state_ = state;
    into_ = into;
    wanted_ = num_bytes;
    taken_ = 0;
}

void Decoder::expect_head() noexcept { expect(State::head, small_, 2); }

Event Decoder::fail(const char* fault) noexcept {
    state_ = State::broken;
    fault_ = fault;
    return Event::failed;
}

Event Decoder::feed(const std::uint8_t** data, std::size_t* size) noexcept {
    while (state_ != State::broken) {
        const auto count =
            static_cast<std::size_t>(std::min<std::uint64_t>(wanted_ - taken_, *size));
        if (into_ != nullptr && count != 0) {
            std::memcpy(into_ + taken_, *data, count);
        }
        *data += count;
        *size -= count;
        taken_ += count;
        if (taken_ < wanted_) {
            return Event::none;
        }
        const Event event = step();
        if (event != Event::none) {
            return event;
        }
    }
    return Event::failed;
}

Event Decoder::step() noexcept {
    switch (state_) {
        case State::greeting:
            return after_greeting();
        case State::head:
            return after_head();
        case State::command:
            return after_command();
        case State::first_part:
        case State::later_part:
            return after_part();
        case State::broken:
            break;
    }
    return Event::failed;
}

Event Decoder::after_greeting() noexcept {
    if (small_[0] != 0xff || (small_[9] & 1) == 0 || small_[10] < 3) {
        return fail("whoever listens there speaks no ZMTP 3: is it the client's port?");
    }
    const char null_mechanism[20] = {'N', 'U', 'L', 'L'};
    if (std::memcmp(small_ + 12, null_mechanism, sizeof null_mechanism) != 0) {
        return fail("the client demands encryption, which native plugins lack: use 127.0.0.1");
    }
    expect_head();
    return Event::greeted;
}

Event Decoder::after_head() noexcept {
    flags_ = small_[0];
    if ((flags_ & ~(flag_more | flag_long | flag_command)) != 0) {
        return fail("the client sent a frame with unknown flags");
    }
    if ((flags_ & flag_long) != 0 && wanted_ == 2) {
        wanted_ = max_head_bytes;
        return Event::none;
    }
    frame_size_ = small_[1];
    if ((flags_ & flag_long) != 0) {
        frame_size_ = 0;
        for (int index = 1; index <= 8; ++index) {
            frame_size_ = frame_size_ << 8 | small_[index];
        }
    }
    if ((flags_ & flag_command) != 0) {
        if ((flags_ & flag_more) != 0 || frame_size_ < 1 || frame_size_ > max_command_bytes) {
            return fail("the client sent a ZMTP command above its limit");
        }
        expect(State::command, small_, frame_size_);
        return Event::none;
    }
    if (!is_ready_) {
        return fail("the client sent a message before it was ready");
    }
    if (message_done_) {
        if (frame_size_ > max_header_bytes) {
            return fail("the client sent a header above its limit");
        }
        message_done_ = false;
        num_parts_ = 0;
        header_size_ = static_cast<std::size_t>(frame_size_);
        expect(State::first_part, header_.get(), frame_size_);
    } else {
        if (frame_size_ > max_part_bytes || num_parts_ > max_buffers) {
            return fail("the client sent a payload above its limit");
        }
        expect(State::later_part, nullptr, frame_size_);
    }
    return Event::none;
}

Event Decoder::after_part() noexcept {
    if (state_ == State::later_part) {
        payload_sizes_[num_parts_ - 1] = frame_size_;
    }
    ++num_parts_;
    expect_head();
    message_done_ = (flags_ & flag_more) == 0;
    return message_done_ ? Event::message : Event::none;
}

Event Decoder::after_command() noexcept {
    const std::size_t name_size = small_[0];
    const auto size = static_cast<std::size_t>(frame_size_);
    if (name_size + 1 > size) {
        return fail("the client sent a malformed ZMTP command");
    }
    const auto* text = reinterpret_cast<const char*>(small_);
    const std::string_view name{text + 1, name_size};
    const std::string_view body{text + 1 + name_size, size - 1 - name_size};
    expect_head();
    if (name == "READY") {
        return is_ready_ ? fail("the client was ready twice") : read_ready(body);
    }
    if (name == "ERROR") {
        return fail("the client refused the connection");
    }
    if (!is_ready_) {
        return fail("the client sent a command before it was ready");
    }
    if (name == "PING") {
        if (body.size() < 2 || body.size() > 2 + max_context_bytes) {
            return fail("the client sent a malformed PING");
        }
        context_size_ = body.size() - 2;
        std::memcpy(context_, body.data() + 2, context_size_);
        return Event::ping;
    }
    return name == "PONG" ? Event::pong : Event::none;  // others are for other socket types
}

Event Decoder::read_ready(std::string_view metadata) noexcept {
    bool is_router = false;
    while (!metadata.empty()) {
        const std::size_t name_size = static_cast<std::uint8_t>(metadata[0]);
        if (metadata.size() < 1 + name_size + 4) {
            return fail("the client sent a malformed READY");
        }
        const std::string_view name = metadata.substr(1, name_size);
        std::uint64_t value_size = 0;
        for (const char byte : metadata.substr(1 + name_size, 4)) {
            value_size = value_size << 8 | static_cast<std::uint8_t>(byte);
        }
        metadata.remove_prefix(1 + name_size + 4);
        if (metadata.size() < value_size) {
            return fail("the client sent a malformed READY");
        }
        const std::string_view value = metadata.substr(0, static_cast<std::size_t>(value_size));
        if (equal_ignoring_case(name, "Socket-Type")) {
            is_router = value == "ROUTER";
        }
        metadata.remove_prefix(value.size());
    }
    if (!is_router) {
        return fail("whoever listens there is no ROUTER: is it the client's port?");
    }
    is_ready_ = true;
    return Event::ready;
}

}  // namespace realmaster::zmtp
