// See tracker.h.
#include "tracker.h"

namespace realmaster::d3d12 {

using Guard = std::lock_guard<std::mutex>;

// --- objects ---------------------------------------------------------------------------------

void Tracker::texture_made(ResourceId id, const TextureInfo& info, State initial) noexcept {
    const Guard guard(mutex_);
    textures_.erase(id);
    Texture* texture = textures_.find_or_add(id);
    if (texture == nullptr) {
        forget_unused();
        texture = textures_.find_or_add(id);
    }
    if (texture == nullptr) {
        ignored_.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    texture->info = info;
    texture->state = initial;
    texture->last_used = frame_;
}

void Tracker::forget_unused() noexcept {
    for (Texture& texture : textures_.all()) {
        if (texture.id > textures_.removed && frame_ - texture.last_used > unused_frames) {
            textures_.erase(texture.id);
        }
    }
}

bool Tracker::knows(ResourceId id) const noexcept {
    const Guard guard(mutex_);
    return textures_.find(id) != nullptr;
}

void Tracker::texture_found(ResourceId id, const TextureInfo& info) noexcept {
    late_.fetch_add(info.depth ? 1 : 0, std::memory_order_relaxed);
    texture_made(id, info, state_unknown);
}

void Tracker::view_made(DescriptorId descriptor, ResourceId texture) noexcept {
    const Guard guard(mutex_);
    if (View* view = views_.find_or_add(descriptor)) {
        view->texture = texture;
    } else {
        ignored_.fetch_add(1, std::memory_order_relaxed);
    }
}

void Tracker::views_copied(DescriptorId to, DescriptorId from, std::uint32_t count,
                           std::uint32_t increment) noexcept {
    const Guard guard(mutex_);
    for (std::uint32_t i = 0; i < count && i < max_descriptors; ++i) {
        const View* source = views_.find(from + std::uint64_t{i} * increment);
        if (source == nullptr) {
            continue;
        }
        const ResourceId texture = source->texture;
        if (View* target = views_.find_or_add(to + std::uint64_t{i} * increment)) {
            target->texture = texture;
        } else {
            ignored_.fetch_add(1, std::memory_order_relaxed);
        }
    }
}

ResourceId Tracker::texture_of(DescriptorId descriptor) const noexcept {
    const Guard guard(mutex_);
    const View* view = views_.find(descriptor);
    return view != nullptr ? view->texture : 0;
}

void Tracker::pipeline_made(PipelineId id, bool blends, bool tests_depth) noexcept {
    const Guard guard(mutex_);
    if (Pipeline* pipeline = pipelines_.find_or_add(id)) {
        pipeline->blends = blends;
        pipeline->tests_depth = tests_depth;
    } else {
        ignored_.fetch_add(1, std::memory_order_relaxed);
    }
}

// --- recording -------------------------------------------------------------------------------

// Lists are found without a lock: an id, once it has a place, keeps it.
Tracker::List* Tracker::list_of(ListId id) noexcept {
    const auto start = static_cast<std::size_t>((id * 0x9E3779B97F4A7C15ULL) >> 32U);
    for (std::size_t step = 0; step < max_lists; ++step) {
        List& list = lists_[(start + step) % max_lists];
        ListId there = list.id.load(std::memory_order_acquire);
        if (there == id) {
            return &list;
        }
        if (there == 0 && list.id.compare_exchange_strong(there, id)) {
            return &list;
        }
        if (there == id) {
            return &list;
        }
    }
    ignored_.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
}

Tracker::Touch* Tracker::touch(List* list, ResourceId texture) noexcept {
    for (std::uint32_t i = 0; i < list->num_touches; ++i) {
        if (list->touches[i].id == texture) {
            return &list->touches[i];
        }
    }
    if (list->num_touches == max_list_textures || texture == 0) {
        ignored_.fetch_add(texture != 0 ? 1 : 0, std::memory_order_relaxed);
        return nullptr;
    }
    Touch& made = list->touches[list->num_touches++];
    made = {};
    made.id = texture;
    return &made;
}

bool Tracker::is_back_buffer(ResourceId id) const noexcept {
    for (const auto& buffer : back_buffers_) {
        if (id != 0 && buffer.load(std::memory_order_relaxed) == id) {
            return true;
        }
    }
    return false;
}

void Tracker::end_binding(List* list, ResourceId scene) noexcept {
    if (list->depth != 0 && list->depth == scene && list->targets.count > 0 &&
        list->bound_draws > list->pass_draws) {
        list->pass = list->targets;
        list->pass_draws = list->bound_draws;
    }
    list->bound_draws = 0;
}

void Tracker::list_reset(ListId id) noexcept {
    if (List* list = list_of(id)) {
        list->num_touches = 0;
        list->targets = {};
        list->depth = 0;
        list->pipeline_known = false;
        list->blends = false;
        list->tests_depth = true;
        list->pass = {};
        list->pass_draws = list->bound_draws = list->draws = 0;
        list->opaque_to_back_buffer = 0;
        list->hud_first = false;
    }
}

void Tracker::list_targets(ListId id, const BoundTargets& targets, ResourceId depth) noexcept {
    if (List* list = list_of(id)) {
        end_binding(list, scene_.load(std::memory_order_relaxed));
        list->targets = targets;
        list->depth = depth;
    }
}

void Tracker::list_pipeline(ListId id, PipelineId pipeline) noexcept {
    List* list = list_of(id);
    if (list == nullptr) {
        return;
    }
    const Guard guard(mutex_);
    const Pipeline* known = pipelines_.find(pipeline);
    list->pipeline_known = known != nullptr;
    list->blends = known != nullptr && known->blends;
    list->tests_depth = known == nullptr || known->tests_depth;
}

void Tracker::list_draw(ListId id) noexcept {
    List* list = list_of(id);
    if (list == nullptr) {
        return;
    }
    ++list->bound_draws;
    if (list->depth != 0) {
        if (Touch* depth = touch(list, list->depth)) {
            ++depth->draws;
            ++depth->draws_since_clear;
        }
    }
    const bool to_back_buffer = list->targets.count > 0 && is_back_buffer(list->targets.ids[0]);
    const bool over_picture = list->depth == 0 || !list->tests_depth;
    if (list->draws == 0) {
        list->hud_first = to_back_buffer && list->pipeline_known && list->blends && over_picture;
    }
    ++list->draws;
    if (to_back_buffer && !list->blends) {
        ++list->opaque_to_back_buffer;
    }
}

bool Tracker::list_clear_depth(ListId id, ResourceId depth) noexcept {
    List* list = list_of(id);
    Touch* touched = list != nullptr ? touch(list, depth) : nullptr;
    if (touched == nullptr) {
        return false;
    }
    std::uint64_t before = touched->draws_since_clear;
    const bool scene = depth == scene_.load(std::memory_order_relaxed);
    if (scene && !touched->cleared) {
        const Guard guard(mutex_);
        if (const Texture* texture = textures_.find(depth)) {
            before += texture->draws_since_clear;  // of lists executed before this was recorded
        }
    }
    const bool copy = scene && before > touched->draws_before_copy;
    if (copy) {
        touched->draws_before_copy = before;
        touched->copied = true;
    }
    touched->cleared = true;
    touched->draws_since_clear = 0;
    return copy;
}

void Tracker::list_bundle(ListId id, ListId bundle) noexcept {
    List* inner = list_of(bundle);
    if (inner == nullptr) {
        return;
    }
    for (std::uint64_t i = 0; i < inner->draws; ++i) {
        list_draw(id);
    }
}

void Tracker::list_barrier(ListId id, ResourceId texture, State before, State after) noexcept {
    List* list = list_of(id);
    Touch* touched = list != nullptr ? touch(list, texture) : nullptr;
    if (touched != nullptr) {
        touched->writes_ended += (before & state_depth_write) != 0 ? 1U : 0U;
        touched->last_after = after;
    }
}

// --- execution -------------------------------------------------------------------------------

bool Tracker::begins_hud(ListId id) noexcept {
    const List* list = list_of(id);
    if (list == nullptr || !list->hud_first) {
        return false;
    }
    const Guard guard(mutex_);
    const bool first = !hud_began_ && opaque_to_back_buffer_ > 0;
    hud_began_ = hud_began_ || first;
    return first;
}

void Tracker::fold(const Touch& touched) noexcept {
    Texture* texture = textures_.find(touched.id);
    if (texture == nullptr) {
        return;
    }
    texture->last_used = frame_;
    if (touched.last_after != state_unknown) {
        texture->state = touched.last_after;
    }
    // Made before the hooks, its views are unknown and its draws unseen; that it was written is not.
    const std::uint64_t draws =
        touched.draws == 0 && texture->info.depth ? touched.writes_ended : touched.draws;
    texture->draws += draws;
    if (touched.copied) {
        texture->snapshot_draws = touched.draws_before_copy;
    }
    texture->draws_since_clear =
        touched.cleared ? touched.draws_since_clear : texture->draws_since_clear + touched.draws;
}

void Tracker::executed(ListId id) noexcept {
    List* list = list_of(id);
    if (list == nullptr) {
        return;
    }
    end_binding(list, scene_.load(std::memory_order_relaxed));
    const Guard guard(mutex_);
    for (std::uint32_t i = 0; i < list->num_touches; ++i) {
        fold(list->touches[i]);
    }
    if (list->pass_draws > pass_draws_) {
        pass_ = list->pass;
        pass_draws_ = list->pass_draws;
    }
    opaque_to_back_buffer_ += list->opaque_to_back_buffer;
}

// --- present ---------------------------------------------------------------------------------

void Tracker::set_scene(ResourceId depth) noexcept {
    scene_.store(depth, std::memory_order_relaxed);
}

void Tracker::set_back_buffers(const ResourceId* ids, std::size_t count) noexcept {
    for (std::size_t i = 0; i < back_buffers_.size(); ++i) {
        back_buffers_[i].store(i < count ? ids[i] : 0, std::memory_order_relaxed);
    }
}

std::size_t Tracker::candidates(
    std::array<DepthCandidate, DepthChooser::max_candidates>* out) noexcept {
    const Guard guard(mutex_);
    std::size_t count = 0;
    for (const Texture& texture : textures_.all()) {
        if (texture.draws > 0 && texture.info.depth && count < out->size()) {
            (*out)[count++] = {texture.id, texture.info.width, texture.info.height,
                               texture.info.samples, texture.draws};
        }
    }
    return count;
}

State Tracker::state_of(ResourceId id) const noexcept {
    const Guard guard(mutex_);
    const Texture* texture = textures_.find(id);
    return texture != nullptr ? texture->state : state_unknown;
}

bool Tracker::info_of(ResourceId id, TextureInfo* info) const noexcept {
    const Guard guard(mutex_);
    const Texture* texture = textures_.find(id);
    if (texture != nullptr) {
        *info = texture->info;
    }
    return texture != nullptr;
}

BoundTargets Tracker::pass_targets() const noexcept {
    const Guard guard(mutex_);
    return pass_;
}

bool Tracker::snapshot_is_better() const noexcept {
    const Guard guard(mutex_);
    const Texture* scene = textures_.find(scene_.load(std::memory_order_relaxed));
    return scene != nullptr && scene->snapshot_draws > scene->draws_since_clear;
}

void Tracker::end_frame() noexcept {
    const Guard guard(mutex_);
    ++frame_;
    for (Texture& texture : textures_.all()) {
        texture.draws = texture.draws_since_clear = texture.snapshot_draws = 0;
    }
    pass_ = {};
    pass_draws_ = opaque_to_back_buffer_ = 0;
    hud_began_ = false;
}

TrackerCounts Tracker::counts() const noexcept {
    return {ignored_.load(std::memory_order_relaxed), late_.load(std::memory_order_relaxed)};
}

}  // namespace realmaster::d3d12
