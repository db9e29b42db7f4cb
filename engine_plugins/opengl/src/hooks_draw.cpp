// Draw calls, clears and copies: told to the tracker while a frame is watched.
#include "capture.h"
#include "context.h"
#include "gl_calls.h"
#include "hooks.h"

#include <algorithm>

using namespace realmaster::opengl;

namespace {

// Vertices are not counted between glBegin and glEnd, where each would be a call: a nominal quad.
constexpr std::uint32_t immediate_vertices = 4;

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) noexcept {
    return (hash ^ value) * 0x9e3779b97f4a7c15ULL + (hash >> 29);
}

std::uint32_t sum_of(const GLsizei* counts, GLsizei num) noexcept {
    std::uint64_t sum = 0;
    for (GLsizei i = 0; i < num; ++i) sum += static_cast<std::uint32_t>(std::max(counts[i], 0));
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(sum, 0xffffffffU));
}

std::uint32_t times(GLsizei count, GLsizei instances) noexcept {
    const std::int64_t all = std::int64_t{std::max(count, 0)} * std::max(instances, 0);
    return static_cast<std::uint32_t>(std::min<std::int64_t>(all, 1 << 30));
}

void tell(Context* context, std::uint32_t vertices, std::uint64_t key) noexcept {
    context->note_viewport();
    const Actions actions = context->tracker.draw(context->describe(vertices, key));
    capture().perform(context, actions);
}

// start: the first vertex, or the indices. A draw is known again by its buffers and its range;
// without buffers its memory is reused for whatever comes next, so it is not known again.
void drawing(std::uint32_t vertices, std::uint64_t start) noexcept {
    Context* context = current_context();
    if (context == nullptr || !context->watching || vertices == 0) return;
    if (context->open_list != 0) {
        context->lists[context->open_list] += vertices;
        if (context->list_only_compiled) return;
    }
    std::uint64_t key = 0;
    if (context->vertex_array != 0 || context->array_buffer != 0) {
        key = mixed(context->vertex_array, context->array_buffer);
        key = mixed(mixed(mixed(key, context->element_buffer), start), vertices) | 1U;
    }
    tell(context, vertices, key);
}

std::uint64_t address(const void* pointer) noexcept {
    return reinterpret_cast<std::uintptr_t>(pointer);
}

void clearing_depth() noexcept {
    Context* context = current_context();
    if (context == nullptr || !context->watching || !context->depth_writes) return;
    if (context->open_list != 0 && context->list_only_compiled) return;
    capture().perform(context, context->tracker.depth_clear(context->draw_framebuffer,
                                                            context->partial_scissor()));
}

void copying(GLbitfield mask) noexcept {
    Context* context = current_context();
    if (context == nullptr || !context->watching || context->draw_framebuffer != 0) return;
    if ((mask & gl::COLOR_BUFFER_BIT) != 0) context->tracker.composite();
}

// A list is known again by its number.
void calling_list(GLuint list) noexcept {
    Context* context = current_context();
    if (context == nullptr || !context->watching || context->in_begin) return;
    const auto found = context->lists.find(list);
    if (found == context->lists.end() || found->second == 0) return;
    if (context->open_list != 0) {
        context->lists[context->open_list] += found->second;
        if (context->list_only_compiled) return;
    }
    tell(context, found->second, mixed(list, 77) | 1U);
}

}  // namespace

RM_HOOK void glDrawArrays(GLenum mode, GLint first, GLsizei count) {
    drawing(times(count, 1), static_cast<std::uint64_t>(first));
    RM_REAL(glDrawArrays)(mode, first, count);
}

RM_HOOK void glDrawElements(GLenum mode, GLsizei count, GLenum type, const void* indices) {
    drawing(times(count, 1), address(indices));
    RM_REAL(glDrawElements)(mode, count, type, indices);
}

#define RM_RANGE(name)                                                                      \
    RM_HOOK void name(GLenum mode, GLuint start, GLuint end, GLsizei count, GLenum type,    \
                      const void* indices) {                                                \
        drawing(times(count, 1), address(indices));                                         \
        RM_REAL(name)(mode, start, end, count, type, indices);                              \
    }
