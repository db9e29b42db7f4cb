// Matrices on their way to shaders: uniforms, and buffers that are bound for uniforms.
#include "context.h"
#include "hooks.h"

#include <algorithm>

using namespace realmaster::opengl;

namespace {

GLuint bound_buffer(const Context& context, GLenum target) noexcept {
    return target == gl::UNIFORM_BUFFER ? context.uniform_buffer : 0;
}

void buffer_bound(GLenum target, GLuint buffer) noexcept {
    Context* context = current_context();
    if (context == nullptr) return;
    if (target == gl::ARRAY_BUFFER) context->array_buffer = buffer;
    if (target == gl::ELEMENT_ARRAY_BUFFER) context->element_buffer = buffer;
    if (target != gl::UNIFORM_BUFFER) return;
    context->uniform_buffer = buffer;
    context->group->note_uniform_buffer(buffer);
}

void bound_indexed(GLenum target, GLuint index, GLuint buffer, GLintptr offset) noexcept {
    Context* context = current_context();
    if (context == nullptr || target != gl::UNIFORM_BUFFER) return;
    context->group->note_uniform_buffer(buffer);
    if (index < max_uniform_bindings) {
        context->uniform_bindings[index] = {buffer, static_cast<std::size_t>(offset)};
    }
}

void data_set(GLuint buffer, GLsizeiptr size, const void* data) noexcept {
    Context* context = current_context();
    if (context == nullptr || buffer == 0 || size < 0) return;
    context->group->buffer_data(buffer, static_cast<std::size_t>(size), data);
}

void part_set(GLuint buffer, GLintptr offset, GLsizeiptr size, const void* data) noexcept {
    Context* context = current_context();
    if (context == nullptr || buffer == 0 || size < 0 || offset < 0) return;
    context->group->buffer_sub_data(buffer, static_cast<std::size_t>(offset),
                                    static_cast<std::size_t>(size), data);
}

void mapped(GLuint buffer, void* at, GLintptr offset, GLsizeiptr length, GLbitfield access) noexcept {
    Context* context = current_context();
    if (context == nullptr || buffer == 0 || length < 0 || offset < 0) return;
    context->group->map(buffer, at, static_cast<std::size_t>(offset),
                        static_cast<std::size_t>(length), (access & gl::MAP_WRITE_BIT) != 0,
                        (access & gl::MAP_PERSISTENT_BIT) != 0);
}

void unmapped(GLuint buffer) noexcept {
    Context* context = current_context();
    if (context != nullptr && buffer != 0) context->group->unmap(buffer);
}

// A buffer that is filled by its name was perhaps never bound: it may be meant for uniforms.
void maybe_uniform(GLuint buffer, GLsizeiptr size) noexcept {
    constexpr GLsizeiptr plausible = 64 << 10;
    Context* context = current_context();
    if (context != nullptr && size <= plausible) context->group->note_uniform_buffer(buffer);
}

GLuint target_buffer(GLenum target) noexcept {
    const Context* context = current_context();
    return context != nullptr ? bound_buffer(*context, target) : 0;
}

void uniform_set(GLuint program, GLint location, GLsizei count, GLboolean transpose,
                 const GLfloat* values) noexcept {
    Context* context = current_context();
    if (context == nullptr) return;
    context->group->set_uniform(program, location, count, transpose != 0, values);
}

GLuint current_program() noexcept {
    const Context* context = current_context();
    return context != nullptr ? context->program : 0;
}

void linked(GLuint program) noexcept {
    if (Context* context = current_context()) context->group->relink(program);
}

void buffers_deleted(GLsizei num, const GLuint* names) noexcept {
    Context* context = current_context();
    for (GLsizei i = 0; context != nullptr && names != nullptr && i < num; ++i) {
        context->group->forget_buffer(names[i]);
        if (names[i] == context->array_buffer) context->array_buffer = 0;
        if (names[i] == context->element_buffer) context->element_buffer = 0;
        if (names[i] == context->uniform_buffer) context->uniform_buffer = 0;
        for (UniformBinding& binding : context->uniform_bindings) {
            if (binding.buffer == names[i]) binding = {};
        }
    }
}

}  // namespace

