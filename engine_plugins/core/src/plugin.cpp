// The host's side: what a game's threads call. Never waits but in lockstep, never allocates after
// start, never throws.
#include "realmaster/plugin.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "core.h"

namespace realmaster {

namespace {

template <std::size_t n>
void copy_text(char (&out)[n], const char* text) noexcept {
    const std::string_view given = text == nullptr ? "" : text;
    const std::string_view kept =
        msgpack::is_utf8(given) ? msgpack::cut_utf8(given, n - 1) : "(not UTF-8)";
    std::memcpy(out, kept.data(), kept.size());
    out[kept.size()] = '\0';
}

}  // namespace

bool Core::wants_frame() const noexcept {
    const std::uint64_t credit = credit_.load(std::memory_order_relaxed);
    return connection_of(credit) != 0 && frames_of(credit) != 0 && pool.has_free();
}

bool Core::take_credit(std::uint32_t* connection) noexcept {
    std::uint64_t credit = credit_.load(std::memory_order_acquire);
    do {
        if (connection_of(credit) == 0 || frames_of(credit) == 0) {
            return false;
        }
    } while (!credit_.compare_exchange_weak(credit, credit - 1, std::memory_order_acq_rel));
    *connection = connection_of(credit);
    return true;
}

void Core::give_credit(std::uint32_t connection, std::uint32_t frames) noexcept {
    std::uint64_t credit = credit_.load(std::memory_order_acquire);
    std::uint64_t more = 0;
    do {
        if (connection_of(credit) != connection || connection == 0) {
            return;
        }
        const std::uint64_t sum = std::uint64_t{frames_of(credit)} + frames;
        more = (credit & 0xffffffff00000000) | std::min<std::uint64_t>(sum, 0x7fffffff);
    } while (!credit_.compare_exchange_weak(credit, more, std::memory_order_acq_rel));
    host_wake_.notify();
}

Slot* Core::try_claim() noexcept {
    std::uint32_t connection = 0;
    if (!take_credit(&connection)) {
        return nullptr;
    }
    Slot* slot = pool.claim();
    if (slot == nullptr) {
        give_credit(connection, 1);
        return nullptr;
    }
    slot->connection = connection;
    return slot;
}

bool Core::wait_credit(std::uint32_t timeout_ms) noexcept {
    const std::int64_t deadline = now_ns() + std::int64_t{timeout_ms} * 1'000'000;
    while (!wants_frame()) {
        const std::int64_t left_ms = (deadline - now_ns()) / 1'000'000;
        if (left_ms <= 0) {
            return false;
        }
        host_wake_.wait(static_cast<std::uint32_t>(std::min<std::int64_t>(left_ms, 100)));
    }
    return true;
}

void Core::wait_in_lockstep() noexcept {
    if (gave_up_.load()) {
        return;
    }
    if (!wait_credit(config.lockstep_timeout_ms)) {
        gave_up_.store(true);  // until a client comes
        error.set("lockstep: no client took a frame in time; frames are dropped until one comes");
    }
}

Slot* Core::begin(const FrameInfo& info) noexcept {
    const std::uint64_t seq = next_seq_.load(std::memory_order_relaxed);
    next_seq_.store(seq + 1, std::memory_order_relaxed);
    if (config.lockstep) {
        wait_in_lockstep();
    }
    Slot* slot = try_claim();
    if (slot == nullptr) {
        const Cause cause = connected() ? Cause::no_credit : Cause::disconnected;
        begin_drops_[static_cast<std::size_t>(cause)].fetch_add(1, std::memory_order_relaxed);
        return nullptr;
    }
    slot->seq = seq;
    slot->info = info;
    if (slot->info.t_render_ns == 0) {
        slot->info.t_render_ns = now_ns();
    }
    for (std::size_t index = 0; index < num_causes; ++index) {
        slot->drops_before[index] = begin_drops_[index].load(std::memory_order_relaxed);
    }
    order_.push(slot->index);  // has room for all slots
    return slot;
}

void Core::finish(Slot* slot, SlotState state) noexcept {
    slot->state.store(state, std::memory_order_release);
    wake.notify();
}

Stats Core::stats() const noexcept {
    Stats stats;
    stats.rendered = next_seq_.load(std::memory_order_relaxed);
    stats.sent = sent_.load(std::memory_order_relaxed);
    stats.bytes_sent = bytes_sent_.load(std::memory_order_relaxed);
    stats.connections = num_connections_.load(std::memory_order_relaxed);
    stats.shared_memory = shared_.load(std::memory_order_relaxed);
    stats.drops = drops_now();
    return stats;
}

Plugin::Plugin(const Config& config) noexcept {
    try {
        core_ = new Core(config);
        core_->start();
    } catch (...) {  // out of memory: the game goes on without capture
        delete core_;
        core_ = nullptr;
    }
}

Plugin::~Plugin() {
    if (core_ != nullptr && core_->is_mine() && core_->stop()) {
        delete core_;
    }
}

bool Plugin::connected() const noexcept {
    return core_ != nullptr && core_->is_mine() && core_->connected();
}

bool Plugin::wants_frame() const noexcept {
    return core_ != nullptr && core_->is_mine() && core_->wants_frame();
}

Slot* Plugin::begin(const FrameInfo& info) noexcept {
    return core_ != nullptr && core_->is_mine() ? core_->begin(info) : nullptr;
}

FrameInfo* Plugin::info(Slot* slot) noexcept { return slot == nullptr ? nullptr : &slot->info; }

std::uint8_t* Plugin::add(Slot* slot, const BufferDesc& desc) noexcept {
    return slot == nullptr || core_ == nullptr ? nullptr : slot->add(desc, core_->pool.max_bytes());
}

void Plugin::submit(Slot* slot) noexcept {
    if (slot != nullptr && core_ != nullptr && core_->is_mine()) {
        core_->finish(slot, SlotState::submitted);
    }
}

void Plugin::drop(Slot* slot, Cause cause) noexcept {
    if (slot != nullptr && core_ != nullptr && core_->is_mine()) {
        slot->cause = cause;
        slot->fault = nullptr;
        core_->finish(slot, SlotState::dropped);
    }
}

bool Plugin::wait_credit(std::uint32_t timeout_ms) noexcept {
    return core_ != nullptr && core_->is_mine() && core_->wait_credit(timeout_ms);
}

bool Plugin::mark(std::int64_t t_sim_ns, const char* label) noexcept {
    if (!connected()) {
        return false;
    }
    Note note;
    note.t_sim_ns = t_sim_ns;
    copy_text(note.text, label);
    const bool taken = core_->notes.push(note);
    core_->wake.notify();
    return taken;
}

bool Plugin::poll_command(Command* command) noexcept {
    const Command* next = core_ == nullptr ? nullptr : core_->commands.front();
    if (next == nullptr) {
        return false;
    }
    *command = *next;
    core_->commands.pop();
    return true;
}

bool Plugin::answer(const Command& command, bool ok, const char* text) noexcept {
    if (!connected()) {
        return false;
    }
    Note note;
    note.kind = Note::Kind::result;
    note.request_id = command.request_id;
    note.ok = ok;
    copy_text(note.text, text);
    const bool taken = core_->notes.push(note);
    core_->wake.notify();
    return taken;
}

Stats Plugin::stats() const noexcept { return core_ == nullptr ? Stats{} : core_->stats(); }

bool Plugin::error(char* text, std::size_t capacity) const noexcept {
    if (core_ == nullptr) {
        const std::string_view why = msgpack::cut_utf8("no memory for capture", capacity - 1);
        std::memcpy(text, why.data(), why.size());
        text[why.size()] = '\0';
        return true;
    }
    return core_->error.get(text, capacity);
}

}  // namespace realmaster
