#include "pose.h"

#include <algorithm>
#include <cmath>

namespace realmaster::opengl {
namespace {

// Steps agree if they turn alike within this (radians) and shift alike within this share of the
// distance over which floats were subtracted.
constexpr double turn_tolerance = 1.5e-3;
constexpr double shift_tolerance = 2e-3;
// Of the matched vertices, how many must agree before the step is believed.
constexpr double quorum = 0.4;
constexpr std::size_t max_candidates = 48;
// A cut: a turn beyond 35 degrees, or a step that is many times the ones before and far beyond what
// a camera may come close to.
constexpr double jump_cos = 0.82;
constexpr double jump_steps = 6, jump_nears = 25, forgetting = 0.8;

double length3(const Mat4& m) noexcept {
    return std::sqrt(m[12] * m[12] + m[13] * m[13] + m[14] * m[14]);
}

bool alike(const Mat4& a, const Mat4& b) noexcept {
    for (const std::size_t i : {0, 1, 2, 4, 5, 6, 8, 9, 10}) {
        if (std::abs(a[i] - b[i]) > turn_tolerance) return false;
    }
    const double limit = shift_tolerance * (1 + length3(a));
    for (const std::size_t i : {12, 13, 14}) {
        if (std::abs(a[i] - b[i]) > limit) return false;
    }
    return true;
}

}  // namespace

PoseTracker::PoseTracker() : before_(max_votes), now_(max_votes), matches_(2 * max_votes) {}

void PoseTracker::reset() noexcept {
    num_before_ = 0;
    world_from_camera_ = identity4;
    usual_step_m_ = 0;
    started_ = ever_known_ = up_known_ = false;
}

// Pairs votes of equal keys in their order, and the model view that carries half of all vertices:
// that of a world whose geometry is streamed (key 0), so that no draw call is the same again.
void PoseTracker::match(std::size_t num_before, std::size_t num_now) noexcept {
    num_matches_ = 0;
    const auto add = [this](const Vote& before, const Vote& now) {
        Mat4 inverse;
        if (num_matches_ == matches_.size() || !invert_affine(before.model_view, &inverse)) return;
        const Mat4 step = multiply(now.model_view, inverse);
        if (!is_similarity(step) || std::abs(step[0] * step[0] + step[1] * step[1] +
                                             step[2] * step[2] - 1) > 0.01) {
            return;
        }
        matches_[num_matches_++] = {std::min(before.vertices, now.vertices), step};
    };
    std::size_t i = 0, k = 0;
    while (i < num_before && k < num_now) {
        if (before_[i].key == 0 || before_[i].key < now_[k].key) {
            ++i;
        } else if (now_[k].key == 0 || now_[k].key < before_[i].key) {
            ++k;
        } else {
            add(before_[i++], now_[k++]);
        }
    }
    const auto dominant = [](const std::vector<Vote>& votes, std::size_t num, Vote* out) {
        *out = Vote{};
        std::uint64_t all = 0;
        for (std::size_t a = 0; a < num; ++a) {
            all += votes[a].vertices;
            std::uint32_t sum = 0;
            for (std::size_t b = 0; b < num; ++b) {
                if (votes[b].model_view == votes[a].model_view) sum += votes[b].vertices;
            }
            if (sum > out->vertices) *out = {0, 0, sum, votes[a].model_view};
        }
        return num > 0 && 2 * std::uint64_t{out->vertices} >= all;
    };
    Vote was, is;
    if (dominant(before_, num_before, &was) && dominant(now_, num_now, &is)) add(was, is);
}

// The step with the most vertices behind it.
bool PoseTracker::agree(Mat4* step, double* share) const noexcept {
    double all = 0, best = 0;
    for (std::size_t i = 0; i < num_matches_; ++i) all += matches_[i].vertices;
    for (std::size_t i = 0; i < std::min(num_matches_, max_candidates); ++i) {
        double sum = 0;
        for (std::size_t k = 0; k < num_matches_; ++k) {
            if (alike(matches_[i].step, matches_[k].step)) sum += matches_[k].vertices;
        }
        if (sum > best) {
            best = sum;
            *step = matches_[i].step;
        }
    }
    *share = all > 0 ? best / all : 0;
    return *share >= quorum;
}

// The first camera stands at the origin. Up is the one axis of the engine to which the camera's x
// axis is perpendicular.
void PoseTracker::start(const Perspective& p) noexcept {
    started_ = true;
    double up[3] = {0, -1, 0};  // in camera axes
    up_known_ = false;
    if (num_before_ > 0) {
        const auto heaviest = std::max_element(
            before_.begin(), before_.begin() + static_cast<std::ptrdiff_t>(num_before_),
            [](const Vote& a, const Vote& b) { return a.vertices < b.vertices; });
        const Mat4 m = multiply(cv_from_eye(p), heaviest->model_view);
        int level = 0;
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const double size = std::sqrt(m[4 * axis] * m[4 * axis] +
                                          m[4 * axis + 1] * m[4 * axis + 1] +
                                          m[4 * axis + 2] * m[4 * axis + 2]);
            if (size < 1e-9 || std::abs(m[4 * axis]) > 1e-3 * size) continue;
            ++level;
            const double sign = m[4 * axis + 1] > 0 ? -1 : 1;  // upright, not hanging
            for (std::size_t i = 0; i < 3; ++i) up[i] = sign * m[4 * axis + i] / size;
        }
        up_known_ = level == 1;
        if (!up_known_) up[0] = 0, up[1] = -1, up[2] = 0;
    }
    // Rows of world_from_camera: x right, y forward along the ground, z up.
    const double y[3] = {0, up[2], -up[1]};  // up cross x
    world_from_camera_ = identity4;
    const double x[3] = {1, 0, 0};
    for (std::size_t i = 0; i < 3; ++i) {
        world_from_camera_[4 * i] = x[i];
        world_from_camera_[4 * i + 1] = y[i];
        world_from_camera_[4 * i + 2] = up[i];
    }
}

