// The functions of OpenGL that the plugin itself calls, past all hooks.
#pragma once

#include "gl_types.h"

#define REALMASTER_GL_CALLS(X)                                                                    \
    X(GLenum, GetError, ())                                                                       \
    X(void, GetIntegerv, (GLenum, GLint*))                                                        \
    X(void, GetFloatv, (GLenum, GLfloat*))                                                        \
    X(void, GetDoublev, (GLenum, GLdouble*))                                                      \
    X(void, GetBooleanv, (GLenum, GLboolean*))                                                    \
    X(GLboolean, IsEnabled, (GLenum))                                                             \
    X(const GLubyte*, GetString, (GLenum))                                                        \
    X(void, ReadPixels, (GLint, GLint, GLsizei, GLsizei, GLenum, GLenum, void*))                  \
    X(void, ReadBuffer, (GLenum))                                                                 \
    X(void, PixelStorei, (GLenum, GLint))                                                         \
    X(void, Enable, (GLenum))                                                                     \
    X(void, Disable, (GLenum))                                                                    \
    X(void, Flush, ())

#define REALMASTER_GL_OPTIONAL_CALLS(X)                                                           \
    X(void, PixelTransferf, (GLenum, GLfloat))                                                    \
    X(void, GenBuffers, (GLsizei, GLuint*))                                                       \
    X(void, DeleteBuffers, (GLsizei, const GLuint*))                                              \
    X(void, BindBuffer, (GLenum, GLuint))                                                         \
    X(void, BufferData, (GLenum, GLsizeiptr, const void*, GLenum))                                \
    X(void*, MapBufferRange, (GLenum, GLintptr, GLsizeiptr, GLbitfield))                          \
    X(GLboolean, UnmapBuffer, (GLenum))                                                           \
    X(GLsync, FenceSync, (GLenum, GLbitfield))                                                    \
    X(GLenum, ClientWaitSync, (GLsync, GLbitfield, GLuint64))                                     \
    X(void, DeleteSync, (GLsync))                                                                 \
    X(void, GenFramebuffers, (GLsizei, GLuint*))                                                  \
    X(void, DeleteFramebuffers, (GLsizei, const GLuint*))                                         \
    X(void, BindFramebuffer, (GLenum, GLuint))                                                    \
    X(GLenum, CheckFramebufferStatus, (GLenum))                                                   \
    X(void, FramebufferRenderbuffer, (GLenum, GLenum, GLenum, GLuint))                            \
    X(void, GetFramebufferAttachmentParameteriv, (GLenum, GLenum, GLenum, GLint*))                \
    X(void, GenRenderbuffers, (GLsizei, GLuint*))                                                 \
    X(void, DeleteRenderbuffers, (GLsizei, const GLuint*))                                        \
    X(void, BindRenderbuffer, (GLenum, GLuint))                                                   \
    X(void, RenderbufferStorage, (GLenum, GLenum, GLsizei, GLsizei))                              \
    X(void, GetRenderbufferParameteriv, (GLenum, GLenum, GLint*))                                 \
    X(void, BlitFramebuffer,                                                                      \
      (GLint, GLint, GLint, GLint, GLint, GLint, GLint, GLint, GLbitfield, GLenum))               \
    X(void, BindTexture, (GLenum, GLuint))                                                        \
    X(void, GetTexLevelParameteriv, (GLenum, GLint, GLenum, GLint*))                              \
    X(void, ClampColor, (GLenum, GLenum))                                                         \
    X(void, GetProgramiv, (GLuint, GLenum, GLint*))                                               \
    X(void, GetActiveUniform,                                                                     \
      (GLuint, GLuint, GLsizei, GLsizei*, GLint*, GLenum*, GLchar*))                              \
    X(GLint, GetUniformLocation, (GLuint, const GLchar*))                                         \
    X(void, GetActiveUniformsiv, (GLuint, GLsizei, const GLuint*, GLenum, GLint*))                \
    X(void, GetActiveUniformBlockiv, (GLuint, GLuint, GLenum, GLint*))

namespace realmaster::opengl {

struct GlCalls {
#define X(result, name, parameters) result(*name) parameters = nullptr;
    REALMASTER_GL_CALLS(X)
    REALMASTER_GL_OPTIONAL_CALLS(X)
#undef X
    // What a capture needs: pixel buffers that can be mapped, framebuffer objects (OpenGL 3.0).
    bool usable = false;
    bool has_fences() const noexcept {
        return FenceSync != nullptr && ClientWaitSync != nullptr && DeleteSync != nullptr;
    }
    bool has_uniform_buffers() const noexcept { return GetActiveUniformBlockiv != nullptr; }
};

// Resolved at the first call, which must be made with a context current.
const GlCalls& calls() noexcept;

}  // namespace realmaster::opengl
