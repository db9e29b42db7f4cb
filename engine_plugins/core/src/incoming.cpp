// What the client says, and our hello.
#include <cstdio>
#include <cstring>
#include <new>

#include "core.h"

namespace realmaster {

namespace {

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t retry_refused_ns = 2000 * ms;
constexpr std::int64_t retry_after_bye_ns = 250 * ms;
constexpr std::int64_t min_heartbeat_ns = 10 * ms;
constexpr std::int64_t max_heartbeat_ns = 60'000 * ms;

}  // namespace

void Core::on_message() noexcept {
    read_message(decoder_.header(), decoder_.header_size(), decoder_.payload_sizes(),
                 decoder_.num_payloads(), &message_);
    switch (message_.kind) {
        case Incoming::welcome:
            on_welcome(message_.welcome);
            break;
        case Incoming::credit:
            on_credit(message_.credit);
            break;
        case Incoming::command:
            if (!commands.push(message_.command)) {
                error.set("the game does not take the client's commands");
            }
            break;
        case Incoming::command_too_long:
            refuse_command(message_.command.request_id);
            break;
        case Incoming::error:
            on_error(message_);
            break;
        case Incoming::bye:
            is_answered_ = said_bye_;
            go_offline(message_.text, retry_after_bye_ns);
            break;
        case Incoming::version: {
            char text[128];
            std::snprintf(text, sizeof text,
                          "the client speaks protocol %d.%d, this plugin %d.%d: update the older",
                          message_.major, message_.minor, protocol_major, protocol_minor);
            go_offline(text, retry_refused_ns);
            break;
        }
        case Incoming::malformed:
            error.set(message_.fault);
            break;
        case Incoming::enhanced:
        case Incoming::skipped:
            break;
    }
}

void Core::on_welcome(const Welcome& welcome) noexcept {
    phase_ = Phase::welcomed;
    backoff_ns_ = 0;
    credit_bytes_ = 0;
    max_frame_bytes_ = welcome.max_frame_bytes;
    heartbeat_ns_ = welcome.heartbeat_ns < min_heartbeat_ns   ? min_heartbeat_ns
                    : welcome.heartbeat_ns > max_heartbeat_ns ? max_heartbeat_ns
                                                              : welcome.heartbeat_ns;
    next_beat_ns_ = now_ns() + heartbeat_ns_;
    pool.free_lent();
    pool.use_ring(config.shared_memory && welcome.has_shared ? open_ring(welcome) : nullptr);
    shared_.store(pool.uses_ring());
    ++num_connections_;
    error.set("");
    gave_up_.store(false);
    connections_ = connections_ == UINT32_MAX ? 1 : connections_ + 1;
    credit_.store(std::uint64_t{connections_} << 32);
}

void Core::on_credit(const Credit& credit) noexcept {
    for (std::size_t index = 0; index < credit.num_freed; ++index) {
        pool.free_lent(credit.freed[index]);
    }
    credit_bytes_ = credit.nbytes > UINT64_MAX - credit_bytes_ ? UINT64_MAX
                                                               : credit_bytes_ + credit.nbytes;
    give_credit(connections_, credit.frames);
}

void Core::on_error(const Message& message) noexcept {
    if (std::strcmp(message.code, "bad_message") == 0) {
        error.set(message.text);
        return;
    }
    go_offline(message.text, retry_refused_ns);
}

std::shared_ptr<Ring> Core::open_ring(const Welcome& welcome) noexcept {
    if (welcome.shared_slot_bytes < ring_head_bytes + alignment ||
        welcome.shared_slot_bytes % alignment != 0) {
        return nullptr;
    }
    auto memory = platform::SharedMemory::open(welcome.shared_name,
                                               welcome.shared_slots * welcome.shared_slot_bytes);
    std::shared_ptr<Ring> ring{memory == nullptr ? nullptr : new (std::nothrow) Ring};
    if (ring != nullptr) {
        ring->memory = std::move(memory);
        std::memcpy(ring->name, welcome.shared_name, sizeof ring->name);
        ring->slots = welcome.shared_slots;
        ring->slot_bytes = static_cast<std::size_t>(welcome.shared_slot_bytes);
    }
    return ring;
}

}  // namespace realmaster
