// What a Plugin is made of: the state that the host and the worker share, and the worker itself.
//
// The host's thread touches `next_seq_`, `begin_drops_` and slots that it fills; the worker touches
// everything under "worker"; what both touch is atomic or an SpscQueue. See plugin.cpp (host),
// worker.cpp (thread, connection), outgoing.cpp (frames), incoming.cpp (the client's messages).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "messages.h"
#include "platform.h"
#include "realmaster/plugin.h"
#include "slots.h"
#include "spsc.h"
#include "zmtp.h"

namespace realmaster {

// One line of text from the worker to whoever asks; the reader never waits.
class ErrorText {
public:
    void set(const char* text) noexcept;
    bool get(char* text, std::size_t capacity) const noexcept;

private:
    mutable std::atomic_flag taken_ = ATOMIC_FLAG_INIT;
    char text_[256] = {};
};

// What the host says besides frames.
struct Note {
    enum class Kind : std::uint8_t { mark, result } kind = Kind::mark;
    std::int64_t t_sim_ns = 0;
    std::uint64_t request_id = 0;
    bool ok = false;
    char text[256] = {};
};

class Core {
public:
    explicit Core(const Config& config);
    bool start() noexcept;
    bool stop() noexcept;  // false: the worker hangs, and must be left its memory

    // --- host (plugin.cpp) ---
    bool is_mine() const noexcept { return platform::process_id() == process_; }
    bool connected() const noexcept { return connection_of(credit_.load()) != 0; }
    bool wants_frame() const noexcept;
    Slot* begin(const FrameInfo& info) noexcept;
    void finish(Slot* slot, SlotState state) noexcept;
    bool wait_credit(std::uint32_t timeout_ms) noexcept;
    Stats stats() const noexcept;

    Config config;
    ErrorText error;
    SlotPool pool;
    SpscQueue<Note, 16> notes;
    SpscQueue<Command, 16> commands;
    platform::Wake wake;

private:
    enum class Phase : std::uint8_t { offline, connecting, greeting, waiting, welcomed };

    // credit_ holds the connection (0: none) above and the frames it still takes below, so that a
    // frame's credit and the connection it belongs to are taken in one step.
    static std::uint32_t connection_of(std::uint64_t credit) noexcept {
        return static_cast<std::uint32_t>(credit >> 32);
    }
    static std::uint32_t frames_of(std::uint64_t credit) noexcept {
        return static_cast<std::uint32_t>(credit);
    }
    bool take_credit(std::uint32_t* connection) noexcept;
    void give_credit(std::uint32_t connection, std::uint32_t frames) noexcept;
    Slot* try_claim() noexcept;
    void wait_in_lockstep() noexcept;

    // --- worker ---
    static void run(void* core) noexcept;
    void loop();
    bool is_over() noexcept;
    void step_connection() noexcept;
    void on_stands() noexcept;
    void receive() noexcept;
    void handle(zmtp::Event event) noexcept;
    void flush() noexcept;
    void beat() noexcept;
    std::uint32_t wait_ms() const noexcept;
    void go_offline(const char* reason, std::int64_t retry_after_ns) noexcept;
    void lose(const char* reason) noexcept;

    void say_hello() noexcept;
    void on_message() noexcept;
    void on_welcome(const Welcome& welcome) noexcept;
    void on_credit(const Credit& credit) noexcept;
    void on_error(const Message& message) noexcept;
    std::shared_ptr<Ring> open_ring(const Welcome& welcome) noexcept;

    template <typename Write>
    bool send_message(Write write) noexcept;  // defined and used in outgoing.cpp
    void refuse_command(std::uint64_t request_id) noexcept;
    void append(const std::uint8_t* data, std::size_t size) noexcept;
    void send_notes() noexcept;
    void send_frames() noexcept;
    bool send_frame(Slot* slot) noexcept;
    const char* refusal_of(const Slot& slot, Cause* cause) const noexcept;
    void start_frame(Slot* slot) noexcept;
    void describe(const Slot& slot, Descriptor* out) const noexcept;
    void finish_frame() noexcept;
    void count_drop(Slot* slot, Cause cause, const char* fault) noexcept;
    void drop_unsubmitted() noexcept;
    void send_bye() noexcept;
    Drops drops_now() const noexcept;

    std::uint32_t process_ = 0;
    std::atomic<std::uint64_t> credit_{0};
    SpscQueue<std::uint32_t, max_slots> order_;  // slots in the order of begin
    platform::Wake host_wake_;                   // for lockstep
    std::atomic<bool> closing_{false};
    platform::Thread thread_;
    bool started_ = false;

    // --- host ---
    std::atomic<std::uint64_t> next_seq_{0};
    std::atomic<std::uint64_t> begin_drops_[num_causes]{};
    std::atomic<bool> gave_up_{false};  // lockstep: nobody came in time, so do not wait again

    // --- worker ---
    Phase phase_ = Phase::offline;
    platform::Socket socket_;
    zmtp::Decoder decoder_;
    Message message_;
    std::vector<std::uint8_t> inbox_;
    std::vector<std::uint8_t> outbox_;  // small messages
    std::size_t outbox_sent_ = 0;
    std::vector<std::uint8_t> header_;  // of the frame that is being sent
    Slot* sending_ = nullptr;
    std::vector<platform::Slice> slices_;
    std::size_t next_slice_ = 0;
    bool is_in_frame_ = false;  // some of it has been sent
    char session_uuid_[33] = {};
    std::uint32_t connections_ = 0;
    std::uint64_t credit_bytes_ = 0;
    std::uint64_t max_frame_bytes_ = 0;
    std::int64_t heartbeat_ns_ = 0;
    std::int64_t heard_ns_ = 0;
    std::int64_t next_beat_ns_ = 0;
    std::int64_t phase_since_ns_ = 0;
    std::int64_t retry_at_ns_ = 0;
    std::int64_t backoff_ns_ = 0;
    std::int64_t close_by_ns_ = 0;
    bool said_bye_ = false;
    bool is_answered_ = false;  // the client said bye
    std::atomic<std::uint64_t> late_drops_[num_causes]{};
    std::atomic<std::uint64_t> sent_{0};
    std::atomic<std::uint64_t> bytes_sent_{0};
    std::atomic<std::uint64_t> num_connections_{0};
    std::atomic<bool> shared_{false};
};

}  // namespace realmaster
