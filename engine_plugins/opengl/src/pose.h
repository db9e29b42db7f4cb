// The camera's way through the world, from the model views of what was drawn.
//
// Things that stand still vote: from one frame to the next their model views all change by the same
// rigid motion, the camera's. So no engine's notion of a view matrix is needed, objects that move
// are outvoted, and an engine that shifts its own origin does no harm. The world's origin is where
// the first camera was; its z axis is the engine's own up where that can be told (the camera's x
// axis is level in all engines unless it rolls), else the first camera's up.
// Knows no OpenGL calls.
#pragma once

#include <cstddef>
#include <vector>

#include "frame_tracker.h"
#include "matrix.h"

namespace realmaster::opengl {

struct PoseStep {
    bool known = false;   // false: nothing agreed, or nothing could vote
    bool jumped = false;  // known, but no motion: the view was cut, or the player moved elsewhere
    double share = 0;    // of the votes' vertices, of those that agreed
};

class PoseTracker {
public:
    PoseTracker();
    // Takes a frame's votes. metres: per unit of the game. near_m: what the size of a step is held
    // against, beside the steps before.
    PoseStep advance(const Vote* votes, std::size_t num_votes, const Perspective& p,
                     double metres, double near_m) noexcept;
    // OpenCV camera to world, metres, column-major.
    const Mat4& world_from_camera() const noexcept { return world_from_camera_; }
    bool ever_known() const noexcept { return ever_known_; }
    bool up_known() const noexcept { return up_known_; }
    void reset() noexcept;

private:
    struct Match {
        std::uint32_t vertices;
        Mat4 step;  // this frame's camera from the one before
    };
    void match(std::size_t num_before, std::size_t num_now) noexcept;
    bool agree(Mat4* step, double* share) const noexcept;
    void start(const Perspective& p) noexcept;
    bool is_jump(const Mat4& step, double near_m) noexcept;

    std::vector<Vote> before_, now_;  // sorted by key
    std::size_t num_before_ = 0;
    std::vector<Match> matches_;
    std::size_t num_matches_ = 0;
    Mat4 world_from_camera_ = identity4;
    double usual_step_m_ = 0;
    bool started_ = false;
    bool ever_known_ = false;
    bool up_known_ = false;
};

}  // namespace realmaster::opengl
