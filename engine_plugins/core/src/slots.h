// The pool of slots: memory for frames that are being filled or wait to be sent.
//
// The host claims and fills slots, the worker sends and frees them; a slot's state says whose it
// is. Buffers lie in the client's ring while it has room, and in the slot's own memory where the
// frame outgrew it (a window that was made larger); those the message carries. Knows no sockets.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "messages.h"
#include "platform.h"

namespace realmaster {

enum class SlotState : std::uint8_t {
    free,
    held,       // by the worker, which changes its memory
    filling,    // the host's, from begin to submit or drop
    submitted,  // the worker's from here on
    dropped,
    lent        // the client reads it in the ring
};

// Each slot of a ring starts with its generation, then come the payloads.
constexpr std::size_t ring_head_bytes = 64;
constexpr std::size_t alignment = 64;

struct Ring {
    std::shared_ptr<platform::SharedMemory> memory;
    char name[96] = {};
    std::uint32_t slots = 0;
    std::size_t slot_bytes = 0;
};

struct FilledBuffer {
    BufferDesc desc;  // its name points to `name`
    char name[64];
    std::uint8_t* data;
    std::size_t ring_offset;  // from the first byte of the ring's slot; 0: in own memory
};

class Slot {
public:
    // --- the host's part; see Plugin ---
    std::uint8_t* add(const BufferDesc& desc, std::size_t max_bytes) noexcept;

    std::atomic<SlotState> state{SlotState::free};
    std::uint64_t seq = 0;
    std::uint32_t connection = 0;  // under which its credit was granted
    FrameInfo info;
    Drops drops_before{};  // by begin, of earlier frames
    Cause cause = Cause::encode;
    const char* fault = nullptr;  // why it cannot be sent, found by add
    FilledBuffer buffers[max_buffers];
    std::size_t num_buffers = 0;
    std::size_t frame_bytes = 0;  // of all buffers, wherever they lie
    std::size_t ring_bytes = 0;   // used of the ring's slot, with its head
    std::size_t own_bytes = 0;    // used of own memory: what the message itself must carry

    bool is_shared() const noexcept { return ring_bytes > ring_head_bytes; }

    // --- memory; the ring is bound while held ---
    std::uint32_t index = 0;
    std::uint8_t* own_memory = nullptr;
    std::size_t own_capacity = 0;   // address space
    std::size_t own_committed = 0;  // of it, usable
    std::shared_ptr<Ring> ring;
    std::uint64_t generation = 0;

private:
    std::uint8_t* place(std::size_t num_bytes, std::size_t* ring_offset) noexcept;
};

class SlotPool {
public:
    SlotPool() noexcept = default;
    ~SlotPool();
    SlotPool(const SlotPool&) = delete;
    SlotPool& operator=(const SlotPool&) = delete;

    // Whether there was memory. initial_bytes: of each slot, made ready now; max_bytes: up to which
    // it may grow.
    bool open(std::uint32_t num_slots, std::size_t initial_bytes, std::size_t max_bytes) noexcept;

    // --- host ---
    bool has_free() const noexcept;
    Slot* claim() noexcept;  // the free slot of lowest index, or nullptr

    // --- worker ---
    void use_ring(std::shared_ptr<Ring> ring) noexcept;  // nullptr: no more
    bool uses_ring() const noexcept { return ring_ != nullptr; }
    void free(Slot* slot) noexcept;
    void free_lent() noexcept;
    void free_lent(const Freed& freed) noexcept;
    // A frame had so many bytes: a ring that is asked for from now on has room for it.
    void remember(std::size_t frame_bytes) noexcept;

    Slot& operator[](std::size_t index) noexcept { return slots_[index]; }
    std::uint32_t size() const noexcept { return num_slots_; }
    std::size_t slot_bytes() const noexcept { return wanted_bytes_; }
    std::size_t max_bytes() const noexcept { return max_bytes_; }

private:
    void bind(Slot* slot) noexcept;

    std::unique_ptr<Slot[]> slots_;
    std::uint32_t num_slots_ = 0;
    std::size_t wanted_bytes_ = 0;
    std::size_t max_bytes_ = 0;
    std::shared_ptr<Ring> ring_;
};

}  // namespace realmaster