RM_RANGE(glDrawRangeElements)
RM_RANGE(glDrawRangeElementsEXT)

RM_HOOK void glMultiDrawArrays(GLenum mode, const GLint* first, const GLsizei* count, GLsizei num) {
    drawing(sum_of(count, num), num > 0 ? static_cast<std::uint64_t>(first[0]) : 0);
    RM_REAL(glMultiDrawArrays)(mode, first, count, num);
}

RM_HOOK void glMultiDrawElements(GLenum mode, const GLsizei* count, GLenum type,
                                 const void* const* indices, GLsizei num) {
    drawing(sum_of(count, num), num > 0 ? address(indices[0]) : 0);
    RM_REAL(glMultiDrawElements)(mode, count, type, indices, num);
}

RM_HOOK void glMultiDrawElementsBaseVertex(GLenum mode, const GLsizei* count, GLenum type,
                                           const void* const* indices, GLsizei num,
                                           const GLint* base) {
    drawing(sum_of(count, num), num > 0 ? address(indices[0]) : 0);
    RM_REAL(glMultiDrawElementsBaseVertex)(mode, count, type, indices, num, base);
}

#define RM_INSTANCED_ARRAYS(name)                                                 \
    RM_HOOK void name(GLenum mode, GLint first, GLsizei count, GLsizei num) {     \
        drawing(times(count, num), static_cast<std::uint64_t>(first));            \
        RM_REAL(name)(mode, first, count, num);                                   \
    }
RM_INSTANCED_ARRAYS(glDrawArraysInstanced)
RM_INSTANCED_ARRAYS(glDrawArraysInstancedARB)

#define RM_INSTANCED_ELEMENTS(name)                                                        \
    RM_HOOK void name(GLenum mode, GLsizei count, GLenum type, const void* indices,        \
                      GLsizei num) {                                                       \
        drawing(times(count, num), address(indices));                                      \
        RM_REAL(name)(mode, count, type, indices, num);                                    \
    }
RM_INSTANCED_ELEMENTS(glDrawElementsInstanced)
RM_INSTANCED_ELEMENTS(glDrawElementsInstancedARB)

RM_HOOK void glDrawElementsBaseVertex(GLenum mode, GLsizei count, GLenum type, const void* indices,
                                      GLint base) {
    drawing(times(count, 1), mixed(address(indices), static_cast<std::uint64_t>(base)));
    RM_REAL(glDrawElementsBaseVertex)(mode, count, type, indices, base);
}

RM_HOOK void glDrawRangeElementsBaseVertex(GLenum mode, GLuint start, GLuint end, GLsizei count,
                                           GLenum type, const void* indices, GLint base) {
    drawing(times(count, 1), mixed(address(indices), static_cast<std::uint64_t>(base)));
    RM_REAL(glDrawRangeElementsBaseVertex)(mode, start, end, count, type, indices, base);
}

RM_HOOK void glDrawElementsInstancedBaseVertex(GLenum mode, GLsizei count, GLenum type,
                                               const void* indices, GLsizei num, GLint base) {
    drawing(times(count, num), mixed(address(indices), static_cast<std::uint64_t>(base)));
    RM_REAL(glDrawElementsInstancedBaseVertex)(mode, count, type, indices, num, base);
}

RM_HOOK void glDrawArraysInstancedBaseInstance(GLenum mode, GLint first, GLsizei count, GLsizei num,
                                               GLuint base_instance) {
    drawing(times(count, num), mixed(static_cast<std::uint64_t>(first), base_instance));
    RM_REAL(glDrawArraysInstancedBaseInstance)(mode, first, count, num, base_instance);
}

RM_HOOK void glDrawElementsInstancedBaseInstance(GLenum mode, GLsizei count, GLenum type,
                                                 const void* indices, GLsizei num,
                                                 GLuint base_instance) {
    drawing(times(count, num), mixed(address(indices), base_instance));
    RM_REAL(glDrawElementsInstancedBaseInstance)(mode, count, type, indices, num, base_instance);
}

