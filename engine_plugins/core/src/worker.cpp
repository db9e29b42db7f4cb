// The worker: one thread that owns the connection, from its first attempt to bye.
#include <algorithm>
#include <cstring>
#include <random>

#include "core.h"

namespace realmaster {

namespace {

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t first_backoff_ns = 100 * ms;
constexpr std::int64_t max_backoff_ns = 1000 * ms;
constexpr std::int64_t greeting_timeout_ns = 3000 * ms;
constexpr std::int64_t default_heartbeat_ns = 1000 * ms;
constexpr std::size_t inbox_bytes = 64 * 1024;
constexpr std::size_t outbox_bytes = 2 * max_header_bytes;
constexpr std::size_t frame_header_bytes = 32 * 1024;
constexpr std::size_t default_max_frame_bytes = std::size_t{512} << 20;
constexpr std::size_t row_alignment = 256;  // of GPUs' rows

std::size_t bytes_of_streams(const std::vector<StreamDesc>& streams) {
    std::size_t total = ring_head_bytes;
    for (const StreamDesc& stream : streams) {
        const std::size_t row =
            std::size_t{stream.width} * stream.components * item_bytes(stream.dtype);
        total += (row + row_alignment - 1) / row_alignment * row_alignment * stream.height +
                 alignment;
    }
    return total;
}

// A game's name may come in any code page; the protocol's texts are UTF-8.
void make_utf8(std::string* text) {
    if (!msgpack::is_utf8(*text)) {
        std::replace_if(text->begin(), text->end(), [](char c) { return (c & 0x80) != 0; }, '?');
    }
    text->resize(std::min<std::size_t>(text->size(), msgpack::max_text_bytes));
}

void make_texts_utf8(Config* config) {
    for (std::string* text : {&config->engine, &config->engine_version, &config->plugin,
                              &config->plugin_version, &config->game, &config->token}) {
        make_utf8(text);
    }
    for (auto& [key, value] : config->params) {
        make_utf8(&key);
        make_utf8(&value);
    }
}

void make_uuid(char (&out)[33]) {
    std::random_device random;
    for (int word = 0; word < 4; ++word) {
        std::uint32_t bits = random();
        for (int digit = 0; digit < 8; ++digit, bits >>= 4) {
            out[8 * word + digit] = "0123456789abcdef"[bits & 15];
        }
    }
    out[32] = '\0';
}

}  // namespace

void ErrorText::set(const char* text) noexcept {
    while (taken_.test_and_set(std::memory_order_acquire)) {
    }
    const std::string_view kept = msgpack::cut_utf8(text, sizeof text_ - 1);
    std::memcpy(text_, kept.data(), kept.size());
    text_[kept.size()] = '\0';
    taken_.clear(std::memory_order_release);
}

bool ErrorText::get(char* text, std::size_t capacity) const noexcept {
    if (capacity == 0 || taken_.test_and_set(std::memory_order_acquire)) {
        return false;  // being written just now: ask again
    }
    const std::string_view kept = msgpack::cut_utf8(text_, capacity - 1);
    std::memcpy(text, kept.data(), kept.size());
    text[kept.size()] = '\0';
    taken_.clear(std::memory_order_release);
    return !kept.empty();
}

Core::Core(const Config& given) : config(given) {
    make_texts_utf8(&config);
    config.slots = std::clamp<std::uint32_t>(config.slots, 1, max_slots);
    if (config.max_frame_bytes == 0) {
        config.max_frame_bytes = default_max_frame_bytes;
    }
    inbox_.resize(inbox_bytes);
    outbox_.reserve(outbox_bytes);
    header_.resize(frame_header_bytes);
    slices_.reserve(2 + 2 * max_buffers);
    make_uuid(session_uuid_);
}

bool Core::start() noexcept {
    process_ = platform::process_id();
    if (!platform::is_loopback(config.host.c_str())) {
        error.set("native plugins connect to a loopback address only, e.g. 127.0.0.1");
        return false;
    }
    const std::size_t initial = bytes_of_streams(config.streams);
    if (!pool.open(config.slots, initial, config.max_frame_bytes) || !decoder_.ok()) {
        error.set("not enough memory for the slots: use fewer or smaller ones");
        return false;
    }
    if (!wake.open() || !host_wake_.open()) {
        error.set("the system gives no event: too many open files?");
        return false;
    }
    started_ = thread_.start([](void* core) { run(core); }, this);
    if (!started_) {
        error.set("the system gives no thread");
    }
    return started_;
}

bool Core::stop() noexcept {
    if (!started_) {
        return true;
    }
    closing_.store(true);
    wake.notify();
    return thread_.join(config.close_timeout_ms + 1000);
}

void Core::run(void* core) noexcept {
    auto* self = static_cast<Core*>(core);
    try {
        self->loop();
    } catch (...) {
        self->credit_.store(0);
        self->error.set("out of memory: capture has ended");
    }
    self->socket_.close();
}

void Core::loop() {
    while (!is_over()) {
        step_connection();
        receive();
        if (phase_ == Phase::welcomed) {
            send_notes();
        }
        send_frames();
        beat();
        flush();
        const bool to_write = phase_ == Phase::connecting || sending_ != nullptr ||
                              outbox_sent_ < outbox_.size();
        socket_.wait(&wake, to_write, wait_ms());
    }
}

bool Core::is_over() noexcept {
    if (!closing_.load()) {
        return false;
    }
    const std::int64_t now = now_ns();
    if (close_by_ns_ == 0) {
        close_by_ns_ = now + std::int64_t{config.close_timeout_ms} * ms;
        drop_unsubmitted();
    }
    if (phase_ != Phase::welcomed || is_answered_ || now >= close_by_ns_) {
        return true;
    }
    if (!said_bye_ && order_.front() == nullptr && sending_ == nullptr) {
        send_bye();
    }
    return false;
}

// --- the connection ------------------------------------------------------------------------------

void Core::step_connection() noexcept {
    const std::int64_t now = now_ns();
    if (phase_ == Phase::offline && now >= retry_at_ns_ && !closing_.load()) {
        phase_since_ns_ = now;
        phase_ = Phase::connecting;
        const platform::Io result = socket_.connect(config.host.c_str(), config.port);
        if (result == platform::Io::done) {
            on_stands();
        } else if (result == platform::Io::broken) {
            lose("nobody listens: start realmaster record --source listen");
        }
    } else if (phase_ == Phase::connecting) {
        const platform::Io result = socket_.connected();
        if (result == platform::Io::done) {
            on_stands();
        } else if (result == platform::Io::broken) {
            lose("nobody listens: start realmaster record --source listen");
        }
    }
    const bool shakes_hands = phase_ == Phase::connecting || phase_ == Phase::greeting;
    if (shakes_hands && now - phase_since_ns_ > greeting_timeout_ns) {
        lose("the client does not answer");
    }
}

void Core::on_stands() noexcept {
    phase_ = Phase::greeting;
    decoder_.reset();
    outbox_.clear();
    outbox_sent_ = 0;
    heartbeat_ns_ = default_heartbeat_ns;
    heard_ns_ = now_ns();
    next_beat_ns_ = heard_ns_ + heartbeat_ns_;
    std::uint8_t greeting[zmtp::greeting_bytes];
    zmtp::write_greeting(greeting);
    append(greeting, sizeof greeting);
}

void Core::receive() noexcept {
    while (phase_ > Phase::connecting) {
        std::size_t size = 0;
        const platform::Io result = socket_.receive(inbox_.data(), inbox_.size(), &size);
        if (result == platform::Io::later) {
            return;
        }
        if (result == platform::Io::broken) {
            lose(phase_ == Phase::greeting
                     ? "whoever listens there closed at once: no client, or one with encryption, "
                       "which native plugins lack"
                     : "the client is gone");
            return;
        }
        heard_ns_ = now_ns();
        const std::uint8_t* data = inbox_.data();
        while (phase_ > Phase::connecting) {
            const zmtp::Event event = decoder_.feed(&data, &size);
            if (event == zmtp::Event::none) {
                break;
            }
            handle(event);
        }
    }
}

void Core::handle(zmtp::Event event) noexcept {
    std::uint8_t frame[zmtp::max_command_frame];
    switch (event) {
        case zmtp::Event::greeted:
            append(frame, zmtp::write_ready(frame));
            break;
        case zmtp::Event::ready:
            phase_ = Phase::waiting;
            say_hello();
            break;
        case zmtp::Event::ping:
            append(frame, zmtp::write_pong(frame, decoder_.context()));
            break;
        case zmtp::Event::message:
            on_message();
            break;
        case zmtp::Event::failed:
            lose(decoder_.fault());
            break;
        case zmtp::Event::pong:
        case zmtp::Event::none:
            break;
    }
}

void Core::beat() noexcept {
    if (phase_ != Phase::waiting && phase_ != Phase::welcomed) {
        return;
    }
    const std::int64_t now = now_ns();
    if (now - heard_ns_ > 3 * heartbeat_ns_) {
        lose("the client stopped answering");
        return;
    }
    if (now >= next_beat_ns_) {
        next_beat_ns_ = now + heartbeat_ns_;
        std::uint8_t frame[zmtp::max_command_frame];
        append(frame, zmtp::write_ping(frame, 3 * heartbeat_ns_));
    }
}

std::uint32_t Core::wait_ms() const noexcept {
    std::int64_t until = now_ns() + 1000 * ms;
    if (phase_ == Phase::offline) {
        until = std::min(until, retry_at_ns_);
    } else if (phase_ == Phase::waiting || phase_ == Phase::welcomed) {
        until = std::min(until, next_beat_ns_);
    }
    if (close_by_ns_ != 0) {
        until = std::min(until, close_by_ns_);
    }
    const std::int64_t left_ms = (until - now_ns() + ms - 1) / ms;
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left_ms, 0, 1000));
}

void Core::lose(const char* reason) noexcept {
    backoff_ns_ = std::clamp(2 * backoff_ns_, first_backoff_ns, max_backoff_ns);
    go_offline(reason, backoff_ns_);
}

void Core::go_offline(const char* reason, std::int64_t retry_after_ns) noexcept {
    credit_.store(0);
    error.set(reason);
    socket_.close();
    phase_ = Phase::offline;
    retry_at_ns_ = now_ns() + retry_after_ns;
    outbox_.clear();
    outbox_sent_ = 0;
    if (sending_ != nullptr) {
        count_drop(sending_, Cause::disconnected, nullptr);
        sending_ = nullptr;
    }
    pool.free_lent();
    pool.use_ring(nullptr);
    shared_.store(false);
    credit_bytes_ = 0;
    host_wake_.notify();
}

}  // namespace realmaster