RM_HOOK void glUniformMatrix4fv(GLint location, GLsizei count, GLboolean transpose,
                                const GLfloat* values) {
    uniform_set(current_program(), location, count, transpose, values);
    RM_REAL(glUniformMatrix4fv)(location, count, transpose, values);
}

RM_HOOK void glUniformMatrix4fvARB(GLint location, GLsizei count, GLboolean transpose,
                                   const GLfloat* values) {
    uniform_set(current_program(), location, count, transpose, values);
    RM_REAL(glUniformMatrix4fvARB)(location, count, transpose, values);
}

RM_HOOK void glProgramUniformMatrix4fv(GLuint program, GLint location, GLsizei count,
                                       GLboolean transpose, const GLfloat* values) {
    uniform_set(program, location, count, transpose, values);
    RM_REAL(glProgramUniformMatrix4fv)(program, location, count, transpose, values);
}

RM_HOOK void glLinkProgram(GLuint program) {
    linked(program);
    RM_REAL(glLinkProgram)(program);
}

RM_HOOK void glLinkProgramARB(GLuint program) {
    linked(program);
    RM_REAL(glLinkProgramARB)(program);
}

RM_HOOK void glDeleteProgram(GLuint program) {
    if (Context* context = current_context()) context->group->forget_program(program);
    RM_REAL(glDeleteProgram)(program);
}

RM_HOOK void glUniformBlockBinding(GLuint program, GLuint block, GLuint binding) {
    if (Context* context = current_context()) {
        context->group->set_block_binding(program, block, binding);
    }
    RM_REAL(glUniformBlockBinding)(program, block, binding);
}

RM_HOOK void glBindBuffer(GLenum target, GLuint buffer) {
    buffer_bound(target, buffer);
    RM_REAL(glBindBuffer)(target, buffer);
}

RM_HOOK void glBindBufferARB(GLenum target, GLuint buffer) {
    buffer_bound(target, buffer);
    RM_REAL(glBindBufferARB)(target, buffer);
}

RM_HOOK void glBindBufferBase(GLenum target, GLuint index, GLuint buffer) {
    buffer_bound(target, buffer);
    bound_indexed(target, index, buffer, 0);
    RM_REAL(glBindBufferBase)(target, index, buffer);
}

RM_HOOK void glBindBufferRange(GLenum target, GLuint index, GLuint buffer, GLintptr offset,
                               GLsizeiptr size) {
    buffer_bound(target, buffer);
    bound_indexed(target, index, buffer, offset);
    RM_REAL(glBindBufferRange)(target, index, buffer, offset, size);
}

RM_HOOK void glBindBuffersBase(GLenum target, GLuint first, GLsizei num, const GLuint* buffers) {
    for (GLsizei i = 0; i < num; ++i) {
        bound_indexed(target, first + static_cast<GLuint>(i), buffers != nullptr ? buffers[i] : 0,
                      0);
    }
    RM_REAL(glBindBuffersBase)(target, first, num, buffers);
}

RM_HOOK void glBindBuffersRange(GLenum target, GLuint first, GLsizei num, const GLuint* buffers,
                                const GLintptr* offsets, const GLsizeiptr* sizes) {
    for (GLsizei i = 0; i < num; ++i) {
        const bool some = buffers != nullptr && offsets != nullptr;
        bound_indexed(target, first + static_cast<GLuint>(i), some ? buffers[i] : 0,
                      some ? offsets[i] : 0);
    }
    RM_REAL(glBindBuffersRange)(target, first, num, buffers, offsets, sizes);
}

RM_HOOK void glBufferData(GLenum target, GLsizeiptr size, const void* data, GLenum usage) {
    data_set(target_buffer(target), size, data);
    RM_REAL(glBufferData)(target, size, data, usage);
}

RM_HOOK void glBufferDataARB(GLenum target, GLsizeiptr size, const void* data, GLenum usage) {
    data_set(target_buffer(target), size, data);
    RM_REAL(glBufferDataARB)(target, size, data, usage);
}

RM_HOOK void glBufferSubData(GLenum target, GLintptr offset, GLsizeiptr size, const void* data) {
    part_set(target_buffer(target), offset, size, data);
    RM_REAL(glBufferSubData)(target, offset, size, data);
}

