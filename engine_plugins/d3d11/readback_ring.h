// Staging textures of a few frames, read once an event query says that the GPU is done.
// Map is gated by the query and not by D3D11_MAP_FLAG_DO_NOT_WAIT, which not every driver honours.
#pragma once

#define WIN32_LEAN_AND_MEAN
#include <d3d11_1.h>

#include <array>

#include "com_ptr.h"
#include "session.h"

namespace realmaster::d3d11 {

// What lies where in an entry.
enum Lane : std::size_t { lane_color, lane_color_ui, lane_depth, lane_stencil, lane_targets };
constexpr std::size_t num_lanes = lane_targets + max_targets;

struct RingCounts {
    std::uint64_t submitted = 0;
    std::uint64_t collected = 0;
    std::uint64_t not_ready = 0;  // polls that found the GPU at work
    std::uint64_t full = 0;       // frames that found no free entry
};

class ReadbackRing {
public:
    struct Entry {
        enum class State : std::uint8_t { free, recording, submitted, mapped };
        State state = State::free;
        Job job;
        Com<ID3D11Query> query;
        std::array<Com<ID3D11Texture2D>, num_lanes> staging;
        std::array<bool, num_lanes> used{};
        std::uint64_t order = 0;
    };

    void open(ID3D11Device* device, std::uint32_t size) noexcept;

    // Abandons what is under way and waits for the worker to let go of what is mapped.
    void close(ID3D11DeviceContext* context, Session* session) noexcept;

    // nullptr where all are under way.
    Entry* acquire() noexcept;

    // Copies a texture to its lane. False where no staging texture can be made.
    bool copy(ID3D11DeviceContext* context, Entry* entry, std::size_t lane,
              ID3D11Texture2D* source) noexcept;

    void submit(ID3D11DeviceContext* context, Entry* entry) noexcept;
    void cancel(Entry* entry) noexcept {
        entry->state = Entry::State::free;
    }

    // Maps what is finished and hands it to the worker; frees what the worker is done with.
    void poll(ID3D11DeviceContext* context, Session* session) noexcept;

    [[nodiscard]] const RingCounts& counts() const noexcept {
        return counts_;
    }
    void count_full() noexcept {
        ++counts_.full;
    }

private:
    bool map(ID3D11DeviceContext* context, Entry* entry) noexcept;
    void unmap(ID3D11DeviceContext* context, Entry* entry) noexcept;
    Entry* oldest(Entry::State state) noexcept;

    Com<ID3D11Device> device_;
    std::array<Entry, 8> entries_;
    std::uint32_t size_ = 0;
    std::uint64_t submissions_ = 0;
    RingCounts counts_;
};

}  // namespace realmaster::d3d11
