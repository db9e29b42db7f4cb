// From a frame that was drawn to a frame that is sent: decides at each swap what the next frame is
// watched for, carries out the tracker's copies, and gives what arrived to the writer.
//
// One context is captured: the first that shows a world. All of its work is done in the thread that
// swaps; the core's and the writer's threads start when there is something to send.
#pragma once

#include <memory>

#include "context.h"
#include "frame_writer.h"
#include "pose.h"
#include "readback.h"
#include "realmaster/plugin.h"

namespace realmaster::opengl {

class Capture {
public:
    // Before the game's swap of this context is carried out.
    void swap(Context* context) noexcept;
    // Before the call is carried out that the tracker named.
    void perform(Context* context, const Actions& actions) noexcept;
    // The context goes away while it is current (`current`) or not.
    void context_lost(Context* context, bool is_current) noexcept;
    // The process ends, or forked.
    void shut_down() noexcept;
    void forked() noexcept { disabled_ = true; }
    bool disabled() const noexcept { return disabled_; }

private:
    // What is known of the frame whose images are being copied.
    struct Flight {
        Slot* slot = nullptr;
        FrameJob job;
    };

    void collect() noexcept;
    void end_frame(Context* context) noexcept;
    void send(Context* context, const World& world) noexcept;
    void tell_trigger(const World& world, std::int64_t t_sim_ns) noexcept;
    void warm_up(Context* context, const World& world) noexcept;
    void start_plugin(Context* context, const World& world) noexcept;
    void next_frame(Context* context) noexcept;
    int color_attachments(GLuint framebuffer) noexcept;
    FrameJob job_of(const World& world) const noexcept;
    FrameInfo info_of(const World& world, Extent window) const noexcept;
    Extent target_size(const Context& context, GLuint framebuffer) const noexcept;
    bool due(std::int64_t now) noexcept;

    bool disabled_ = false;
    Context* context_ = nullptr;
    Readback readback_;
    std::array<Flight, ring_size> flights_;
    RingEntry* entry_ = nullptr;  // of the frame that is being drawn, if it is captured
    int wanted_attachment_ = -1;  // what is copied for G-buffer normals
    std::unique_ptr<FrameWriter> writer_;
    std::unique_ptr<Plugin> plugin_;
    bool counted_ = false;  // the frame that is being drawn is one of the stream's
    Trigger told_trigger_ = Trigger::none;  // what the session was told of last
    Cause missed_ = Cause::no_credit;  // why it is not captured, if it is not

    PoseTracker pose_;
    PoseStep step_;
    Mat4 pose_before_ = identity4;
    bool has_pose_ = false;
    int worlds_seen_ = 0, poses_seen_ = 0, looks_ = 0;
    Extent depth_size_;
    std::int64_t next_due_ns_ = 0;
    std::uint64_t swaps_ = 0;
};

// One for the process; never destroyed.
Capture& capture() noexcept;

}  // namespace realmaster::opengl
