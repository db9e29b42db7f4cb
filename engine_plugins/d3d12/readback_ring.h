// Command lists of our own that copy textures into readback buffers, read once a fence says that
// the GPU is done. Footprints are built by hand: those that a driver proposes for planar depth
// formats are not alike everywhere.
#pragma once

#include <array>

#include "com_ptr.h"
#include "sdk.h"
#include "session.h"

namespace realmaster::d3d12 {

enum Lane : std::size_t { lane_color, lane_color_ui, lane_depth, lane_stencil, lane_targets };
constexpr std::size_t num_lanes = lane_targets + max_targets;

struct RingCounts {
    std::uint64_t submitted = 0;
    std::uint64_t collected = 0;
    std::uint64_t not_ready = 0;  // polls that found the GPU at work
    std::uint64_t full = 0;       // frames that found no free entry
};

// One texture to copy. state: as the game left it, to which it is brought back.
struct Source {
    ID3D12Resource* texture = nullptr;
    D3D12_RESOURCE_STATES state = D3D12_RESOURCE_STATE_COMMON;
    UINT plane = 0;  // 1: stencil
};

class ReadbackRing {
public:
    struct Entry {
        enum class State : std::uint8_t { free, recording, submitted, mapped };
        State state = State::free;
        Job job;
        Com<ID3D12CommandAllocator> allocator;
        Com<ID3D12GraphicsCommandList> list;
        Com<ID3D12Resource> buffer;
        UINT64 buffer_bytes = 0;
        UINT64 fence_value = 0;
        std::array<Source, num_lanes> sources{};
        std::array<Image, num_lanes> images{};      // data: offsets until mapped
        std::array<UINT64, num_lanes> offsets{};
    };

    bool open(ID3D12Device* device, std::uint32_t size) noexcept;
    void close(Session* session) noexcept;

    Entry* acquire() noexcept;
    void cancel(Entry* entry) noexcept {
        entry->state = Entry::State::free;
    }

    // Records the copies of entry->sources and executes them on the queue. False: nothing was.
    bool submit(ID3D12CommandQueue* queue, Entry* entry) noexcept;

    void poll(Session* session) noexcept;

    [[nodiscard]] const RingCounts& counts() const noexcept {
        return counts_;
    }
    void count_full() noexcept {
        ++counts_.full;
    }

private:
    bool lay_out(Entry* entry) noexcept;
    void record(Entry* entry, std::size_t lane) noexcept;
    bool map(Entry* entry) noexcept;
    Entry* oldest_submitted() noexcept;

    Com<ID3D12Device> device_;
    Com<ID3D12Fence> fence_;
    UINT64 last_value_ = 0;
    std::array<Entry, 8> entries_;
    std::uint32_t size_ = 0;
    RingCounts counts_;
};

// A barrier over the whole texture, skipped where it would change nothing.
void transition(ID3D12GraphicsCommandList* list, ID3D12Resource* texture,
                D3D12_RESOURCE_STATES before, D3D12_RESOURCE_STATES after) noexcept;

}  // namespace realmaster::d3d12
