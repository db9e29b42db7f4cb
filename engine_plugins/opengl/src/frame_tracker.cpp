#include "frame_tracker.h"

#include <algorithm>
#include <cmath>

namespace realmaster::opengl {
namespace {

// A hand or a head has a few hundred vertices where the world has thousands; a mirror shows about
// as much as the view that follows it.
constexpr double later_pass_share = 0.35;
// Beyond this difference of aspect a view is no picture of the window's (shadow maps are square).
constexpr double aspect_tolerance = 0.08;
constexpr std::uint32_t quad_vertices = 6;
// A pass that was copied already is copied again only if this much of it came after.
constexpr double growth = 1.1;

double area(const Rect& r) noexcept { return static_cast<double>(r.width) * r.height; }

bool same_view(const DepthLaw& a, const DepthLaw& b) noexcept {
    return same_law(a, b) && std::abs(a.p.fx - b.p.fx) < 1e-3 * std::abs(a.p.fx) &&
           std::abs(a.p.fy - b.p.fy) < 1e-3 * std::abs(a.p.fy);
}

}  // namespace

const char* name_of(Trigger trigger) noexcept {
    switch (trigger) {
        case Trigger::full_depth_clear:
            return "full depth clear";
        case Trigger::partial_depth_clear:
            return "partial depth clear";
        case Trigger::orthographic:
            return "orthographic projection";
        case Trigger::after_composite:
            return "after the composite";
        case Trigger::swap:
            return "swap";
        case Trigger::none:
            break;
    }
    return "none";
}

// A view product's b is a difference of large numbers, hence the tolerance.
bool same_law(const DepthLaw& a, const DepthLaw& b) noexcept {
    return std::abs(a.p.a - b.p.a) < 4e-6 && std::abs(a.p.b - b.p.b) < 4e-3 * std::abs(a.p.b) &&
           std::abs(a.mapping.range_near - b.mapping.range_near) < 1e-6 &&
           std::abs(a.mapping.range_far - b.mapping.range_far) < 1e-6 &&
           a.mapping.zero_to_one == b.mapping.zero_to_one;
}

void FrameTracker::begin_frame(Rect window) noexcept {
    window_ = window;
    for (Pass& pass : passes_) pass.used = false;
    chosen_ = World{};
    chosen_score_ = 0;
    chosen_pass_ = 0;
    next_pass_ = 1;
    composed_ = color_done_ = false;
    num_votes_ = 0;
    vote_order_ = 0;
}

FrameTracker::Pass* FrameTracker::pass_of(GLuint framebuffer, bool make) noexcept {
    Pass* spare = nullptr;
    for (Pass& pass : passes_) {
        if (pass.used && pass.framebuffer == framebuffer) return &pass;
        if (!pass.used && spare == nullptr) spare = &pass;
    }
    if (!make || spare == nullptr) return nullptr;
    spare->used = true;
    spare->framebuffer = framebuffer;
    spare->id = next_pass_++;
    spare->score = 0;
    spare->vertices = 0;
    spare->num_views = spare->num_segments = 0;
    return spare;
}

FrameTracker::Pass* FrameTracker::leading() noexcept {
    Pass* best = nullptr;
    for (Pass& pass : passes_) {
        if (pass.used && (best == nullptr || pass.score > best->score)) best = &pass;
    }
    return best;
}

double FrameTracker::score_of(const Draw& draw) const noexcept {
    if (draw.partial_scissor || draw.viewport.width <= 0 || draw.viewport.height <= 0) return 0;
    double score = draw.vertices;
    if (window_.width > 0 && window_.height > 0) {
        const double aspect = static_cast<double>(draw.viewport.width) / draw.viewport.height;
        const double of_window = static_cast<double>(window_.width) / window_.height;
        if (std::abs(aspect / of_window - 1) > aspect_tolerance) score *= 0.1;
        score *= std::min(1.0, area(draw.viewport) / area(window_));
    }
    return score;
}

void FrameTracker::add_to(Pass* pass, const Draw& draw) noexcept {
    pass->score += score_of(draw);
    pass->vertices += draw.vertices;
    Pass::View* view = nullptr;
    for (int i = 0; i < pass->num_views && view == nullptr; ++i) {
        Pass::View& known = pass->views[static_cast<std::size_t>(i)];
        if (same_view(known.law, draw.law) && known.viewport == draw.viewport) view = &known;
    }
    if (view == nullptr) {
        if (pass->num_views == static_cast<int>(pass->views.size())) return;
        view = &pass->views[static_cast<std::size_t>(pass->num_views++)];
        *view = {draw.law, draw.viewport, draw.exactness, 0};
    }
    view->vertices += draw.vertices;
    if (draw.exactness > view->exactness) {
        view->law = draw.law;
        view->exactness = draw.exactness;
    }
}

// The number of the segment that begins with this draw, if depth must be copied before it; else -1.
int FrameTracker::open_segment(Pass* pass, const Draw& draw) noexcept {
    if (!draw.writes_depth) return -1;
    const DepthMapping& mapping = draw.law.mapping;
    if (std::abs(mapping.range_far - mapping.range_near) < 1e-9) return -1;  // sky at one depth
    const int n = pass->num_segments;
    if (n > 0 && same_law(pass->segments[static_cast<std::size_t>(n - 1)], draw.law)) return -1;
    if (n == max_segments) return -1;
    pass->segments[static_cast<std::size_t>(n)] = draw.law;
    pass->num_segments = n + 1;
    return n > 0 ? n : -1;
}

void FrameTracker::vote(const Draw& draw, std::uint32_t pass_id) noexcept {
    if (!draw.has_model_view) return;
    std::size_t place = num_votes_;
    if (place == max_votes) {
        place = 0;
        for (std::size_t i = 1; i < max_votes; ++i) {
            if (votes_[i].vertices < votes_[place].vertices) place = i;
        }
        if (votes_[place].vertices >= draw.vertices) return;
    } else {
        ++num_votes_;
    }
    votes_[place] = {draw.key, vote_order_++, draw.vertices, draw.model_view};
    vote_pass_[place] = pass_id;
}

bool FrameTracker::beats_chosen(const Pass& pass) const noexcept {
    const double factor = pass.id == chosen_pass_ ? growth : later_pass_share;
    return pass.score > 0 && pass.score >= factor * chosen_score_;
}

Actions FrameTracker::choose(const Pass& pass, Trigger trigger) noexcept {
    const Pass::View* main = nullptr;
    for (int i = 0; i < pass.num_views; ++i) {
        const Pass::View& view = pass.views[static_cast<std::size_t>(i)];
        if (main == nullptr || view.vertices > main->vertices) main = &view;
    }
    Actions actions;
    if (main == nullptr || pass.num_segments == 0) return actions;  // no depth, no world
    chosen_.found = true;
    chosen_.framebuffer = pass.framebuffer;
    chosen_.viewport = main->viewport;
    chosen_.p = main->law.p;
    chosen_.zero_to_one = main->law.mapping.zero_to_one;
    chosen_.trigger = trigger;
    chosen_.num_segments = pass.num_segments;
    chosen_.segments = pass.segments;
    chosen_.vertices = pass.vertices;
    chosen_score_ = pass.score;
    chosen_pass_ = pass.id;
    // A segment that fits the view takes its better known numbers.
    for (DepthLaw& law : chosen_.segments) {
        if (same_law(law, main->law)) law = main->law;
    }
    color_done_ = pass.framebuffer == 0 || trigger == Trigger::orthographic;
    actions.depth = true;
    actions.color = color_done_;
    actions.color_framebuffer = actions.depth_framebuffer = pass.framebuffer;
    actions.trigger = trigger;
    return actions;
}

// A draw that is no part of a world: HUD, full-screen quads of post-processing, composites.
Actions FrameTracker::overlay(const Draw& draw) noexcept {
    Actions none;
    Pass* pass = leading();
    if (pass == nullptr) return none;
    const bool orthographic = draw.kind == MatrixKind::affine;
    const bool quad = draw.vertices <= quad_vertices && !draw.blends && !draw.tests_depth;
    if (draw.framebuffer == pass->framebuffer) {
        if (!orthographic || (pass->framebuffer != 0 && quad)) return none;
        if (!beats_chosen(*pass)) return none;
        return choose(*pass, Trigger::orthographic);
    }
    if (draw.framebuffer != 0) return none;
    if (quad || !composed_) {
        composed_ = true;
        return none;
    }
    if (color_done_ || !(beats_chosen(*pass) || pass->id == chosen_pass_)) return none;
    Actions actions = choose(*pass, Trigger::after_composite);
    actions.color = color_done_ = true;
    actions.color_framebuffer = 0;
    return actions;
}

Actions FrameTracker::draw(const Draw& draw) noexcept {
    const bool perspective =
        draw.kind == MatrixKind::projection || draw.kind == MatrixKind::view_product;
    if (!perspective) return overlay(draw);
    Actions actions;
    const bool onto_composite = draw.framebuffer == 0 && composed_;
    if (onto_composite) return overlay(draw);
    Pass* pass = pass_of(draw.framebuffer, true);
    if (pass == nullptr) return actions;
    const int segment = open_segment(pass, draw);
    if (segment >= 0) {
        actions.segment = segment;
        actions.depth_framebuffer = draw.framebuffer;
    }
    add_to(pass, draw);
    vote(draw, pass->id);
    return actions;
}

void FrameTracker::composite() noexcept {
    const Pass* pass = leading();
    if (pass != nullptr && pass->framebuffer != 0) composed_ = true;
}

Actions FrameTracker::depth_clear(GLuint framebuffer, bool partial) noexcept {
    Pass* pass = pass_of(framebuffer, false);
    if (pass == nullptr) return {};
    Actions actions;
    if (beats_chosen(*pass)) {
        actions =
            choose(*pass, partial ? Trigger::partial_depth_clear : Trigger::full_depth_clear);
    }
    if (!partial) pass->used = false;  // what follows is another pass
    return actions;
}

Actions FrameTracker::finish() noexcept {
    Pass* pass = leading();
    Actions actions;
    if (pass != nullptr && beats_chosen(*pass)) {
        actions = choose(*pass, Trigger::swap);
    }
    if (chosen_.found && !color_done_) {
        actions.color = color_done_ = true;
        actions.color_framebuffer = 0;
        actions.trigger = chosen_.trigger;
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < num_votes_; ++i) {
        if (vote_pass_[i] == chosen_pass_) votes_[kept++] = votes_[i];
    }
    num_votes_ = kept;
    return actions;
}

}  // namespace realmaster::opengl
