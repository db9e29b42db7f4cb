// See session.h. This file holds what runs on the render thread; conversion.cpp the worker.
#include "session.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <cmath>
#include <cstring>

namespace realmaster {

namespace {

constexpr std::uint64_t settle_presents = 8;         // with one and the same choice of depth
constexpr std::uint64_t between_calibrations = 10;   // presents
constexpr std::uint64_t depth_is_missing = 300;      // presents, then the log says so
constexpr std::uint32_t cut_after_resize = 8;        // frames, more than are ever under way
constexpr double radians = 3.14159265358979323846 / 180.0;

bool key_is_down(std::uint32_t key) noexcept {
    if (key == 0 || (GetAsyncKeyState(static_cast<int>(key)) & 0x8000) == 0) {
        return false;
    }
    DWORD process = 0;
    GetWindowThreadProcessId(GetForegroundWindow(), &process);
    return process == GetCurrentProcessId();
}

Matrix3 intrinsics(double fov_y_deg, std::uint32_t width, std::uint32_t height) noexcept {
    const double focal = 0.5 * height / std::tan(0.5 * fov_y_deg * radians);
    return {focal, 0, 0.5 * width, 0, focal, 0.5 * height, 0, 0, 1};
}

}  // namespace

Session::Session(const Settings& settings, CameraSource* camera, const char* api, Log* log)
    : settings_(settings),
      camera_(camera),
      api_(api),
      log_(log),
      on_(settings.autostart),
      start_ns_(now_ns()) {
    worker_ = std::thread([this] { work(); });
}

Session::~Session() {
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    worker_.join();
}

Order Session::begin_frame(const PresentFacts& facts, Job* job) noexcept {
    ++presents_;
    kind_ = classifier_.next(facts.depth.draws > 0);
    poll_controls();
    stable_presents_ = facts.depth.id == 0 || facts.depth.changed ? 0 : stable_presents_ + 1;
    if (facts.size_changed || facts.depth.changed) {
        cut_ = true;
        cut_for_ = facts.size_changed && presents_ > 1 ? cut_after_resize : cut_for_;
    }
    job->slot = nullptr;
    job->done.store(false, std::memory_order_relaxed);
    job->info = {};
    take_sample(facts, job);
    show_status();
    Plugin* plugin = plugin_.load(std::memory_order_acquire);
    wants_snapshots_ = on_ && !forbidden_ && facts.depth.id != 0;
    if (forbidden_ || !on_) {
        return Order::nothing;
    }
    if (plugin == nullptr) {
        return should_calibrate(facts) ? Order::calibrate : Order::nothing;
    }
    job->slot = plugin->begin(job->info);
    // Not wants_frame(): credit may come in mid-frame, and the HUD must not show now and then.
    wants_snapshots_ = wants_snapshots_ && plugin->connected();
    if (job->slot == nullptr) {
        return Order::nothing;
    }
    cut_ = false;
    cut_for_ -= cut_for_ > 0 ? 1 : 0;
    return kind_ == PresentKind::rendered ? Order::frame : Order::color_only;
}

void Session::poll_controls() noexcept {
    const bool down = key_is_down(settings_.hotkey);
    if (down && !key_was_down_) {
        on_ = !on_;
        cut_ = true;
        log_->line("present %llu: capture %s by the hotkey",
                   static_cast<unsigned long long>(presents_), on_ ? "started" : "stopped");
    }
    key_was_down_ = down;
    if (Plugin* plugin = plugin_.load(std::memory_order_acquire)) {
        poll_commands(plugin);
    }
}

void Session::poll_commands(Plugin* plugin) noexcept {
    Command command;
    while (plugin->poll_command(&command)) {
        const bool start = std::strcmp(command.name, "start") == 0;
        const bool stop = std::strcmp(command.name, "stop") == 0;
        if (start || stop) {
            cut_ = cut_ || on_ != start;
            on_ = start;
            plugin->answer(command, true);
        } else {
            plugin->answer(command, false, "the plugin knows start and stop");
        }
    }
}

void Session::take_sample(const PresentFacts& facts, Job* job) noexcept {
    FrameInfo& info = job->info;
    info.frame_id = presents_;
    info.t_render_ns = now_ns();
    info.t_sim_ns = info.t_render_ns - start_ns_;
    info.output_size = {facts.width, facts.height};
    info.render_size = facts.depth.id != 0 ? Size{facts.depth.width, facts.depth.height}
                                           : Size{facts.width, facts.height};
    job->projection = settings_.projection;
    double fov_y_deg = settings_.fov_y_deg;
    CameraSample latest;
    const bool sampled = camera_ != nullptr && camera_->sample(&latest);
    samples_[presents_ % samples_.size()] = latest;
    const CameraSample& sample =
        samples_[(presents_ + samples_.size() - settings_.pose_delay) % samples_.size()];
    if (sampled) {
        info.flags |= sample.flags;
        if (sample.has_time) {
            info.t_sim_ns = sample.t_sim_ns;
        }
        if (settings_.projection_from_camera && sample.projection.known()) {
            job->projection = sample.projection;
        }
        fov_y_deg = settings_.projection_from_camera && sample.fov_y_deg > 0 ? sample.fov_y_deg
                                                                             : fov_y_deg;
        if (latest.forbidden && !forbidden_) {
            log_->line("an online session: capture stays off until the game is started anew");
        }
        forbidden_ = forbidden_ || latest.forbidden;
    }
    if (kind_ == PresentKind::generated) {
        info.flags |= frame_flags::generated;
    } else if (kind_ == PresentKind::idle) {
        info.flags |= frame_flags::menu;
    }
    if (cut_ || cut_for_ > 0) {
        info.flags |= frame_flags::cut;
    }
    job->has_intrinsics = fov_y_deg > 0.0;
    if (job->has_intrinsics) {
        job->K = intrinsics(fov_y_deg, info.render_size.width, info.render_size.height);
    }
    job->has_rotation = sampled && sample.has_pose;
    info.has_camera = job->has_rotation && job->has_intrinsics && job->projection.known();
    if (job->has_rotation) {
        for (std::size_t r = 0; r < 3; ++r) {
            for (std::size_t c = 0; c < 3; ++c) {
                job->camera_from_world[r * 3 + c] = sample.world_from_camera[c * 4 + r];
            }
        }
    }
    if (info.has_camera) {
        Camera& camera = info.camera;
        camera.K = job->K;
        camera.world_from_camera = sample.world_from_camera;
        camera.world_from_camera_prev = had_pose_ ? last_pose_ : sample.world_from_camera;
        camera.near_m = job->projection.near_m;
        camera.far_m = job->projection.far_m;
        camera.reversed_z = job->projection.reversed_z;
        last_pose_ = sample.world_from_camera;
    }
    had_pose_ = info.has_camera;
}

bool Session::should_calibrate(const PresentFacts& facts) noexcept {
    if (facts.depth.id == 0) {
        if (++presents_without_depth_ == depth_is_missing) {
            log_->line(
                "no depth buffer of the back buffer's size (%u x %u) or shape was drawn to in %llu "
                "presents, %u of other sizes: turn MSAA off; enter the game if this is a menu",
                facts.width, facts.height, static_cast<unsigned long long>(depth_is_missing),
                facts.depth.candidates);
        }
        return false;
    }
    const bool due = kind_ == PresentKind::rendered && stable_presents_ >= settle_presents &&
                     stable_presents_ % between_calibrations == settle_presents;
    if (!due) {
        return false;
    }
    return !calibrating_.exchange(true, std::memory_order_acq_rel);
}

void Session::hand_over(Job* job) noexcept {
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        if (queued_ < queue_.size() && !stopping_) {
            queue_[(first_ + queued_++) % queue_.size()] = job;
            wake_.notify_one();
            return;
        }
    }
    abandon(job, Cause::readback_late);
    job->done.store(true, std::memory_order_release);
}

