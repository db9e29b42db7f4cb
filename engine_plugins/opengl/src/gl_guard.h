// Keeps the game's state and errors whatever is done between construction and destruction.
#pragma once

#include "context.h"
#include "gl_types.h"

namespace realmaster::opengl {

// Holds back the game's pending errors, saves and neutralises all state that reading pixels
// depends on, and puts it back.
class GlGuard {
public:
    explicit GlGuard(Context* context) noexcept;
    ~GlGuard();
    GlGuard(const GlGuard&) = delete;
    GlGuard& operator=(const GlGuard&) = delete;

    // Binds a framebuffer for reading and for drawing (an attribute of the latter is its samples).
    void bind_framebuffers(GLuint read, GLuint draw) noexcept;

private:
    Context* context_;
    GLint pack_[8] = {};
    float transfer_[11] = {};
    GLint pack_buffer_ = 0, read_framebuffer_ = 0, draw_framebuffer_ = 0;
    bool scissor_ = false, srgb_ = false;
};

// Moves pending errors into the context's hold.
void hold_errors(Context* context) noexcept;
// Drops errors of our own calls; true if there were any.
bool clear_errors() noexcept;

}  // namespace realmaster::opengl
