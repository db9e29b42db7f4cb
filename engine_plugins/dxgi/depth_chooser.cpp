// See depth_chooser.h.
#include "depth_chooser.h"

namespace realmaster {

namespace {

// Upscalers render at a third of the output's side at least; supersampling at twice at most.
constexpr double min_scale = 0.32;
constexpr double max_scale = 2.01;
constexpr double max_aspect_error = 0.01;  // render sizes are rounded to whole pixels

}  // namespace

void DepthChooser::set_output(std::uint32_t width, std::uint32_t height) noexcept {
    width_ = width;
    height_ = height;
    kept_ = {};
    idle_presents_ = 0;
}

void DepthChooser::forget(ResourceId id) noexcept {
    if (kept_.id == id) {
        kept_ = {};
        idle_presents_ = 0;
    }
}

bool DepthChooser::fits_exactly(const DepthCandidate& candidate) const noexcept {
    return candidate.width == width_ && candidate.height == height_;
}

bool DepthChooser::fits_upscaled(const DepthCandidate& candidate) const noexcept {
    if (height_ == 0 || candidate.height == 0) {
        return false;
    }
    const double scale = static_cast<double>(candidate.height) / height_;
    const double aspect = static_cast<double>(width_) / height_;
    const double its_aspect = static_cast<double>(candidate.width) / candidate.height;
    const double error = its_aspect / aspect - 1.0;
    return scale >= min_scale && scale <= max_scale && error <= max_aspect_error &&
           error >= -max_aspect_error;
}

DepthChoice DepthChooser::choose(const DepthCandidate* candidates, std::size_t count) noexcept {
    DepthChoice best{};
    std::uint32_t drawn = 0;
    std::uint64_t draws_of_kept = 0;
    bool best_is_exact = false;
    for (std::size_t i = 0; i < count; ++i) {
        const DepthCandidate& candidate = candidates[i];
        if (candidate.draws == 0) {
            continue;
        }
        ++drawn;
        const bool same = candidate.width == kept_.width && candidate.height == kept_.height;
        if (candidate.id == kept_.id && same) {  // else another at an address that came back
            draws_of_kept = candidate.draws;
        }
        const bool exact = fits_exactly(candidate);
        if (candidate.samples > 1 || (!exact && !fits_upscaled(candidate))) {
            continue;
        }
        const bool better = exact != best_is_exact ? exact : candidate.draws > best.draws;
        if (best.id == 0 || better) {
            best = {candidate.id,    candidate.width, candidate.height, candidate.draws, 0,
                    !exact,          true};
            best_is_exact = exact;
        }
    }
    if (kept_.id != 0) {
        idle_presents_ = draws_of_kept > 0 ? 0 : idle_presents_ + 1;
        // An upscaled match is second best: one of the output's own size takes its place.
        const bool replaced = best.id == kept_.id && draws_of_kept == 0;
        const bool outranked = replaced || (kept_.upscaled && best_is_exact);
        if (idle_presents_ < release_after && !outranked) {
            kept_.draws = draws_of_kept;
            kept_.candidates = drawn;
            kept_.changed = false;
            return kept_;
        }
    }
    best.candidates = drawn;
    kept_ = best;
    idle_presents_ = 0;
    return kept_;
}

PresentKind PresentClassifier::next(bool scene_was_drawn) noexcept {
    if (scene_was_drawn) {
        without_scene_ = 0;
        return PresentKind::rendered;
    }
    if (without_scene_ <= max_generated) {
        ++without_scene_;
    }
    return without_scene_ <= max_generated ? PresentKind::generated : PresentKind::idle;
}

}  // namespace realmaster
