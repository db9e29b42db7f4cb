// A window of the test programs: an EGL pixel buffer, so that no screen is needed, and OpenGL's
// functions by eglGetProcAddress. swap() also checks that nobody touched the program's state.
#pragma once

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gl_types.h"

namespace test {

#define TEST_GL(X)                                                                                \
    X(void, ClearColor, (float, float, float, float)) X(void, Clear, (GLbitfield))               \
    X(void, Enable, (GLenum)) X(void, Disable, (GLenum)) X(void, DepthFunc, (GLenum))            \
    X(void, DepthMask, (GLboolean)) X(void, DepthRange, (double, double))                        \
    X(void, ClearDepth, (double)) X(void, Viewport, (int, int, int, int))                        \
    X(void, Scissor, (int, int, int, int)) X(GLenum, GetError, ())                               \
    X(void, GetIntegerv, (GLenum, int*)) X(void, PixelStorei, (GLenum, int))                     \
    X(void, MatrixMode, (GLenum)) X(void, LoadIdentity, ()) X(void, LoadMatrixf, (const float*)) \
    X(void, Frustum, (double, double, double, double, double, double))                           \
    X(void, Ortho, (double, double, double, double, double, double))                             \
    X(void, EnableClientState, (GLenum)) X(void, VertexPointer, (int, GLenum, int, const void*)) \
    X(void, Color3f, (float, float, float)) X(void, DrawArrays, (GLenum, int, int))              \
    X(GLuint, CreateShader, (GLenum))                                                            \
    X(void, ShaderSource, (GLuint, int, const char* const*, const int*))                         \
    X(void, CompileShader, (GLuint)) X(GLuint, CreateProgram, ())                                \
    X(void, AttachShader, (GLuint, GLuint)) X(void, LinkProgram, (GLuint))                       \
    X(void, GetProgramiv, (GLuint, GLenum, int*)) X(void, UseProgram, (GLuint))                  \
    X(int, GetUniformLocation, (GLuint, const char*))                                            \
    X(void, UniformMatrix4fv, (int, int, GLboolean, const float*)) X(void, Uniform1i, (int, int)) \
    X(void, Uniform4f, (int, float, float, float, float))                                        \
    X(GLuint, GetUniformBlockIndex, (GLuint, const char*))                                       \
    X(void, UniformBlockBinding, (GLuint, GLuint, GLuint)) X(void, GenBuffers, (int, GLuint*))   \
    X(void, BindBuffer, (GLenum, GLuint))                                                        \
    X(void, BufferData, (GLenum, std::ptrdiff_t, const void*, GLenum))                           \
    X(void, BufferSubData, (GLenum, std::ptrdiff_t, std::ptrdiff_t, const void*))                \
    X(void, BufferStorage, (GLenum, std::ptrdiff_t, const void*, GLbitfield))                    \
    X(void*, MapBufferRange, (GLenum, std::ptrdiff_t, std::ptrdiff_t, GLbitfield))               \
    X(GLboolean, UnmapBuffer, (GLenum)) X(void, BindBufferBase, (GLenum, GLuint, GLuint))        \
    X(void, GenVertexArrays, (int, GLuint*)) X(void, BindVertexArray, (GLuint))                  \
    X(void, EnableVertexAttribArray, (GLuint))                                                   \
    X(void, VertexAttribPointer, (GLuint, int, GLenum, GLboolean, int, const void*))             \
    X(void, GenTextures, (int, GLuint*)) X(void, BindTexture, (GLenum, GLuint))                  \
    X(void, TexStorage2D, (GLenum, int, GLenum, int, int)) X(void, ActiveTexture, (GLenum))      \
    X(void, TexParameteri, (GLenum, GLenum, int)) X(void, GenFramebuffers, (int, GLuint*))       \
    X(void, BindFramebuffer, (GLenum, GLuint))                                                   \
    X(void, FramebufferTexture2D, (GLenum, GLenum, GLenum, GLuint, int))                         \
    X(void, FramebufferRenderbuffer, (GLenum, GLenum, GLenum, GLuint))                           \
    X(void, GenRenderbuffers, (int, GLuint*)) X(void, BindRenderbuffer, (GLenum, GLuint))        \
    X(void, RenderbufferStorageMultisample, (GLenum, int, GLenum, int, int))                     \
    X(void, DrawBuffers, (int, const GLenum*)) X(void, ClipControl, (GLenum, GLenum))            \
    X(void, BlitFramebuffer, (int, int, int, int, int, int, int, int, GLbitfield, GLenum))

struct Gl {
#define X(result, name, parameters) result(*name) parameters = nullptr;
    TEST_GL(X)
#undef X
};
inline Gl gl;

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(3);
}

