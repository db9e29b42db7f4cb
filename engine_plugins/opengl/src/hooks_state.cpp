// State that decides what a draw means: followed at all times, for a game may set it long before it
// draws with it. What is called while a display list is only compiled does not change it.
#include "context.h"
#include "hooks.h"

#include <algorithm>

using namespace realmaster::opengl;

namespace {

Context* live() noexcept {
    Context* context = current_context();
    return context != nullptr && !context->list_only_compiled ? context : nullptr;
}

void switched(GLenum what, bool on) noexcept {
    Context* context = live();
    if (context == nullptr) return;
    if (what == gl::DEPTH_TEST) context->depth_test = on;
    if (what == gl::SCISSOR_TEST) context->scissor_on = on;
    if (what == gl::BLEND) context->blend = on;
}

void matrix_changed() noexcept {
    Context* context = live();
    if (context == nullptr) return;
    (context->matrix_mode == gl::PROJECTION ? context->projection_changed
                                            : context->model_view_changed) = true;
}

void framebuffer_bound(GLenum target, GLuint framebuffer) noexcept {
    Context* context = current_context();
    if (context == nullptr) return;
    if (target != gl::READ_FRAMEBUFFER) context->draw_framebuffer = framebuffer;
    if (target != gl::DRAW_FRAMEBUFFER) context->read_framebuffer = framebuffer;
}

void framebuffers_deleted(GLsizei num, const GLuint* names) noexcept {
    Context* context = current_context();
    for (GLsizei i = 0; context != nullptr && names != nullptr && i < num; ++i) {
        if (names[i] == context->draw_framebuffer) context->draw_framebuffer = 0;
        if (names[i] == context->read_framebuffer) context->read_framebuffer = 0;
    }
}

}  // namespace

RM_HOOK void glViewport(GLint x, GLint y, GLsizei width, GLsizei height) {
    if (Context* context = live()) {
        context->viewport = {x, y, width, height};
        context->note_viewport();
    }
    RM_REAL(glViewport)(x, y, width, height);
}

RM_HOOK void glScissor(GLint x, GLint y, GLsizei width, GLsizei height) {
    if (Context* context = live()) context->scissor = {x, y, width, height};
    RM_REAL(glScissor)(x, y, width, height);
}

RM_HOOK void glEnable(GLenum what) {
    switched(what, true);
    RM_REAL(glEnable)(what);
}

RM_HOOK void glDisable(GLenum what) {
    switched(what, false);
    RM_REAL(glDisable)(what);
}

RM_HOOK void glDepthRange(GLdouble near, GLdouble far) {
    if (Context* context = live()) {
        context->depth.range_near = std::clamp(near, 0.0, 1.0);
        context->depth.range_far = std::clamp(far, 0.0, 1.0);
    }
    RM_REAL(glDepthRange)(near, far);
}

RM_HOOK void glDepthRangef(GLfloat near, GLfloat far) {
    if (Context* context = live()) {
        context->depth.range_near = std::clamp(static_cast<double>(near), 0.0, 1.0);
        context->depth.range_far = std::clamp(static_cast<double>(far), 0.0, 1.0);
    }
    RM_REAL(glDepthRangef)(near, far);
}

RM_HOOK void glDepthMask(GLboolean on) {
    if (Context* context = live()) context->depth_writes = on != 0;
    RM_REAL(glDepthMask)(on);
}

RM_HOOK void glClipControl(GLenum origin, GLenum depth) {
    if (Context* context = live()) context->depth.zero_to_one = depth == gl::ZERO_TO_ONE;
    RM_REAL(glClipControl)(origin, depth);
}

RM_HOOK void glUseProgram(GLuint program) {
    if (Context* context = live()) context->program = program;
    RM_REAL(glUseProgram)(program);
}

RM_HOOK void glUseProgramObjectARB(GLuint program) {
    if (Context* context = live()) context->program = program;
    RM_REAL(glUseProgramObjectARB)(program);
}

RM_HOOK void glBindFramebuffer(GLenum target, GLuint framebuffer) {
    framebuffer_bound(target, framebuffer);
    RM_REAL(glBindFramebuffer)(target, framebuffer);
}

RM_HOOK void glBindFramebufferEXT(GLenum target, GLuint framebuffer) {
    framebuffer_bound(target, framebuffer);
    RM_REAL(glBindFramebufferEXT)(target, framebuffer);
}

RM_HOOK void glDeleteFramebuffers(GLsizei num, const GLuint* names) {
    framebuffers_deleted(num, names);
    RM_REAL(glDeleteFramebuffers)(num, names);
}

RM_HOOK void glDeleteFramebuffersEXT(GLsizei num, const GLuint* names) {
    framebuffers_deleted(num, names);
    RM_REAL(glDeleteFramebuffersEXT)(num, names);
}

RM_HOOK void glBindVertexArray(GLuint array) {
    if (Context* context = current_context()) context->vertex_array = array;
    RM_REAL(glBindVertexArray)(array);
}

RM_HOOK void glPopAttrib() {
    RM_REAL(glPopAttrib)();
    if (Context* context = live()) context->refresh();
}

RM_HOOK void glMatrixMode(GLenum mode) {
    if (Context* context = live()) context->matrix_mode = mode;
    RM_REAL(glMatrixMode)(mode);
}

#define RM_MATRIX(name, parameters, arguments) \
    RM_HOOK void name parameters {             \
        matrix_changed();                      \
        RM_REAL(name) arguments;               \
    }
RM_MATRIX(glLoadMatrixf, (const GLfloat* m), (m))
RM_MATRIX(glLoadMatrixd, (const GLdouble* m), (m))
RM_MATRIX(glMultMatrixf, (const GLfloat* m), (m))
RM_MATRIX(glMultMatrixd, (const GLdouble* m), (m))
RM_MATRIX(glLoadTransposeMatrixf, (const GLfloat* m), (m))
RM_MATRIX(glMultTransposeMatrixf, (const GLfloat* m), (m))
RM_MATRIX(glLoadIdentity, (), ())
RM_MATRIX(glPopMatrix, (), ())
RM_MATRIX(glFrustum,
          (GLdouble l, GLdouble r, GLdouble b, GLdouble t, GLdouble n, GLdouble f),
          (l, r, b, t, n, f))
RM_MATRIX(glOrtho, (GLdouble l, GLdouble r, GLdouble b, GLdouble t, GLdouble n, GLdouble f),
          (l, r, b, t, n, f))
RM_MATRIX(glTranslatef, (GLfloat x, GLfloat y, GLfloat z), (x, y, z))
RM_MATRIX(glTranslated, (GLdouble x, GLdouble y, GLdouble z), (x, y, z))
RM_MATRIX(glRotatef, (GLfloat a, GLfloat x, GLfloat y, GLfloat z), (a, x, y, z))
RM_MATRIX(glRotated, (GLdouble a, GLdouble x, GLdouble y, GLdouble z), (a, x, y, z))
RM_MATRIX(glScalef, (GLfloat x, GLfloat y, GLfloat z), (x, y, z))
RM_MATRIX(glScaled, (GLdouble x, GLdouble y, GLdouble z), (x, y, z))

// Errors that stood before calls of ours come first.
RM_HOOK GLenum glGetError() {
    if (Context* context = current_context()) {
        if (context->held_errors[0] != gl::NO_ERROR) {
            const GLenum error = context->held_errors[0];
            std::copy(context->held_errors + 1, context->held_errors + 4, context->held_errors);
            context->held_errors[3] = gl::NO_ERROR;
            return error;
        }
    }
    return RM_REAL(glGetError)();
}