RM_HOOK void glDrawElementsInstancedBaseVertexBaseInstance(GLenum mode, GLsizei count, GLenum type,
                                                           const void* indices, GLsizei num,
                                                           GLint base, GLuint base_instance) {
    drawing(times(count, num), mixed(mixed(address(indices), static_cast<std::uint64_t>(base)),
                                     base_instance));
    RM_REAL(glDrawElementsInstancedBaseVertexBaseInstance)
    (mode, count, type, indices, num, base, base_instance);
}

// How many vertices an indirect draw has lies in GPU memory; a nominal count is taken.
namespace {
constexpr GLsizei indirect_vertices = 300;
}

RM_HOOK void glDrawArraysIndirect(GLenum mode, const void* indirect) {
    drawing(times(indirect_vertices, 1), address(indirect));
    RM_REAL(glDrawArraysIndirect)(mode, indirect);
}

RM_HOOK void glDrawElementsIndirect(GLenum mode, GLenum type, const void* indirect) {
    drawing(times(indirect_vertices, 1), address(indirect));
    RM_REAL(glDrawElementsIndirect)(mode, type, indirect);
}

RM_HOOK void glMultiDrawArraysIndirect(GLenum mode, const void* indirect, GLsizei num,
                                       GLsizei stride) {
    drawing(times(indirect_vertices, num), address(indirect));
    RM_REAL(glMultiDrawArraysIndirect)(mode, indirect, num, stride);
}

RM_HOOK void glMultiDrawElementsIndirect(GLenum mode, GLenum type, const void* indirect,
                                         GLsizei num, GLsizei stride) {
    drawing(times(indirect_vertices, num), address(indirect));
    RM_REAL(glMultiDrawElementsIndirect)(mode, type, indirect, num, stride);
}

RM_HOOK void glBegin(GLenum mode) {
    if (Context* context = current_context()) {
        if (context->watching) {
            if (context->open_list != 0) context->lists[context->open_list] += immediate_vertices;
            if (!context->list_only_compiled) tell(context, immediate_vertices, 0);
        }
        context->in_begin = true;
    }
    RM_REAL(glBegin)(mode);
}

RM_HOOK void glEnd() {
    if (Context* context = current_context()) context->in_begin = false;
    RM_REAL(glEnd)();
}

RM_HOOK void glNewList(GLuint list, GLenum mode) {
    if (Context* context = current_context()) {
        context->lists[list] = 0;
        context->open_list = list;
        context->list_only_compiled = mode == gl::COMPILE;
    }
    RM_REAL(glNewList)(list, mode);
}

RM_HOOK void glEndList() {
    if (Context* context = current_context()) {
        context->open_list = 0;
        context->list_only_compiled = false;
    }
    RM_REAL(glEndList)();
}

RM_HOOK void glCallList(GLuint list) {
    calling_list(list);
    if (Context* context = current_context()) context->may_have_changed();
    RM_REAL(glCallList)(list);
}

RM_HOOK void glCallLists(GLsizei num, GLenum type, const void* lists) {
    if (Context* context = current_context()) context->may_have_changed();
    RM_REAL(glCallLists)(num, type, lists);
}

RM_HOOK void glClear(GLbitfield mask) {
    if ((mask & gl::DEPTH_BUFFER_BIT) != 0) clearing_depth();
    RM_REAL(glClear)(mask);
}

RM_HOOK void glClearBufferfv(GLenum buffer, GLint index, const GLfloat* value) {
    constexpr GLenum depth = 0x1801;
    if (buffer == depth) clearing_depth();
    RM_REAL(glClearBufferfv)(buffer, index, value);
}

RM_HOOK void glClearBufferfi(GLenum buffer, GLint index, GLfloat depth, GLint stencil) {
    clearing_depth();
    RM_REAL(glClearBufferfi)(buffer, index, depth, stencil);
}

#define RM_BLIT(name)                                                                           \
    RM_HOOK void name(GLint a, GLint b, GLint c, GLint d, GLint e, GLint f, GLint g, GLint h,   \
                      GLbitfield mask, GLenum filter) {                                         \
        copying(mask);                                                                          \
        RM_REAL(name)(a, b, c, d, e, f, g, h, mask, filter);                                    \
    }
RM_BLIT(glBlitFramebuffer)
RM_BLIT(glBlitFramebufferEXT)
