#include "gl_guard.h"

#include <cstddef>

#include "gl_calls.h"

namespace realmaster::opengl {
namespace {

constexpr GLenum pack_names[8] = {
    gl::PACK_SWAP_BYTES,  gl::PACK_LSB_FIRST, gl::PACK_ROW_LENGTH,  gl::PACK_SKIP_ROWS,
    gl::PACK_SKIP_PIXELS, gl::PACK_ALIGNMENT, gl::PACK_SKIP_IMAGES, gl::PACK_IMAGE_HEIGHT};
constexpr GLint pack_defaults[8] = {0, 0, 0, 0, 0, 4, 0, 0};

// Pixel transfer exists in compatibility contexts alone.
constexpr GLenum transfer_names[11] = {
    gl::RED_SCALE,   gl::RED_BIAS,  gl::GREEN_SCALE, gl::GREEN_BIAS, gl::BLUE_SCALE, gl::BLUE_BIAS,
    gl::ALPHA_SCALE, gl::ALPHA_BIAS, gl::DEPTH_SCALE, gl::DEPTH_BIAS, gl::MAP_COLOR};
constexpr float transfer_defaults[11] = {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0};

}  // namespace

void hold_errors(Context* context) noexcept {
    for (GLenum& held : context->held_errors) {
        if (held != gl::NO_ERROR) continue;
        held = calls().GetError();
        if (held == gl::NO_ERROR) return;
    }
}

bool clear_errors() noexcept {
    bool any = false;
    // A lost context may give errors without end.
    for (int i = 0; i < 16 && calls().GetError() != gl::NO_ERROR; ++i) any = true;
    return any;
}

GlGuard::GlGuard(Context* context) noexcept : context_(context) {
    const GlCalls& gl = calls();
    hold_errors(context);
    gl.GetIntegerv(gl::PIXEL_PACK_BUFFER_BINDING, &pack_buffer_);
    gl.GetIntegerv(gl::READ_FRAMEBUFFER_BINDING, &read_framebuffer_);
    gl.GetIntegerv(gl::FRAMEBUFFER_BINDING, &draw_framebuffer_);
    scissor_ = gl.IsEnabled(gl::SCISSOR_TEST) != 0;
    srgb_ = gl.IsEnabled(gl::FRAMEBUFFER_SRGB) != 0;
    for (std::size_t i = 0; i < 8; ++i) {
        gl.GetIntegerv(pack_names[i], &pack_[i]);
        if (pack_[i] != pack_defaults[i]) gl.PixelStorei(pack_names[i], pack_defaults[i]);
    }
    if (context->compatibility && gl.PixelTransferf != nullptr) {
        for (std::size_t i = 0; i < 11; ++i) {
            gl.GetFloatv(transfer_names[i], &transfer_[i]);
            if (transfer_[i] < transfer_defaults[i] || transfer_[i] > transfer_defaults[i]) {
                gl.PixelTransferf(transfer_names[i], transfer_defaults[i]);
            }
        }
    }
    if (scissor_) gl.Disable(gl::SCISSOR_TEST);
    if (srgb_) gl.Disable(gl::FRAMEBUFFER_SRGB);
    clear_errors();
}

GlGuard::~GlGuard() {
    const GlCalls& gl = calls();
    for (std::size_t i = 0; i < 8; ++i) {
        if (pack_[i] != pack_defaults[i]) gl.PixelStorei(pack_names[i], pack_[i]);
    }
    if (context_->compatibility && gl.PixelTransferf != nullptr) {
        for (std::size_t i = 0; i < 11; ++i) {
            if (transfer_[i] < transfer_defaults[i] || transfer_[i] > transfer_defaults[i]) {
                gl.PixelTransferf(transfer_names[i], transfer_[i]);
            }
        }
    }
    if (scissor_) gl.Enable(gl::SCISSOR_TEST);
    if (srgb_) gl.Enable(gl::FRAMEBUFFER_SRGB);
    gl.BindBuffer(gl::PIXEL_PACK_BUFFER, static_cast<GLuint>(pack_buffer_));
    bind_framebuffers(static_cast<GLuint>(read_framebuffer_),
                      static_cast<GLuint>(draw_framebuffer_));
    clear_errors();
}

void GlGuard::bind_framebuffers(GLuint read, GLuint draw) noexcept {
    calls().BindFramebuffer(gl::READ_FRAMEBUFFER, read);
    calls().BindFramebuffer(gl::DRAW_FRAMEBUFFER, draw);
}

}  // namespace realmaster::opengl
