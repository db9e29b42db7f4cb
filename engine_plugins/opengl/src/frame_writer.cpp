#include "frame_writer.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cmath>

namespace realmaster::opengl {
namespace {

constexpr std::uint16_t half_nan = 0x7e00;
// How often a frame's G-buffer normals are held against depth again, in frames.
constexpr std::uint32_t check_every = 16;

// Whether a rotation only swaps and flips axes: normals in view space.
bool along_axes(const Mat3& m) noexcept {
    return std::all_of(m.begin(), m.end(),
                       [](float v) { return std::abs(v) < 0.05F || std::abs(v) > 0.995F; });
}

}  // namespace

// The game's signals are the game's: none is delivered to this thread.
FrameWriter::FrameWriter() {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { loop(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

FrameWriter::~FrameWriter() { stop(); }

void FrameWriter::push(const FrameJob& job) noexcept {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        queue_[(first_ + count_++) % queue_.size()] = job;  // as many as ring entries: never full
    }
    wake_.notify_one();
}

void FrameWriter::stop() noexcept {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
}

NormalFit FrameWriter::best_fit() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    return fit_;
}

int FrameWriter::best_attachment() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    return attachment_;
}

bool FrameWriter::all_told(int attachments) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::uint32_t all = (1U << static_cast<unsigned>(attachments)) - 1;
    return (told_ & all) == all;
}

void FrameWriter::loop() noexcept {
    for (;;) {
        FrameJob job;
        {
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || count_ > 0; });
            if (count_ == 0) return;
            job = queue_[first_];
            first_ = (first_ + 1) % queue_.size();
            --count_;
        }
        Plugin* plugin = plugin_.load();
        if (job.slot == nullptr) {
            look(job);
        } else if (plugin != nullptr) {
            write(job, plugin);
        }
        job.entry->state.store(EntryState::done, std::memory_order_release);
    }
}

void FrameWriter::reserve(std::size_t pixels) noexcept {
    if (inverse_.size() >= pixels) return;
    inverse_.resize(pixels);
    derived_.resize(3 * pixels);
}

namespace {

DeviceDepth device_depth(const RingEntry& entry) noexcept {
    DeviceDepth device;
    const PlaneImage& depth = entry.planes[plane_depth];
    device.final = static_cast<const float*>(depth.pixels);
    for (int i = 1; i < max_segments; ++i) {
        const PlaneImage& plane = entry.planes[static_cast<std::size_t>(plane_segment1 + i - 1)];
        const bool fits = plane.used && plane.size.width == depth.size.width &&
                          plane.size.height == depth.size.height;
        if (fits) device.before[i] = static_cast<const float*>(plane.pixels);
    }
    return device;
}

}  // namespace

void FrameWriter::look(const FrameJob& job) noexcept {
    const PlaneImage& image = job.entry->planes[plane_normal];
    const PlaneImage& depth = job.entry->planes[plane_depth];
    if (!job.world || !image.used || image.pixels == nullptr || depth.pixels == nullptr) return;
    reserve(job.view.size.pixels());
    inverse_depth(device_depth(*job.entry), job.view, inverse_.data());
    write_normals(inverse_.data(), job.view, derived_.data());
    Extent size = image.size;
    size.top_down = job.view.size.top_down;
    const NormalFit fit =
        fit_normals(static_cast<const float*>(image.pixels), size, derived_.data());
    const std::lock_guard<std::mutex> lock(mutex_);
    if (fit.conclusive) told_ |= 1U << static_cast<unsigned>(job.attachment);
    if (!fit.found || fit.score <= fit_.score) return;
    fit_ = fit;
    attachment_ = job.attachment;
    fit_pose_ = job.world_from_camera;
    in_world_ = !along_axes(fit.camera_from_stored);
}

