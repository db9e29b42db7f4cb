// The worker of a Session: calibration, the plugin's start, and every frame's conversion. Nothing
// here runs on the game's threads, so it may allocate.
#include <cstdio>
#include <cstring>
#include <string>

#include "session.h"

namespace realmaster {

namespace {

constexpr int max_calibrations = 3;    // where no encoding fits
constexpr int max_ambiguous = 6;      // where the view tells too little
constexpr double good_agreement_deg = 3.0;  // then no second look is needed

std::string text_of(const char* format, double value) {
    char text[64];
    std::snprintf(text, sizeof(text), format, value);
    return text;
}

bool fits(const NormalAgreement& agreement) noexcept {
    return agreement.median_deg <= max_agreement_deg;
}

// One that fits before one that does not, a clear one before an ambiguous one, a closer one.
bool is_better(const NormalAgreement& one, const NormalAgreement& other) noexcept {
    if (fits(one) != fits(other)) {
        return fits(one);
    }
    return one.ambiguous != other.ambiguous ? !one.ambiguous : one.median_deg < other.median_deg;
}

constexpr std::uint32_t min_declared_area = 1920 * 1080;
constexpr std::size_t bytes_per_pixel = 4 + 4 + 4 + 4 + 6 + 1;  // of all our streams

}  // namespace

void Session::work() noexcept {
    for (;;) {
        Job* job = nullptr;
        {
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [this] { return queued_ > 0 || stopping_; });
            if (queued_ == 0) {
                break;
            }
            job = queue_[first_];
            first_ = (first_ + 1) % queue_.size();
            --queued_;
        }
        if (job->slot == nullptr) {
            calibrate(*job);
            job->done.store(true, std::memory_order_release);
            calibrating_.store(false, std::memory_order_release);
        } else {
            convert(job);
            job->done.store(true, std::memory_order_release);
        }
    }
    plugin_.store(nullptr, std::memory_order_release);
    owned_.reset();
}

float* Session::scratch(std::size_t count) {
    if (device_depth_.size() < count * 2) {
        device_depth_.resize(count * 2);
    }
    return device_depth_.data();
}

void Session::calibrate(const Job& job) {
    if (owned_ != nullptr) {
        return;
    }
    ++calibrations_;
    DepthLayout layout{};
    const bool readable = job.depth.data != nullptr && depth_layout_of(job.depth.format, &layout);
    if (readable && settings_.normals && job.has_intrinsics && job.projection.known()) {
        const std::size_t count = std::size_t{job.depth.width} * job.depth.height;
        float* device = scratch(count);
        float* metres = device + count;
        write_device_depth(job.depth, layout, device);
        write_metres(device, count, job.projection, metres);
        for (std::uint32_t i = 0; i < job.num_targets; ++i) {
            const Image& target = job.targets[i];
            if (target.data == nullptr || target.width != job.depth.width ||
                target.height != job.depth.height) {
                continue;
            }
            NormalAgreement found = best_encoding(
                target, metres, job.K, job.has_rotation ? &job.camera_from_world : nullptr);
            found.target = i;
            log_->line("render target %u, format %u: normals %.2f (median) and %.2f degrees (mean) "
                       "from depth's in %u pixels%s",
                       i, target.format, found.median_deg, found.mean_deg,
                       static_cast<unsigned>(found.samples),
                       found.ambiguous ? ", not told apart from another encoding" : "");
            if (is_better(found, agreement_)) {
                agreement_ = found;
            }
        }
        const int patience = fits(agreement_) && agreement_.ambiguous ? max_ambiguous : max_calibrations;
        const bool good = agreement_.median_deg <= good_agreement_deg && !agreement_.ambiguous;
        if (!good && calibrations_ < patience) {
            return;
        }
    }
    start_plugin(job);
}

