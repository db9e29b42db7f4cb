// See frame_tracker.h.
#include "frame_tracker.h"

namespace realmaster::d3d11 {

FrameTracker::Context* FrameTracker::context_of(ContextId id) noexcept {
    for (Context& context : contexts_) {
        ContextId there = context.id.load(std::memory_order_acquire);
        if (there == id) {
            return &context;
        }
        if (there == 0 && context.id.compare_exchange_strong(there, id)) {
            return &context;
        }
        if (there == id) {
            return &context;
        }
    }
    return nullptr;  // more contexts than anybody has: not counted
}

FrameTracker::Depth* FrameTracker::find(ResourceId depth) noexcept {
    if (depth == 0) {
        return nullptr;
    }
    for (Depth& entry : depths_) {
        if (entry.id == depth) {
            return &entry;
        }
    }
    return nullptr;
}

bool FrameTracker::knows(ResourceId depth) const noexcept {
    for (const Depth& entry : depths_) {
        if (entry.id == depth) {
            return true;
        }
    }
    return false;
}

bool FrameTracker::add_depth(ResourceId depth, std::uint32_t width, std::uint32_t height,
                             std::uint32_t samples) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (find(depth) != nullptr) {
        return false;  // another thread was faster
    }
    for (Depth& entry : depths_) {
        if (entry.id == 0) {
            entry.width = width;
            entry.height = height;
            entry.samples = samples;
            entry.draws.store(0, std::memory_order_relaxed);
            entry.draws_since_clear = 0;
            entry.snapshot_draws = 0;
            entry.passes = {};
            entry.id = depth;
            return true;
        }
    }
    return false;
}

FrameTracker::Pass* FrameTracker::pass_for(Depth* depth, const Targets& targets) noexcept {
    if (targets.count == 0) {
        return nullptr;
    }
    for (Pass& pass : depth->passes) {
        if (pass.targets.count == 0) {
            pass.targets = targets;
            return &pass;
        }
        if (pass.targets.count == targets.count && pass.targets.ids == targets.ids) {
            return &pass;
        }
    }
    return nullptr;
}

void FrameTracker::bind(ContextId id, ResourceId depth, const Targets& targets) noexcept {
    Context* context = context_of(id);
    if (context == nullptr) {
        return;
    }
    const ResourceId back_buffer = back_buffer_.load(std::memory_order_relaxed);
    context->depth = find(depth);
    context->to_back_buffer =
        targets.count > 0 && targets.ids[0] == back_buffer && back_buffer != 0;
    const bool scene = depth != 0 && depth == scene_.load(std::memory_order_relaxed);
    context->pass = scene && context->depth != nullptr ? pass_for(context->depth, targets) : nullptr;
}

void FrameTracker::set_blend(ContextId id, bool enabled) noexcept {
    if (Context* context = context_of(id)) {
        context->blends = enabled;
    }
}

void FrameTracker::set_depth_test(ContextId id, bool enabled) noexcept {
    if (Context* context = context_of(id)) {
        context->depth_test = enabled;
    }
}

bool FrameTracker::draw(ContextId id) noexcept {
    Context* context = context_of(id);
    if (context == nullptr) {
        return false;
    }
    if (context->depth != nullptr) {
        context->depth->draws.fetch_add(1, std::memory_order_relaxed);
        ++context->depth->draws_since_clear;
    }
    if (context->pass != nullptr) {
        ++context->pass->draws;
    }
    if (!context->to_back_buffer || hud_began_) {
        return false;
    }
    // A HUD is blended over the finished picture, without testing depth.
    const bool over_picture = context->depth == nullptr || !context->depth_test;
    if (context->blends && over_picture && opaque_to_back_buffer_ > 0) {
        hud_began_ = true;
        return true;
    }
    opaque_to_back_buffer_ += context->blends ? 0 : 1;
    return false;
}

bool FrameTracker::clear_depth(ResourceId depth) noexcept {
    Depth* entry = find(depth);
    if (entry == nullptr) {
        return false;
    }
    const bool better = depth == scene_.load(std::memory_order_relaxed) &&
                        entry->draws_since_clear > entry->snapshot_draws;
    if (better) {
        entry->snapshot_draws = entry->draws_since_clear;
    }
    entry->draws_since_clear = 0;
    return better;
}

bool FrameTracker::snapshot_is_better(ResourceId depth) const noexcept {
    for (const Depth& entry : depths_) {
        if (entry.id == depth && depth != 0) {
            return entry.snapshot_draws > entry.draws_since_clear;
        }
    }
    return false;
}

std::size_t FrameTracker::candidates(
    std::array<DepthCandidate, DepthChooser::max_candidates>* out) const noexcept {
    std::size_t count = 0;
    for (const Depth& entry : depths_) {
        const std::uint64_t draws = entry.draws.load(std::memory_order_relaxed);
        if (entry.id != 0 && draws > 0) {
            (*out)[count++] = {entry.id, entry.width, entry.height, entry.samples, draws};
        }
    }
    return count;
}

Targets FrameTracker::pass_of(ResourceId depth) const noexcept {
    Targets best;
    std::uint64_t most = 0;
    for (const Depth& entry : depths_) {
        if (entry.id != depth || depth == 0) {
            continue;
        }
        for (const Pass& pass : entry.passes) {
            if (pass.draws > most) {
                most = pass.draws;
                best = pass.targets;
            }
        }
    }
    return best;
}

std::size_t FrameTracker::end_frame(
    std::array<ResourceId, DepthChooser::max_candidates>* gone) noexcept {
    const std::lock_guard<std::mutex> guard(mutex_);
    std::size_t count = 0;
    for (Depth& entry : depths_) {
        bool bound = false;
        for (const Context& context : contexts_) {
            bound = bound || context.depth == &entry;
        }
        if (entry.id != 0 && !bound && entry.draws.load(std::memory_order_relaxed) == 0) {
            (*gone)[count++] = entry.id;
            entry.id = 0;
        }
        entry.draws.store(0, std::memory_order_relaxed);
        entry.snapshot_draws = 0;
        entry.draws_since_clear = 0;
        for (Pass& pass : entry.passes) {
            pass = {};
        }
    }
    for (Context& context : contexts_) {
        context.pass = nullptr;  // taken up again when it binds
    }
    opaque_to_back_buffer_ = 0;
    hud_began_ = false;
    return count;
}

std::size_t FrameTracker::clear(
    std::array<ResourceId, DepthChooser::max_candidates>* gone) noexcept {
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        for (Context& context : contexts_) {
            context.depth = nullptr;
            context.to_back_buffer = false;
        }
        for (Depth& entry : depths_) {
            entry.draws.store(0, std::memory_order_relaxed);
        }
    }
    return end_frame(gone);
}

}  // namespace realmaster::d3d11
