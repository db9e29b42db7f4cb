// The half of a Direct3D capture that does not know which Direct3D: when to capture, what a frame
// is called, calibration, and the conversion of what was read back into the core's slots.
// The render thread calls begin_frame, hand_over and is_done; one worker thread converts.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "camera_source.h"
#include "depth_chooser.h"
#include "log.h"
#include "normals.h"
#include "realmaster/plugin.h"
#include "settings.h"

namespace realmaster {

constexpr std::uint32_t max_targets = 8;  // Direct3D's render targets of a pass

// What the backend saw since the last present.
struct PresentFacts {
    std::uint32_t width = 0;  // of the back buffer
    std::uint32_t height = 0;
    std::uint32_t format = 0;
    DepthChoice depth;
    std::uint32_t num_targets = 0;  // bound with the chosen depth
    bool size_changed = false;      // a resize or another swap chain
};

// One frame on its way: filled on the render thread, converted by the worker.
struct Job {
    Slot* slot = nullptr;  // null: a calibration
    FrameInfo info;
    Projection projection;
    bool has_intrinsics = false;
    Matrix3 K{};
    bool has_rotation = false;
    Matrix3 camera_from_world{};
    Image color;     // without HUD; data null where it could not be told apart
    Image color_ui;
    Image depth;
    Image stencil;
    std::array<Image, max_targets> targets;  // a frame: only [0], the normals
    std::uint32_t num_targets = 0;
    std::atomic<bool> done{false};
};

// What to read back for this present.
enum class Order : std::uint8_t {
    nothing,
    calibrate,   // depth and all render targets of its pass
    frame,       // color, depth, normals
    color_only,  // a generated or idle frame: color_ui
};

class Session {
public:
    Session(const Settings& settings, CameraSource* camera, const char* api, Log* log);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Once per present. Fills `job` where the order is not `nothing`; then the backend owes a
    // hand_over or an abandon.
    Order begin_frame(const PresentFacts& facts, Job* job) noexcept;

    // The images of the job are mapped and stay so until job->done.
    void hand_over(Job* job) noexcept;

    // The job cannot be read back.
    void abandon(Job* job, Cause cause) noexcept;

    // Whether snapshots in the middle of the coming frame are worth their cost.
    [[nodiscard]] bool wants_snapshots() const noexcept {
        return wants_snapshots_;
    }

    // Which render target of the scene's pass holds the normals; -1: none or not known yet.
    [[nodiscard]] int normal_target() const noexcept {
        return normal_target_.load(std::memory_order_acquire);
    }

    // RGBA of the square on the screen; alpha 0: none.
    [[nodiscard]] std::array<float, 4> status_color() const noexcept;

    [[nodiscard]] const Settings& settings() const noexcept {
        return settings_;
    }
    [[nodiscard]] PresentKind kind() const noexcept {
        return kind_;
    }
    [[nodiscard]] Stats stats() const noexcept;
    Log& log() noexcept {
        return *log_;
    }

private:
    void poll_controls() noexcept;
    void show_status() noexcept;
    void poll_commands(Plugin* plugin) noexcept;
    void take_sample(const PresentFacts& facts, Job* job) noexcept;
    bool should_calibrate(const PresentFacts& facts) noexcept;
    void work() noexcept;
    void calibrate(const Job& job);
    void start_plugin(const Job& job);
    void convert(Job* job);
    void add_geometry(Plugin* plugin, Job* job);
    float* scratch(std::size_t count);

    Settings settings_;
    CameraSource* camera_;
    const char* api_;
    Log* log_;
    PresentClassifier classifier_;

    // of the render thread
    bool on_ = true;
    bool key_was_down_ = false;
    bool wants_snapshots_ = false;
    bool forbidden_ = false;
    PresentKind kind_ = PresentKind::idle;
    std::uint64_t presents_ = 0;
    std::uint64_t stable_presents_ = 0;
    std::uint64_t presents_without_depth_ = 0;
    std::int64_t start_ns_ = 0;
    bool had_pose_ = false;
    std::array<double, 16> last_pose_{};
    std::array<CameraSample, 4> samples_{};  // for pose_delay
    bool cut_ = true;
    std::uint32_t cut_for_ = 0;  // frames after a resize, of which the first may be lost

    // shared
    std::atomic<Plugin*> plugin_{nullptr};
    std::atomic<bool> calibrating_{false};
    std::atomic<int> normal_target_{-1};

    // of the worker
    std::unique_ptr<Plugin> owned_;
    NormalAgreement agreement_;
    int calibrations_ = 0;
    std::vector<float> device_depth_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::array<Job*, 16> queue_{};
    std::size_t first_ = 0;
    std::size_t queued_ = 0;
    bool stopping_ = false;
    std::thread worker_;
};

}  // namespace realmaster
