// See camera.h.
#include "camera.h"

#include <cmath>

#include "rage_camera.h"
#include "realmaster/types.h"

namespace realmaster::gtav {

namespace {

constexpr float cut_metres = 8.0F;  // between two frames: 1700 km/h at 60 frames/s

}  // namespace

void ScriptCamera::update(const ScriptHook& hook) noexcept {
    const CameraSample sample = read(hook);
    // Two places, written in turn: the one that the last version names is never written to.
    const std::uint32_t version = version_.load(std::memory_order_relaxed) + 1;
    samples_[version % 2] = sample;
    version_.store(version, std::memory_order_release);
    if (const char* status = status_.load(std::memory_order_acquire)) {
        hook.draw_text(status, 0.01F, 0.01F);
    }
}

bool ScriptCamera::sample(CameraSample* out) noexcept {
    for (int attempt = 0; attempt < 3; ++attempt) {
        const std::uint32_t before = version_.load(std::memory_order_acquire);
        if (before == 0) {
            return false;
        }
        *out = samples_[before % 2];
        std::atomic_thread_fence(std::memory_order_acquire);
        if (version_.load(std::memory_order_relaxed) - before < 2) {
            return true;  // not overwritten meanwhile
        }
    }
    return false;
}

CameraSample ScriptCamera::read(const ScriptHook& hook) noexcept {
    CameraSample sample;
    sample.forbidden = hook.get_bool(native::session_started) || hook.get_bool(native::in_session);
    const std::array<float, 3> position = hook.get_vector(native::cam_coord);
    sample.world_from_camera = pose_of(position, hook.get_rotation(native::cam_rot));
    sample.has_pose = true;
    sample.fov_y_deg = hook.get_float(native::cam_fov);
    sample.projection = {hook.get_float(native::cam_near), hook.get_float(native::cam_far), true};
    sample.has_time = true;
    sample.t_sim_ns = std::int64_t{hook.get_int(native::game_timer)} * 1000000;
    if (hook.get_bool(native::pause_menu)) {
        sample.flags |= frame_flags::paused | frame_flags::menu;
    }
    if (hook.get_bool(native::loading)) {
        sample.flags |= frame_flags::loading;
    }
    const float moved = std::hypot(position[0] - last_position_[0],
                                   position[1] - last_position_[1],
                                   position[2] - last_position_[2]);
    if (!had_position_ || moved > cut_metres) {
        sample.flags |= frame_flags::cut;
    }
    last_position_ = position;
    had_position_ = true;
    return sample;
}

}  // namespace realmaster::gtav
