// What a Direct3D 12 game's command lists do to depth buffers, render targets and their states.
// Pure: objects are ids, no Direct3D call is made here; unit-tested without Windows.
//
// Recording is seen per list, on whatever thread records it, and folded into the global account
// when the list is executed, in the order of execution. All maps are bounded; what does not fit
// is counted and ignored.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "depth_chooser.h"
#include "id_table.h"

namespace realmaster::d3d12 {

using ListId = std::uint64_t;
using DescriptorId = std::uint64_t;  // a CPU descriptor handle's address
using PipelineId = std::uint64_t;
using State = std::uint32_t;         // D3D12_RESOURCE_STATES

constexpr State state_unknown = 0xFFFFFFFFU;
constexpr State state_depth_write = 0x10;

struct TextureInfo {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint32_t format = 0;
    std::uint32_t samples = 1;
    bool depth = false;  // may be a depth-stencil target
};

constexpr std::uint64_t unused_frames = 300;  // then a texture makes room for another
constexpr std::size_t max_textures = 1024;
constexpr std::size_t max_descriptors = 8192;
constexpr std::size_t max_lists = 512;
constexpr std::size_t max_pipelines = 8192;
constexpr std::size_t max_list_textures = 48;  // that one list touches
constexpr std::size_t max_bound_targets = 8;

struct BoundTargets {
    std::array<ResourceId, max_bound_targets> ids{};
    std::uint32_t count = 0;
};

struct TrackerCounts {
    std::uint64_t ignored = 0;  // did not fit into a map
    std::uint64_t late = 0;     // depth buffers first seen in a barrier: made before the hooks
};

class Tracker {
public:
    // --- objects, on any thread ---
    // A texture that can be a target was made; the id's earlier owner is forgotten. Ids are only
    // followed to objects that a list of the same frame used, so what was destroyed does no harm.
    void texture_made(ResourceId id, const TextureInfo& info, State initial) noexcept;
    // Known already, or registered now with an unknown state: it was made before the hooks.
    // False where it was not known: then the caller describes it with texture_found.
    [[nodiscard]] bool knows(ResourceId id) const noexcept;
    void texture_found(ResourceId id, const TextureInfo& info) noexcept;
    void view_made(DescriptorId descriptor, ResourceId texture) noexcept;
    void views_copied(DescriptorId to, DescriptorId from, std::uint32_t count,
                      std::uint32_t increment) noexcept;
    [[nodiscard]] ResourceId texture_of(DescriptorId descriptor) const noexcept;
    void pipeline_made(PipelineId id, bool blends, bool tests_depth) noexcept;

    // --- recording, on the thread that records the list ---
    void list_reset(ListId list) noexcept;
    void list_targets(ListId list, const BoundTargets& targets, ResourceId depth) noexcept;
    void list_pipeline(ListId list, PipelineId pipeline) noexcept;
    void list_draw(ListId list) noexcept;
    // True where the scene was drawn to it before: a copy must be recorded ahead of the clear.
    bool list_clear_depth(ListId list, ResourceId depth) noexcept;
    void list_bundle(ListId list, ListId bundle) noexcept;
    // All subresources, or subresource 0; the begin half of a split barrier is not passed on.
    void list_barrier(ListId list, ResourceId texture, State before, State after) noexcept;

    // --- execution, in order ---
    // Whether this list draws the HUD over the finished picture, and nothing else before that:
    // color must be copied ahead of it. True once a frame.
    [[nodiscard]] bool begins_hud(ListId list) noexcept;
    void executed(ListId list) noexcept;

    // --- present ---
    void set_scene(ResourceId depth) noexcept;
    void set_back_buffers(const ResourceId* ids, std::size_t count) noexcept;
    std::size_t candidates(std::array<DepthCandidate, DepthChooser::max_candidates>* out) noexcept;
    [[nodiscard]] State state_of(ResourceId texture) const noexcept;
    [[nodiscard]] bool info_of(ResourceId texture, TextureInfo* info) const noexcept;
    // Targets bound with the scene's depth for most draws of this frame.
    [[nodiscard]] BoundTargets pass_targets() const noexcept;
    // Whether the copy ahead of a clear holds more of the frame than the buffer itself.
    [[nodiscard]] bool snapshot_is_better() const noexcept;
    void end_frame() noexcept;
    [[nodiscard]] TrackerCounts counts() const noexcept;

private:
    struct Texture {
        ResourceId id = 0;
        TextureInfo info;
        State state = state_unknown;
        std::uint64_t draws = 0;
        std::uint64_t draws_since_clear = 0;
        std::uint64_t snapshot_draws = 0;
        std::uint64_t last_used = 0;  // frame
    };
    // What one list does to one texture.
    struct Touch {
        ResourceId id = 0;
        State last_after = state_unknown;
        std::uint64_t draws = 0;
        std::uint64_t draws_since_clear = 0;
        std::uint64_t draws_before_copy = 0;
        std::uint32_t writes_ended = 0;  // DEPTH_WRITE to another state: all that late loads see
        bool cleared = false;
        bool copied = false;
    };
    struct List {
        std::atomic<ListId> id{0};
        std::array<Touch, max_list_textures> touches{};
        std::uint32_t num_touches = 0;
        BoundTargets targets;
        ResourceId depth = 0;
        bool blends = false;
        bool tests_depth = true;
        bool pipeline_known = false;
        BoundTargets pass;  // bound with the scene's depth for most draws
        std::uint64_t pass_draws = 0;
        std::uint64_t bound_draws = 0;  // since the targets were bound
        std::uint64_t draws = 0;
        std::uint64_t opaque_to_back_buffer = 0;
        bool hud_first = false;  // its first draw is a HUD's
    };
    struct View {
        DescriptorId id = 0;
        ResourceId texture = 0;
    };
    struct Pipeline {
        PipelineId id = 0;
        bool blends = false;
        bool tests_depth = true;
    };

    List* list_of(ListId id) noexcept;
    Touch* touch(List* list, ResourceId texture) noexcept;
    [[nodiscard]] bool is_back_buffer(ResourceId id) const noexcept;
    static void end_binding(List* list, ResourceId scene) noexcept;
    void fold(const Touch& touch) noexcept;

    mutable std::mutex mutex_;  // of textures, views, pipelines and the frame's account
    IdTable<Texture, max_textures> textures_;
    IdTable<View, max_descriptors> views_;
    IdTable<Pipeline, max_pipelines> pipelines_;
    void forget_unused() noexcept;
    std::uint64_t frame_ = 0;
    BoundTargets pass_;
    std::uint64_t pass_draws_ = 0;
    std::uint64_t opaque_to_back_buffer_ = 0;
    bool hud_began_ = false;

    std::array<List, max_lists> lists_{};  // each used by one thread at a time
    std::atomic<ResourceId> scene_{0};
    std::array<std::atomic<ResourceId>, 16> back_buffers_{};
    std::atomic<std::uint64_t> ignored_{0};
    std::atomic<std::uint64_t> late_{0};
};

}  // namespace realmaster::d3d12