RM_HOOK void glBufferSubDataARB(GLenum target, GLintptr offset, GLsizeiptr size, const void* data) {
    part_set(target_buffer(target), offset, size, data);
    RM_REAL(glBufferSubDataARB)(target, offset, size, data);
}

RM_HOOK void glBufferStorage(GLenum target, GLsizeiptr size, const void* data, GLbitfield flags) {
    data_set(target_buffer(target), size, data);
    RM_REAL(glBufferStorage)(target, size, data, flags);
}

RM_HOOK void* glMapBuffer(GLenum target, GLenum access) {
    constexpr GLenum read_only = 0x88B8;
    void* at = RM_REAL(glMapBuffer)(target, access);
    const GLuint buffer = target_buffer(target);
    const Context* context = current_context();
    if (buffer != 0 && context != nullptr) {
        const std::size_t size = context->group->size_of(buffer);
        mapped(buffer, at, 0, static_cast<GLsizeiptr>(size),
               access == read_only ? gl::MAP_READ_BIT : gl::MAP_WRITE_BIT);
    }
    return at;
}

RM_HOOK void* glMapBufferRange(GLenum target, GLintptr offset, GLsizeiptr length,
                               GLbitfield access) {
    void* at = RM_REAL(glMapBufferRange)(target, offset, length, access);
    mapped(target_buffer(target), at, offset, length, access);
    return at;
}

RM_HOOK void glFlushMappedBufferRange(GLenum target, GLintptr offset, GLsizeiptr length) {
    Context* context = current_context();
    const GLuint buffer = target_buffer(target);
    if (context != nullptr && buffer != 0 && offset >= 0 && length >= 0) {
        context->group->flush(buffer, static_cast<std::size_t>(offset),
                              static_cast<std::size_t>(length));
    }
    RM_REAL(glFlushMappedBufferRange)(target, offset, length);
}

RM_HOOK GLboolean glUnmapBuffer(GLenum target) {
    unmapped(target_buffer(target));
    return RM_REAL(glUnmapBuffer)(target);
}

RM_HOOK void glNamedBufferData(GLuint buffer, GLsizeiptr size, const void* data, GLenum usage) {
    maybe_uniform(buffer, size);
    data_set(buffer, size, data);
    RM_REAL(glNamedBufferData)(buffer, size, data, usage);
}

RM_HOOK void glNamedBufferSubData(GLuint buffer, GLintptr offset, GLsizeiptr size,
                                  const void* data) {
    part_set(buffer, offset, size, data);
    RM_REAL(glNamedBufferSubData)(buffer, offset, size, data);
}

RM_HOOK void glNamedBufferStorage(GLuint buffer, GLsizeiptr size, const void* data,
                                  GLbitfield flags) {
    maybe_uniform(buffer, size);
    data_set(buffer, size, data);
    RM_REAL(glNamedBufferStorage)(buffer, size, data, flags);
}

RM_HOOK void* glMapNamedBuffer(GLuint buffer, GLenum access) {
    constexpr GLenum read_only = 0x88B8;
    void* at = RM_REAL(glMapNamedBuffer)(buffer, access);
    if (const Context* context = current_context()) {
        const std::size_t size = context->group->size_of(buffer);
        mapped(buffer, at, 0, static_cast<GLsizeiptr>(size),
               access == read_only ? gl::MAP_READ_BIT : gl::MAP_WRITE_BIT);
    }
    return at;
}

RM_HOOK void* glMapNamedBufferRange(GLuint buffer, GLintptr offset, GLsizeiptr length,
                                    GLbitfield access) {
    void* at = RM_REAL(glMapNamedBufferRange)(buffer, offset, length, access);
    mapped(buffer, at, offset, length, access);
    return at;
}

RM_HOOK GLboolean glUnmapNamedBuffer(GLuint buffer) {
    unmapped(buffer);
    return RM_REAL(glUnmapNamedBuffer)(buffer);
}

RM_HOOK void glDeleteBuffers(GLsizei num, const GLuint* names) {
    buffers_deleted(num, names);
    RM_REAL(glDeleteBuffers)(num, names);
}

RM_HOOK void glDeleteBuffersARB(GLsizei num, const GLuint* names) {
    buffers_deleted(num, names);
    RM_REAL(glDeleteBuffersARB)(num, names);
}
