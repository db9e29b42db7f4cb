// The thread that turns mapped images into the buffers of a frame and hands them to the core.
// Knows no OpenGL: it reads memory that the render thread keeps mapped until an entry is `done`.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "gbuffer_normals.h"
#include "readback.h"
#include "realmaster/plugin.h"

namespace realmaster::opengl {

// One frame whose images have arrived. slot nullptr: the frame is only looked at, for G-buffer
// normals. world false: a menu or loading screen, color alone.
struct FrameJob {
    RingEntry* entry = nullptr;
    Slot* slot = nullptr;
    bool world = false;
    bool has_motion = false;  // the stream has it; prev_known: and this frame too
    bool prev_known = false;
    ViewGeometry view;
    Mat4 prev_from_now = identity4;
    Mat4 world_from_camera = identity4;
    int attachment = 0;  // of plane_normal
};

class FrameWriter {
public:
    FrameWriter();
    ~FrameWriter();
    FrameWriter(const FrameWriter&) = delete;
    FrameWriter& operator=(const FrameWriter&) = delete;

    // The plugin may come later than the first looks.
    void set_plugin(Plugin* plugin) noexcept { plugin_.store(plugin); }
    void push(const FrameJob& job) noexcept;
    // Ends the thread once its queue is empty.
    void stop() noexcept;

    // The best fit of all looks so far; ask when no look is under way.
    NormalFit best_fit() noexcept;
    int best_attachment() noexcept;
    // Whether each of so many attachments was seen in a view that could tell.
    bool all_told(int attachments) noexcept;

private:
    void loop() noexcept;
    void look(const FrameJob& job) noexcept;
    void write(const FrameJob& job, Plugin* plugin) noexcept;
    void write_normal_buffer(const FrameJob& job, std::uint16_t* out) noexcept;
    void reserve(std::size_t pixels) noexcept;
    NormalFit turned_by(const FrameJob& job) const noexcept;

    std::atomic<Plugin*> plugin_{nullptr};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::array<FrameJob, ring_size + 1> queue_;
    std::size_t first_ = 0, count_ = 0;
    bool stopping_ = false;

    std::vector<float> inverse_;
    std::vector<std::uint16_t> derived_;
    NormalFit fit_;
    int attachment_ = 0;
    std::uint32_t told_ = 0;  // bits: attachments that were looked at conclusively
    Mat4 fit_pose_ = identity4;  // world_from_camera when it was fitted
    bool in_world_ = false;      // normals are stored in world space
    std::uint32_t until_check_ = 0;
    std::thread thread_;
};

}  // namespace realmaster::opengl
