// The list of functions that are stood before, and how the true ones are reached.
//
// A game reaches OpenGL by linking libGL, by dlsym, or by a GetProcAddress; all lead to the same
// hooks, and each hook calls the function that it stands before. This file knows names, not states.
#pragma once

#include "gl_types.h"

#define REALMASTER_GL_HOOKS(X)                                                                   \
    X(glXGetProcAddress) X(glXGetProcAddressARB) X(eglGetProcAddress) X(SDL_GL_GetProcAddress)   \
    X(glXSwapBuffers) X(glXSwapBuffersMscOML) X(eglSwapBuffers) X(SDL_GL_SwapWindow)             \
    X(eglSwapBuffersWithDamageKHR) X(eglSwapBuffersWithDamageEXT)                                \
    X(glXMakeCurrent) X(glXMakeContextCurrent) X(eglMakeCurrent) X(glXDestroyContext)            \
    X(eglDestroyContext) X(glXCreateContext) X(glXCreateNewContext)                              \
    X(glXCreateContextAttribsARB) X(eglCreateContext)                                            \
    X(glDrawArrays) X(glDrawElements) X(glDrawRangeElements) X(glDrawRangeElementsEXT)           \
    X(glMultiDrawArrays) X(glMultiDrawElements) X(glDrawArraysInstanced)                         \
    X(glDrawElementsInstanced) X(glDrawArraysInstancedARB) X(glDrawElementsInstancedARB)         \
    X(glDrawElementsBaseVertex) X(glDrawRangeElementsBaseVertex)                                 \
    X(glDrawElementsInstancedBaseVertex) X(glMultiDrawElementsBaseVertex)                        \
    X(glDrawArraysInstancedBaseInstance) X(glDrawElementsInstancedBaseInstance)                  \
    X(glDrawElementsInstancedBaseVertexBaseInstance) X(glDrawArraysIndirect)                     \
    X(glDrawElementsIndirect) X(glMultiDrawArraysIndirect) X(glMultiDrawElementsIndirect)        \
    X(glBegin) X(glEnd) X(glNewList) X(glEndList) X(glCallList) X(glCallLists)                   \
    X(glClear) X(glClearBufferfv) X(glClearBufferfi) X(glBlitFramebuffer) X(glBlitFramebufferEXT) \
    X(glViewport) X(glScissor) X(glEnable) X(glDisable) X(glDepthRange) X(glDepthRangef)         \
    X(glDepthMask) X(glClipControl) X(glUseProgram) X(glUseProgramObjectARB) X(glLinkProgram)    \
    X(glLinkProgramARB) X(glDeleteProgram) X(glUniformBlockBinding)                              \
    X(glBindFramebuffer) X(glBindFramebufferEXT)                                                 \
    X(glDeleteFramebuffers) X(glDeleteFramebuffersEXT) X(glBindVertexArray) X(glPopAttrib)       \
    X(glMatrixMode) X(glLoadMatrixf) X(glLoadMatrixd) X(glMultMatrixf) X(glMultMatrixd)          \
    X(glLoadTransposeMatrixf) X(glMultTransposeMatrixf) X(glLoadIdentity) X(glFrustum)           \
    X(glOrtho) X(glPopMatrix) X(glTranslatef) X(glTranslated) X(glRotatef) X(glRotated)          \
    X(glScalef) X(glScaled)                                                                      \
    X(glUniformMatrix4fv) X(glUniformMatrix4fvARB) X(glProgramUniformMatrix4fv)                  \
    X(glBindBuffer) X(glBindBufferARB) X(glBindBufferBase) X(glBindBufferRange)                  \
    X(glBindBuffersBase) X(glBindBuffersRange)                                                   \
    X(glBufferData) X(glBufferDataARB) X(glBufferSubData) X(glBufferSubDataARB)                  \
    X(glBufferStorage) X(glMapBuffer) X(glMapBufferRange) X(glUnmapBuffer)                       \
    X(glFlushMappedBufferRange) X(glNamedBufferData) X(glNamedBufferSubData)                     \
    X(glNamedBufferStorage) X(glMapNamedBuffer) X(glMapNamedBufferRange) X(glUnmapNamedBuffer)   \
    X(glDeleteBuffers) X(glDeleteBuffersARB) X(glGetError)

namespace realmaster::opengl {

enum class Hook : unsigned {
#define X(name) name,
    REALMASTER_GL_HOOKS(X)
#undef X
    count
};

// The function that a hook stands before; nullptr where the system has none.
void* real_function(Hook hook) noexcept;

// Any function of OpenGL or of the window system by its name, past all hooks; may be nullptr.
void* resolve(const char* name) noexcept;

}  // namespace realmaster::opengl

#define RM_HOOK extern "C" __attribute__((visibility("default")))
#define RM_REAL(name) \
    (reinterpret_cast<decltype(&::name)>(realmaster::opengl::real_function( \
        realmaster::opengl::Hook::name)))
