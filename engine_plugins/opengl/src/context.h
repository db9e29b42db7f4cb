// The state of one OpenGL context that decides what a draw means, followed by the calls that change
// it, and the context that is current in this thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "frame_tracker.h"
#include "gl_types.h"
#include "matrix.h"
#include "uniforms.h"

namespace realmaster::opengl {

class Context {
public:
    explicit Context(std::shared_ptr<ShareGroup> share_group);

    // Reads all state anew: at first use, and after glPopAttrib.
    void refresh() noexcept;

    // What a draw of so many vertices means now. key: see Vote.
    Draw describe(std::uint32_t vertices, std::uint64_t key) noexcept;
    bool partial_scissor() const noexcept;

    std::shared_ptr<ShareGroup> group;
    bool fresh = false;   // refresh was called
    int num_current = 0;  // in how many threads; under the registry's lock
    // Errors of the game that stood before our own calls, for its next glGetError.
    GLenum held_errors[4] = {};

    GLuint draw_framebuffer = 0, read_framebuffer = 0;
    GLuint program = 0, vertex_array = 0, array_buffer = 0, element_buffer = 0, uniform_buffer = 0;
    UniformBindings uniform_bindings;
    Rect viewport, scissor;
    bool scissor_on = false, depth_test = false, depth_writes = true, blend = false;
    DepthMapping depth;
    GLenum matrix_mode = 0x1700;
    bool projection_changed = true, model_view_changed = true;
    bool compatibility = false;
    // Display lists: the vertices that each holds, and the one that is being made.
    std::unordered_map<GLuint, std::uint32_t> lists;
    GLuint open_list = 0;
    bool list_only_compiled = false;
    bool in_begin = false;

    // Whether draws are looked at: a frame is being captured or a first one is awaited.
    bool watching = false;
    // The window's size, which is that of the largest viewport a game sets on it: of the last
    // frame, and as far as it is known of this one.
    Rect window, window_so_far;
    FrameTracker tracker;

    // Takes note of a viewport that is used on the window.
    void note_viewport() noexcept {
        if (draw_framebuffer != 0) return;
        window_so_far.width = std::max(window_so_far.width, viewport.x + viewport.width);
        window_so_far.height = std::max(window_so_far.height, viewport.y + viewport.height);
    }
    // A display list may change any matrix.
    void may_have_changed() noexcept { projection_changed = model_view_changed = true; }
    // After a swap.
    void begin_frame() noexcept;

private:
    DrawCamera camera() noexcept;

    MatrixKind fixed_kind_ = MatrixKind::other;
    Perspective fixed_p_;
    Mat4 fixed_model_view_ = identity4;
    Mat4 fixed_product_view_ = identity4;
};

// The context that is current in this thread; nullptr where there is none.
Context* current_context() noexcept;

// Called by the hooks of the window systems. handle: the system's; nullptr for none.
void make_current(void* handle) noexcept;
// Whether the current context has matrices and display lists of its own.
bool is_compatibility() noexcept;
void created(void* handle, void* shares_with) noexcept;
void destroyed(void* handle) noexcept;
// The context of a handle, also if it is not current here; nullptr if unknown.
Context* context_of(void* handle) noexcept;

}  // namespace realmaster::opengl