// The fit for this frame's camera, if normals are stored in world space.
NormalFit FrameWriter::turned_by(const FrameJob& job) const noexcept {
    NormalFit fit = fit_;
    Mat3 out{};
    for (std::size_t r = 0; r < 3; ++r) {
        for (std::size_t c = 0; c < 3; ++c) {
            double sum = 0;
            for (std::size_t k = 0; k < 3; ++k) {
                double step = 0;  // camera now from camera then
                for (std::size_t w = 0; w < 3; ++w) {
                    step += job.world_from_camera[4 * r + w] * fit_pose_[4 * k + w];
                }
                sum += step * static_cast<double>(fit_.camera_from_stored[3 * k + c]);
            }
            out[3 * r + c] = static_cast<float>(sum);
        }
    }
    fit.camera_from_stored = out;
    return fit;
}

// Now and then view and world space are both tried, for at one pose they may look the same.
void FrameWriter::write_normal_buffer(const FrameJob& job, std::uint16_t* out) noexcept {
    const PlaneImage& image = job.entry->planes[plane_normal];
    if (!fit_.found || !image.used || image.pixels == nullptr ||
        image.size.width != job.view.size.width || image.size.height != job.view.size.height) {
        write_normals(inverse_.data(), job.view, out);
        return;
    }
    Extent size = image.size;
    size.top_down = job.view.size.top_down;
    const auto* rgba = static_cast<const float*>(image.pixels);
    const NormalFit in_world = turned_by(job);
    if (until_check_-- == 0) {
        until_check_ = check_every;
        write_normals(inverse_.data(), job.view, derived_.data());
        const float as_view = agreement_of(fit_, rgba, size, derived_.data());
        const float as_world = agreement_of(in_world, rgba, size, derived_.data());
        if (std::abs(as_view - as_world) > 0.05F) in_world_ = as_world > as_view;
    }
    decode_normals(in_world_ ? in_world : fit_, rgba, size, inverse_.data(), out);
}

void FrameWriter::write(const FrameJob& job, Plugin* plugin) noexcept {
    const auto& planes = job.entry->planes;
    const auto color = [&](const char* name, Plane plane, bool top_down) {
        const PlaneImage& image = planes[plane];
        if (!image.used || image.pixels == nullptr) return;
        Extent size = image.size;
        size.top_down = top_down;
        std::uint8_t* out =
            plugin->add(job.slot, {name, size.width, size.height, DType::u8, 4, 0});
        if (out != nullptr) write_color(static_cast<const std::uint8_t*>(image.pixels), size, out);
    };
    color("color", plane_color, planes[plane_color].size.top_down);
    color("color_ui", plane_color_ui, false);
    if (!job.world) {
        plugin->submit(job.slot);
        return;
    }
    if (!planes[plane_depth].used || planes[plane_depth].pixels == nullptr ||
        !planes[plane_color].used) {
        plugin->drop(job.slot, Cause::encode);
        return;
    }
    const Extent size = job.view.size;
    reserve(size.pixels());
    inverse_depth(device_depth(*job.entry), job.view, inverse_.data());
    if (auto* out = plugin->add(job.slot, {"depth", size.width, size.height, DType::f32, 1, 0})) {
        write_depth(inverse_.data(), size, reinterpret_cast<float*>(out));
    }
    if (auto* out = plugin->add(job.slot, {"normal", size.width, size.height, DType::f16, 3, 0})) {
        write_normal_buffer(job, reinterpret_cast<std::uint16_t*>(out));
    }
    if (job.has_motion) {
        auto* out = reinterpret_cast<std::uint16_t*>(
            plugin->add(job.slot, {"motion", size.width, size.height, DType::f16, 2, 0}));
        if (out != nullptr && job.prev_known) {
            write_motion(inverse_.data(), job.view, job.prev_from_now, out);
        } else if (out != nullptr) {
            fill_half(half_nan, 2 * size.pixels(), out);
        }
    }
    plugin->submit(job.slot);
}

}  // namespace realmaster::opengl