void Session::start_plugin(const Job& job) {
    const bool from_target = fits(agreement_);
    const Size in = job.info.render_size;
    const Size out = job.info.output_size;
    Config config;
    config.host = settings_.host;
    config.port = settings_.port;
    config.token = settings_.token;
    config.engine = api_;
    config.engine_version = "1";
    config.plugin = std::string("realmaster_") + api_;
    config.plugin_version = "1";
    config.game = settings_.game;
    config.streams.push_back({"color", out.width, out.height, DType::u8, 4, {}});
    config.streams.push_back({"color_ui", out.width, out.height, DType::u8, 4, {}});
    if (job.projection.known()) {
        config.streams.push_back({"depth", in.width, in.height, DType::f32, 1, {}});
    }
    if (!job.projection.known() || settings_.depth_raw) {
        config.streams.push_back({"depth_raw", in.width, in.height, DType::f32, 1, {}});
    }
    if (settings_.normals && job.has_intrinsics && job.projection.known()) {
        TextMap params;
        if (from_target) {
            char encoding[96];
            describe_encoding(agreement_.encoding, encoding, sizeof(encoding));
            params = {{"source", "gbuffer"},
                      {"target", std::to_string(agreement_.target)},
                      {"encoding", encoding},
                      {"agreement_deg", text_of("%.3f", agreement_.median_deg)}};
        } else {
            params = {{"source", "depth"}};
        }
        config.streams.push_back({"normal", in.width, in.height, DType::f16, 3, params});
    }
    if (settings_.stencil) {
        const char* classes = "none,sky,ground,wall,foliage,glass,vehicle,person,prop";
        config.streams.push_back(
            {"semantic", in.width, in.height, DType::u8, 1, {{"classes", classes}}});
    }
    config.params = {{"camera", camera_ != nullptr ? camera_->name() : "none"},
                     {"near_m", text_of("%.9g", job.projection.near_m)},
                     {"far_m", text_of("%.9g", job.projection.far_m)},
                     {"reversed_z", job.projection.reversed_z ? "yes" : "no"},
                     {"jitter", in.width == out.width ? "none seen" : "unknown"}};
    const std::size_t area = std::size_t{out.width} * out.height * 2;
    config.max_frame_bytes = bytes_per_pixel * (area > min_declared_area ? area
                                                                         : min_declared_area);
    config.slots = settings_.ring + 3;
    owned_ = std::make_unique<Plugin>(config);
    normal_target_.store(from_target ? static_cast<int>(agreement_.target) : -1,
                         std::memory_order_release);
    plugin_.store(owned_.get(), std::memory_order_release);
    log_->line("ready: output %u x %u, depth %u x %u, format %u, normals %s", out.width, out.height,
               in.width, in.height, job.depth.format,
               from_target ? "of the G-buffer" : "not found in the G-buffer");
}

void Session::convert(Job* job) {
    Plugin* plugin = owned_.get();
    if (job->color_ui.data != nullptr) {
        const Image& seen = job->color_ui;
        const bool scene = job->depth.data != nullptr;
        if (scene && job->color.data == nullptr) {
            plugin->info(job->slot)->flags |= frame_flags::hud_in_color;
        }
        const Image& bare = job->color.data != nullptr ? job->color : seen;
        const BufferDesc color{"color", bare.width, bare.height, DType::u8, 4, 0};
        if (std::uint8_t* out = scene ? plugin->add(job->slot, color) : nullptr) {
            write_color(bare, out);
        }
        const BufferDesc with_ui{"color_ui", seen.width, seen.height, DType::u8, 4, 0};
        if (std::uint8_t* out = plugin->add(job->slot, with_ui)) {
            write_color(seen, out);
        }
    }
    if (job->depth.data != nullptr) {
        add_geometry(plugin, job);
    }
    if (job->stencil.data != nullptr) {
        const BufferDesc desc{"semantic", job->stencil.width, job->stencil.height, DType::u8, 1, 0};
        if (std::uint8_t* out = plugin->add(job->slot, desc)) {
            write_semantic(job->stencil, settings_.stencil_classes, out);
        }
    }
    plugin->submit(job->slot);
    job->slot = nullptr;
}

void Session::add_geometry(Plugin* plugin, Job* job) {
    const std::uint32_t width = job->depth.width;
    const std::uint32_t height = job->depth.height;
    const std::size_t count = std::size_t{width} * height;
    DepthLayout layout{};
    if (!depth_layout_of(job->depth.format, &layout)) {
        return;
    }
    float* device = scratch(count);
    float* metres = device + count;
    write_device_depth(job->depth, layout, device);
    const bool metric = job->projection.known();
    if (metric) {
        write_metres(device, count, job->projection, metres);
    }
    const auto add_depth = [&](const char* name, const float* values) {
        if (std::uint8_t* out =
                plugin->add(job->slot, {name, width, height, DType::f32, 1, 0})) {
            std::memcpy(out, values, count * sizeof(float));
        }
    };
    if (metric) {
        add_depth("depth", metres);
    }
    if (!metric || settings_.depth_raw) {
        add_depth("depth_raw", device);
    }
    if (!metric || !settings_.normals || !job->has_intrinsics) {
        return;
    }
    const Image& target = job->targets[0];
    const bool from_target = normal_target() >= 0;
    const bool readable = target.data != nullptr && target.width == width && target.height == height;
    const Matrix3* rotation = job->has_rotation ? &job->camera_from_world : nullptr;
    if (from_target && (!readable || (agreement_.encoding.world_space && rotation == nullptr))) {
        return;  // the stream says "gbuffer": a frame without it has no normals
    }
    std::uint8_t* out = plugin->add(job->slot, {"normal", width, height, DType::f16, 3, 0});
    if (out == nullptr) {
        return;
    }
    auto* halves = reinterpret_cast<std::uint16_t*>(out);
    if (from_target) {
        write_normals(target, agreement_.encoding, metres, rotation, halves);
    } else {
        write_normals_of_depth(metres, width, height, job->K, halves);
    }
}

}  // namespace realmaster