class Window {
public:
    Window(int width, int height, bool core) : width_(width), height_(height) {
        setenv("EGL_PLATFORM", "surfaceless", 1);
        void* egl = dlopen("libEGL.so.1", RTLD_NOW);
        if (egl == nullptr) fail("no libEGL.so.1");
        get_ = reinterpret_cast<Get>(dlsym(egl, "eglGetProcAddress"));
        display_ = call<void*>("eglGetDisplay", static_cast<void*>(nullptr));
        int major = 0, minor = 0;
        if (call<unsigned>("eglInitialize", display_, &major, &minor) == 0) fail("no EGL display");
        call<unsigned>("eglBindAPI", 0x30A2U);  // EGL_OPENGL_API
        const int wanted[] = {0x3033, 1, 0x3040, 8, 0x3024, 8,      0x3023, 8,
                              0x3022, 8, 0x3025, 24, 0x3038};
        void* config = nullptr;
        int num = 0;
        call<unsigned>("eglChooseConfig", display_, wanted, &config, 1, &num);
        if (num < 1) fail("no EGL config");
        const int core_attributes[] = {0x3098, 4, 0x30FB, 5, 0x30FD, 1, 0x3038};
        const int plain_attributes[] = {0x3038};
        context_ = call<void*>("eglCreateContext", display_, config, static_cast<void*>(nullptr),
                               core ? core_attributes : plain_attributes);
        make(width, height, config);
        config_ = config;
#define X(result, name, parameters) \
    gl.name = reinterpret_cast<result(*) parameters>(get_("gl" #name));
        TEST_GL(X)
#undef X
    }

    void resize(int width, int height) { make(width, height, config_); }

    // Leaves an error and odd pack state behind, and demands both back.
    void swap() {
        gl.PixelStorei(0xD05, 2);
        gl.PixelStorei(0xD02, 77);
        gl.Enable(0xFFFF);
        call<unsigned>("eglSwapBuffers", display_, surface_);
        if (gl.GetError() != 0x500) fail("the program's glGetError was swallowed");
        if (gl.GetError() != 0) fail("an error of somebody else's");
        int alignment = 0, length = 0, buffer = 1;
        gl.GetIntegerv(0xD05, &alignment);
        gl.GetIntegerv(0xD02, &length);
        gl.GetIntegerv(0x88ED, &buffer);
        if (alignment != 2 || length != 77 || buffer != 0) fail("pack state was changed");
        // A game has a pace; this one is slow enough for one shared core.
        usleep(pause_us);
    }

    int width() const { return width_; }
    int height() const { return height_; }
    useconds_t pause_us = 20000;

private:
    using Function = void (*)();
    using Get = Function (*)(const char*);

    template <typename Result, typename... Arguments>
    Result call(const char* name, Arguments... arguments) {
        return reinterpret_cast<Result (*)(Arguments...)>(get_(name))(arguments...);
    }

    void make(int width, int height, void* config) {
        width_ = width;
        height_ = height;
        const int size[] = {0x3057, width, 0x3056, height, 0x3038};
        surface_ = call<void*>("eglCreatePbufferSurface", display_, config,
                               static_cast<const int*>(size));
        if (call<unsigned>("eglMakeCurrent", display_, surface_, surface_, context_) == 0) {
            fail("no OpenGL context");
        }
    }

    Get get_ = nullptr;
    void *display_ = nullptr, *context_ = nullptr, *surface_ = nullptr, *config_ = nullptr;
    int width_, height_;
};

}  // namespace test
