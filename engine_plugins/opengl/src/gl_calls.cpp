#include "gl_calls.h"

#include "hooks.h"

namespace realmaster::opengl {
namespace {

GlCalls load() noexcept {
    GlCalls gl;
    bool complete = true;
#define X(result, name, parameters) \
    gl.name = reinterpret_cast<result(*) parameters>(resolve("gl" #name));
    REALMASTER_GL_CALLS(X)
    REALMASTER_GL_OPTIONAL_CALLS(X)
#undef X
#define X(result, name, parameters) complete = complete && gl.name != nullptr;
    REALMASTER_GL_CALLS(X)
#undef X
    gl.usable = complete && gl.MapBufferRange != nullptr && gl.UnmapBuffer != nullptr &&
                gl.GenBuffers != nullptr && gl.BindFramebuffer != nullptr &&
                gl.GetFramebufferAttachmentParameteriv != nullptr;
    return gl;
}

}  // namespace

const GlCalls& calls() noexcept {
    static const GlCalls gl = load();
    return gl;
}

}  // namespace realmaster::opengl