bool PoseTracker::is_jump(const Mat4& step, double near_m) noexcept {
    const double shift = length3(step), turn_cos = (step[0] + step[5] + step[10] - 1) / 2;
    const bool far = shift > std::max(jump_steps * usual_step_m_, jump_nears * near_m);
    const bool jumped = far || turn_cos < jump_cos;
    if (!jumped) usual_step_m_ = std::max(forgetting * usual_step_m_, shift);
    return jumped;
}

PoseStep PoseTracker::advance(const Vote* votes, std::size_t num_votes, const Perspective& p,
                              double metres, double near_m) noexcept {
    const std::size_t num = std::min(num_votes, max_votes);
    std::copy(votes, votes + num, now_.begin());
    std::sort(now_.begin(), now_.begin() + static_cast<std::ptrdiff_t>(num),
              [](const Vote& a, const Vote& b) {
                  return a.key != b.key ? a.key < b.key : a.order < b.order;
              });
    PoseStep result;
    Mat4 step;
    match(num_before_, num);
    if (started_ && agree(&step, &result.share)) {
        const Mat4 axes = cv_from_eye(p);
        Mat4 now_from_before = multiply(multiply(axes, step), axes);  // axes is its own inverse
        now_from_before = orthonormalized(now_from_before);
        for (const std::size_t i : {12, 13, 14}) now_from_before[i] *= metres;
        Mat4 before_from_now;
        if (invert_affine(now_from_before, &before_from_now)) {
            world_from_camera_ = orthonormalized(multiply(world_from_camera_, before_from_now));
            result.known = ever_known_ = true;
            result.jumped = is_jump(before_from_now, near_m);
        }
    }
    std::swap(before_, now_);
    num_before_ = num;
    if (!started_) start(p);
    return result;
}

}  // namespace realmaster::opengl
