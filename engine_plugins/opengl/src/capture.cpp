#include "capture.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "gl_calls.h"
#include "gl_guard.h"
#include "settings.h"
#include "streams.h"

namespace realmaster::opengl {
namespace {

// Frames with a world before the streams are declared: until the pose shows itself in so many in a
// row, or has not shown itself for long (a level that loads may change from frame to frame).
constexpr int wanted_poses = 6;
constexpr int longest_warm_up = 90;
constexpr int max_attachments = 4;
// A view of one wall tells nothing of the G-buffer: it is looked at again.
constexpr int max_looks = 120;

Mat4 rigid_inverse(const Mat4& m) noexcept {
    Mat4 out = identity4;
    invert_affine(m, &out);
    return out;
}

}  // namespace

Capture& capture() noexcept {
    static auto* const instance = new Capture;
    return *instance;
}

// A window may have grown since the last frame; whether it shrank shows at the end of the frame.
Extent Capture::target_size(const Context& context, GLuint framebuffer) const noexcept {
    Rect r = context.viewport;
    if (framebuffer == 0) {
        r = context.window;
        r.width = std::max(r.width, context.window_so_far.width);
        r.height = std::max(r.height, context.window_so_far.height);
    }
    return {static_cast<std::uint32_t>(std::max(r.x + r.width, 0)),
            static_cast<std::uint32_t>(std::max(r.y + r.height, 0)), false};
}

void Capture::perform(Context* context, const Actions& actions) noexcept {
    if (entry_ == nullptr || context != context_) return;
    if (!actions.color && !actions.depth && actions.segment < 0) return;
    GlGuard guard(context);
    const World& world = context->tracker.world();
    const auto size_of_world = [&](GLuint framebuffer) {
        if (framebuffer == 0 || !world.found || world.framebuffer != framebuffer) {
            return target_size(*context, framebuffer);
        }
        const Rect& r = world.viewport;
        return Extent{static_cast<std::uint32_t>(r.x + r.width),
                      static_cast<std::uint32_t>(r.y + r.height), false};
    };
    if (actions.segment > 0) {
        const auto plane = static_cast<Plane>(plane_segment1 + actions.segment - 1);
        readback_.read_depth(&guard, entry_, plane, actions.depth_framebuffer,
                             size_of_world(actions.depth_framebuffer));
    }
    if (actions.depth) {
        depth_size_ = size_of_world(actions.depth_framebuffer);
        readback_.read_depth(&guard, entry_, plane_depth, actions.depth_framebuffer, depth_size_);
        if (wanted_attachment_ >= 0 && actions.depth_framebuffer != 0) {
            readback_.read_floats(&guard, entry_, plane_normal, actions.depth_framebuffer,
                                  wanted_attachment_, depth_size_);
        }
    }
    if (actions.color) {
        Extent size = size_of_world(actions.color_framebuffer);
        readback_.read_color(&guard, entry_, plane_color, actions.color_framebuffer, size);
        entry_->planes[plane_color].size.top_down =
            actions.color_framebuffer != 0 && world.found && world.p.fy < 0;
    }
}

void Capture::swap(Context* context) noexcept {
    if (disabled_ || !calls().usable) return;
    ++swaps_;
    report(Milestone::swap);
    if (context_ == nullptr) context_ = context;
    if (context != context_) {
        if (plugin_ != nullptr || !context->watching) {
            context->watching = plugin_ == nullptr;
            context->tracker.begin_frame(context->window);
            return;
        }
        context->tracker.finish();
        if (!context->tracker.world().found) {
            context->tracker.begin_frame(context->window);
            return;
        }
        context_lost(context_, false);  // that one shows no world, this one does
        context_ = context;
    }
    collect();
    end_frame(context);
    next_frame(context);
}

// Gives what has arrived to the writer.
void Capture::collect() noexcept {
    if (writer_ == nullptr || !readback_.in_flight()) return;
    GlGuard guard(context_);
    while (RingEntry* entry = readback_.poll()) {
        const Flight& flight = flights_[static_cast<std::size_t>(entry - readback_.entries.data())];
        writer_->push(flight.job);
    }
}

void Capture::end_frame(Context* context) noexcept {
    if (!context->watching) {
        if (!counted_) return;
        const FrameInfo info = info_of(World{}, target_size(*context, 0));
        if (Slot* slot = plugin_->begin(info)) plugin_->drop(slot, missed_);
        return;
    }
    perform(context, context->tracker.finish());
    World world = context->tracker.world();
    if (world.found) {
        Planes planes{};
        planes_of(world.p, world.zero_to_one, &planes);
        const double metres = settings().metres_per_unit;
        step_ = pose_.advance(context->tracker.votes(), context->tracker.num_votes(), world.p,
                              metres, planes.near_units * metres);
    }
    if (plugin_ == nullptr) {
        if (world.found) warm_up(context, world);
    } else if (entry_ != nullptr) {
        send(context, world);
    }
    if (world.found) pose_before_ = pose_.world_from_camera();
    if (entry_ != nullptr) readback_.cancel(entry_);
    entry_ = nullptr;
}

// Looks at frames before anything is sent: whether there is a pose, and normals in a G-buffer.
void Capture::warm_up(Context* context, const World& world) noexcept {
    report(Milestone::world);
    ++worlds_seen_;
    poses_seen_ = step_.known ? poses_seen_ + 1 : 0;
    if (writer_ == nullptr) writer_ = std::make_unique<FrameWriter>();
    if (entry_ != nullptr && entry_->planes[plane_normal].used) {
        Flight& flight = flights_[static_cast<std::size_t>(entry_ - readback_.entries.data())];
        flight.job = job_of(world);
        flight.job.entry = entry_;
        GlGuard guard(context);
        readback_.issue(entry_);
        entry_ = nullptr;
    }
    const int attachments = world.framebuffer != 0 ? color_attachments(world.framebuffer) : 0;
    const bool told = attachments > 1 && writer_->all_told(attachments);
    const bool looks_left = attachments > 1 && !told && looks_ < max_looks;
    wanted_attachment_ = looks_left ? looks_++ % attachments : -1;
    const bool looking = wanted_attachment_ >= 0 || readback_.in_flight();
    const bool ready = poses_seen_ >= wanted_poses || worlds_seen_ >= longest_warm_up;
    if (ready && !looking) start_plugin(context, world);
}

int Capture::color_attachments(GLuint framebuffer) noexcept {
    GlGuard guard(context_);
    guard.bind_framebuffers(framebuffer, framebuffer);
    int count = 0;
    for (int i = 0; i < max_attachments; ++i) {
        GLint type = 0;
        calls().GetFramebufferAttachmentParameteriv(
            gl::READ_FRAMEBUFFER, gl::COLOR_ATTACHMENT0 + static_cast<GLenum>(i),
            gl::ATTACHMENT_OBJECT_TYPE, &type);
        if (static_cast<GLenum>(type) != gl::NONE) count = i + 1;
    }
    clear_errors();
    return count;
}

void Capture::start_plugin(Context* context, const World& world) noexcept {
    has_pose_ = poses_seen_ >= wanted_poses;
    const NormalFit fit = writer_->best_fit();
    wanted_attachment_ = fit.found ? writer_->best_attachment() : -1;
    StreamFacts facts;
    facts.window = target_size(*context, 0);
    facts.target = depth_size_.pixels() != 0 ? depth_size_ : facts.window;
    facts.world = world;
    facts.has_pose = has_pose_;
    facts.up_known = pose_.up_known();
    facts.fit = fit;
    facts.attachment = wanted_attachment_;
    plugin_ = std::make_unique<Plugin>(config_of(facts));
    writer_->set_plugin(plugin_.get());
}

FrameJob Capture::job_of(const World& world) const noexcept {
    FrameJob job;
    job.world = world.found;
    job.attachment = wanted_attachment_;
    job.world_from_camera = pose_.world_from_camera();
    if (!world.found) return job;
    const double metres = settings().metres_per_unit;
    const FrameInfo info = info_of(world, depth_size_);
    job.view.size = depth_size_;
    job.view.size.top_down = world.framebuffer != 0 && world.p.fy < 0;
    job.view.fx = info.camera.K[0];
    job.view.fy = info.camera.K[4];
    job.view.cx = info.camera.K[2];
    job.view.cy = info.camera.K[5];
    job.view.metres = metres;
    job.view.num_segments = world.num_segments;
    std::copy(world.segments.begin(), world.segments.end(), job.view.segments);
    job.has_motion = has_pose_;
    job.prev_known = step_.known && !step_.jumped;
    job.prev_from_now = multiply(rigid_inverse(pose_before_), pose_.world_from_camera());
    return job;
}

FrameInfo Capture::info_of(const World& world, Extent window) const noexcept {
    FrameInfo info;
    info.frame_id = swaps_;
    info.t_render_ns = info.t_sim_ns = now_ns();
    info.output_size = info.render_size = {std::max(window.width, 1U), std::max(window.height, 1U)};
    if (!world.found) {
        info.flags = frame_flags::menu | frame_flags::loading;
        return info;
    }
    if (depth_size_.pixels() != 0) info.render_size = {depth_size_.width, depth_size_.height};
    Planes planes{};
    if (!planes_of(world.p, world.zero_to_one, &planes)) return info;
    const double metres = settings().metres_per_unit;
    const Rect& view = world.viewport;
    const bool top_down = world.framebuffer != 0 && world.p.fy < 0;
    const double up = world.p.fy < 0 ? -1 : 1;
    const double below = top_down ? view.y : depth_size_.height - view.y - view.height;
    Camera& camera = info.camera;
    info.has_camera = true;
    camera.K = {std::abs(world.p.fx) * view.width / 2, 0,
                view.x + (1 + world.p.cx) * view.width / 2, 0,
                std::abs(world.p.fy) * view.height / 2,
                below + (1 - (top_down ? up : 1) * world.p.cy) * view.height / 2, 0, 0, 1};
    camera.near_m = planes.near_units * metres;
    camera.far_m = planes.far_units * metres;
    camera.reversed_z = planes.reversed;
    const Mat4 now = transposed(pose_.world_from_camera()), before = transposed(pose_before_);
    camera.world_from_camera = now;
    camera.world_from_camera_prev = before;
    if (has_pose_ && (!step_.known || step_.jumped)) info.flags |= frame_flags::cut;
    if (world.trigger == Trigger::swap && world.framebuffer == 0) {
        info.flags |= frame_flags::hud_in_color;
    }
    return info;
}

// Which event the HUD was cut by may change with the scene; each change is a mark in the session.
void Capture::tell_trigger(const World& world, std::int64_t t_sim_ns) noexcept {
    if (!world.found || world.trigger == told_trigger_) return;
    char label[64];
    std::snprintf(label, sizeof label, "HUD cut by: %s", name_of(world.trigger));
    if (plugin_->mark(t_sim_ns, label)) told_trigger_ = world.trigger;
}

void Capture::send(Context* context, const World& world) noexcept {
    const Extent window = target_size(*context, 0);
    FrameInfo info = info_of(world, window);
    info.output_size = {std::max(window.width, 1U), std::max(window.height, 1U)};
    Slot* slot = plugin_->begin(info);
    if (slot == nullptr) return;
    tell_trigger(world, info.t_sim_ns);
    GlGuard guard(context);
    if (!world.found) {
        readback_.read_color(&guard, entry_, plane_color, 0, window);
    }
    readback_.read_color(&guard, entry_, plane_color_ui, 0, window);
    const Rect& seen = context->window_so_far;
    const bool shrank = seen.width > 0 && (static_cast<std::uint32_t>(seen.width) < window.width ||
                                           static_cast<std::uint32_t>(seen.height) < window.height);
    const bool complete = !shrank && entry_->planes[plane_color].used &&
                          (!world.found || entry_->planes[plane_depth].used);
    if (!complete) {
        plugin_->drop(slot, Cause::encode);
        return;
    }
    Flight& flight = flights_[static_cast<std::size_t>(entry_ - readback_.entries.data())];
    flight.job = job_of(world);
    flight.job.entry = entry_;
    flight.job.slot = slot;
    readback_.issue(entry_);
    entry_ = nullptr;
}

// Whether the capture's own frame rate asks for the next frame.
bool Capture::due(std::int64_t now) noexcept {
    const double fps = settings().max_fps;
    if (fps <= 0) return true;
    const auto period = static_cast<std::int64_t>(1e9 / fps);
    if (now < next_due_ns_) return false;
    next_due_ns_ = std::max(next_due_ns_ + period, now - period);
    return true;
}

void Capture::next_frame(Context* context) noexcept {
    context->begin_frame();
    context->watching = plugin_ == nullptr;
    if (plugin_ == nullptr) {
        if (wanted_attachment_ >= 0 && writer_ != nullptr) entry_ = readback_.take();
        return;
    }
    counted_ = due(now_ns());
    if (!counted_) return;
    missed_ = Cause::no_credit;
    if (!plugin_->wants_frame()) return;
    entry_ = readback_.take();
    missed_ = Cause::readback_late;
    context->watching = entry_ != nullptr;
}

void Capture::context_lost(Context* context, bool is_current) noexcept {
    if (context != context_) return;
    for (Flight& flight : flights_) {
        RingEntry& entry =
            readback_.entries[static_cast<std::size_t>(&flight - flights_.data())];
        const EntryState state = entry.state.load(std::memory_order_acquire);
        if (state == EntryState::reading && flight.job.slot != nullptr && plugin_ != nullptr) {
            plugin_->drop(flight.job.slot, Cause::readback_late);
        }
    }
    // The writer reads memory that goes away with the context.
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    while (readback_.busy() && std::chrono::steady_clock::now() < give_up) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (is_current && calls().usable) {
        GlGuard guard(context);
        readback_.release();
    } else {
        readback_.forget();
    }
    entry_ = nullptr;
    context_ = nullptr;
    counted_ = false;
    pose_.reset();
}

void Capture::shut_down() noexcept {
    if (disabled_) return;
    disabled_ = true;
    if (writer_ != nullptr) writer_->stop();
    plugin_.reset();
}

}  // namespace realmaster::opengl
