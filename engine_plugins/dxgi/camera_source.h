// The seam to whoever knows the game's camera: a script hook, a memory reader, nobody.
#pragma once

#include <array>
#include <cstdint>

#include "projection.h"

namespace realmaster {

// One look at the game. Poses are world_from_camera, row-major, OpenCV camera axes, a
// right-handed world with +z up, metres.
struct CameraSample {
    bool has_pose = false;
    std::array<double, 16> world_from_camera{};
    Projection projection;  // near 0: unknown
    double fov_y_deg = 0.0;
    bool has_time = false;
    std::int64_t t_sim_ns = 0;
    std::uint32_t flags = 0;  // frame_flags: paused, loading, menu, cut
    bool forbidden = false;   // an online session: nothing may be captured
};

class CameraSource {
public:
    virtual ~CameraSource() = default;

    // The latest sample; false where none is there yet. Called on the render thread: must not
    // wait, and must not call the game.
    virtual bool sample(CameraSample* out) noexcept = 0;

    // One line for the player, a literal; null: none. Called on the render thread.
    virtual void show(const char* status) noexcept {
        static_cast<void>(status);
    }

    // For the hello: where poses come from.
    [[nodiscard]] virtual const char* name() const noexcept = 0;
};

}  // namespace realmaster
