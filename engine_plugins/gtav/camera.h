// The game's camera, read on ScriptHookV's script thread and handed to the render thread.
#pragma once

#include <array>
#include <atomic>

#include "camera_source.h"
#include "natives.h"

namespace realmaster::gtav {

class ScriptCamera : public CameraSource {
public:
    // On the script's thread, once per script frame.
    void update(const ScriptHook& hook) noexcept;

    bool sample(CameraSample* out) noexcept override;
    [[nodiscard]] const char* name() const noexcept override {
        return "ScriptHookV";
    }
    void show(const char* status) noexcept override {
        status_.store(status, std::memory_order_release);
    }

private:
    CameraSample read(const ScriptHook& hook) noexcept;

    // A sequence lock: odd while the script thread writes. The render thread never waits; where
    // the script is just writing, it takes the sample before.
    std::atomic<std::uint32_t> version_{0};
    std::array<CameraSample, 2> samples_{};
    std::array<float, 3> last_position_{};
    bool had_position_ = false;
    std::atomic<const char*> status_{nullptr};
};

}  // namespace realmaster::gtav
