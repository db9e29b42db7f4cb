// What a Direct3D 11 game drew where since the last present, from the calls that it made.
// Pure: resources and contexts are ids. Decides which depth to read, whether its snapshot before a
// clear is the better one, which targets hold the G-buffer, and where the HUD begins.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "depth_chooser.h"

namespace realmaster::d3d11 {

using ContextId = std::uint64_t;

constexpr std::size_t max_contexts = 16;
constexpr std::size_t max_passes = 4;
constexpr std::size_t max_pass_targets = 8;

struct Targets {
    std::array<ResourceId, max_pass_targets> ids{};
    std::uint32_t count = 0;
};

class FrameTracker {
public:
    void set_back_buffer(ResourceId id) noexcept {
        back_buffer_.store(id, std::memory_order_relaxed);
    }

    // The depth buffer whose passes and clears matter; 0: none yet.
    void set_scene(ResourceId depth) noexcept {
        scene_.store(depth, std::memory_order_relaxed);
    }

    [[nodiscard]] bool knows(ResourceId depth) const noexcept;

    // False where the table is full: the buffer is then ignored.
    bool add_depth(ResourceId depth, std::uint32_t width, std::uint32_t height,
                   std::uint32_t samples) noexcept;

    // depth 0: none is bound, or one that is not known.
    void bind(ContextId context, ResourceId depth, const Targets& targets) noexcept;
    void unbind(ContextId context) noexcept {
        bind(context, 0, {});
    }
    void set_blend(ContextId context, bool enabled) noexcept;
    void set_depth_test(ContextId context, bool enabled) noexcept;

    // Hot. True where this draw is the HUD's first: color must be taken before it.
    bool draw(ContextId context) noexcept;

    // True where the scene's depth is about to be lost: a snapshot must be taken now.
    bool clear_depth(ResourceId depth) noexcept;

    // Whether the snapshot holds more of the frame than the buffer itself.
    [[nodiscard]] bool snapshot_is_better(ResourceId depth) const noexcept;

    // What was drawn to; returns how many.
    std::size_t candidates(std::array<DepthCandidate, DepthChooser::max_candidates>* out) const
        noexcept;

    // The targets bound with this depth for most draws; empty where none were.
    [[nodiscard]] Targets pass_of(ResourceId depth) const noexcept;

    // Starts the next frame. Depth buffers that nobody used or has bound are forgotten: their ids
    // are written to `gone`; returns how many.
    std::size_t end_frame(std::array<ResourceId, DepthChooser::max_candidates>* gone) noexcept;

    // Forgets every depth buffer and binding; ids as end_frame.
    std::size_t clear(std::array<ResourceId, DepthChooser::max_candidates>* gone) noexcept;

private:
    struct Pass {
        Targets targets;
        std::uint64_t draws = 0;
    };
    struct Depth {
        ResourceId id = 0;
        std::uint32_t width = 0;
        std::uint32_t height = 0;
        std::uint32_t samples = 1;
        std::atomic<std::uint64_t> draws{0};
        std::uint64_t draws_since_clear = 0;
        std::uint64_t snapshot_draws = 0;
        std::array<Pass, max_passes> passes{};
    };
    struct Context {
        std::atomic<ContextId> id{0};
        Depth* depth = nullptr;
        Pass* pass = nullptr;
        bool to_back_buffer = false;
        bool blends = false;
        bool depth_test = true;
    };

    Context* context_of(ContextId id) noexcept;
    Depth* find(ResourceId depth) noexcept;
    Pass* pass_for(Depth* depth, const Targets& targets) noexcept;

    std::atomic<ResourceId> back_buffer_{0};
    std::atomic<ResourceId> scene_{0};
    std::uint64_t opaque_to_back_buffer_ = 0;
    bool hud_began_ = false;
    std::mutex mutex_;  // of additions; contexts' own state needs none
    std::array<Context, max_contexts> contexts_{};
    std::array<Depth, DepthChooser::max_candidates> depths_{};
};

}  // namespace realmaster::d3d11