void Session::abandon(Job* job, Cause cause) noexcept {
    if (job->slot == nullptr) {
        calibrating_.store(false, std::memory_order_release);
        return;
    }
    cut_ = cut_ || (job->info.flags & frame_flags::cut) != 0;  // the next one says it instead
    plugin_.load(std::memory_order_acquire)->drop(job->slot, cause);
    job->slot = nullptr;
}

void Session::show_status() noexcept {
    if (camera_ == nullptr || !settings_.status) {
        return;
    }
    const Plugin* plugin = plugin_.load(std::memory_order_acquire);
    const char* status = "RealMaster: recording";
    if (forbidden_) {
        status = "RealMaster: off, online";
    } else if (!on_) {
        status = nullptr;
    } else if (plugin == nullptr) {
        status = "RealMaster: looking for the scene";
    } else if (!plugin->connected()) {
        status = "RealMaster: ready, waiting for realmaster record";
    }
    camera_->show(status);
}

std::array<float, 4> Session::status_color() const noexcept {
    if (!settings_.status) {
        return {0, 0, 0, 0};
    }
    if (forbidden_ || !on_) {
        return {0.2F, 0.2F, 0.2F, 1};
    }
    const Plugin* plugin = plugin_.load(std::memory_order_acquire);
    if (plugin == nullptr) {
        return {0.9F, 0.7F, 0, 1};
    }
    return plugin->connected() ? std::array<float, 4>{0.9F, 0, 0, 1}
                               : std::array<float, 4>{0, 0.6F, 0, 1};
}

Stats Session::stats() const noexcept {
    const Plugin* plugin = plugin_.load(std::memory_order_acquire);
    return plugin != nullptr ? plugin->stats() : Stats{};
}

}  // namespace realmaster
