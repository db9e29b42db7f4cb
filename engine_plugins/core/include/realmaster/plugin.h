// The public door of the core: a native plugin makes one Plugin and gives it its frames.
//
//     realmaster::Plugin plugin(config);                       // once, off the hot path
//     while (game runs) {
//         render();
//         if (realmaster::Slot* slot = plugin.begin(info)) {   // once per rendered frame
//             copy_pixels(plugin.add(slot, color_desc));       // now or some frames later
//             plugin.submit(slot);
//         }
//     }
//
// Nothing here throws, and in real-time mode nothing waits, allocates or takes a lock. begin is
// called by one thread. add, info, submit and drop of a slot may be called by any one thread.
// poll_command, answer and mark are called by one thread. The rest may be called by any. In a
// forked child, which lacks the thread, all of it does nothing.
#pragma once

#include <cstdint>

#include "realmaster/types.h"

namespace realmaster {

class Core;
class Slot;

// Host monotonic time as the protocol means it; the same clock as the client's.
std::int64_t now_ns() noexcept;

class Plugin {
public:
    // Reserves all memory and starts the one thread that talks to the client. It connects by
    // itself and again after every loss. Where memory or a thread is lacking, the plugin stays
    // offline and error() says why.
    explicit Plugin(const Config& config) noexcept;

    // Sends what is submitted, says bye, waits for the client's, all within close_timeout_ms.
    // Slots not submitted count as dropped. Not to be called from DllMain.
    ~Plugin();
    Plugin(const Plugin&) = delete;
    Plugin& operator=(const Plugin&) = delete;

    // Whether a client takes frames now (greeted).
    bool connected() const noexcept;

    // Whether begin would give a slot now: greeted, credit for a frame, a slot is free. Only then
    // is it worth starting a readback. begin must be called for every frame all the same.
    bool wants_frame() const noexcept;

    // Counts one rendered frame: takes its seq. A slot to fill, or nullptr where the frame is
    // dropped, which is counted by cause. In lockstep it waits for credit, at most
    // lockstep_timeout_ms.
    Slot* begin(const FrameInfo& info) noexcept;

    // The slot's header; may be changed until submit (a camera known late).
    FrameInfo* info(Slot* slot) noexcept;

    // bytes_of(desc) bytes for one buffer, 64-byte aligned, not zeroed, valid until submit or
    // drop; nullptr where it is too large or wrongly described: the frame then counts as dropped
    // once it is submitted.
    std::uint8_t* add(Slot* slot, const BufferDesc& desc) noexcept;

    // The slot is filled. Slots are sent in the order of begin.
    void submit(Slot* slot) noexcept;

    // The slot will not be filled; counted.
    void drop(Slot* slot, Cause cause) noexcept;

    // Waits until wants_frame() or the time is over; for lockstep engines that wait before they
    // render.
    bool wait_credit(std::uint32_t timeout_ms) noexcept;

    // A player's bookmark, a level's start. False where there is no client or no room.
    bool mark(std::int64_t t_sim_ns, const char* label) noexcept;

    // The next command that came; answer it, also those that the plugin does not know.
    bool poll_command(Command* command) noexcept;
    bool answer(const Command& command, bool ok, const char* text = "") noexcept;

    Stats stats() const noexcept;

    // Copies one line on what went wrong last ("" where nothing did); true if there is one.
    bool error(char* text, std::size_t capacity) const noexcept;

private:
    Core* core_ = nullptr;
};

}  // namespace realmaster
