#include "uniforms.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>

#include "gl_calls.h"

namespace realmaster::opengl {
namespace {

constexpr std::size_t max_shadow_bytes = 256 << 10;
constexpr std::size_t max_slots = 64;
constexpr std::size_t matrix_bytes = 16 * sizeof(float);

bool says_view(const char* name) noexcept {
    char lower[64] = {};
    for (std::size_t i = 0; i + 1 < sizeof lower && name[i] != '\0'; ++i) {
        lower[i] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
    }
    return std::strstr(lower, "view") != nullptr && std::strstr(lower, "inv") == nullptr;
}

// How well a view product's b is known: it is a difference of numbers as large as the distance of
// the model's origin from the camera.
double exactness_of(const Mat4& model_view) noexcept {
    return 0.5 / (1 + std::abs(model_view[14]));
}

// Reads what `slots` say together; Slot is ShareGroup's.
template <typename Slot>
void judge(Slot* slot) noexcept {
    if (!slot->changed) return;
    slot->changed = false;
    const Mat4 m = mat4_from(slot->values, slot->transpose);
    slot->kind = classify(m, &slot->p, &slot->model_view);
    if (slot->kind == MatrixKind::other) {  // row vectors: what others upload transposed
        slot->kind = classify(transposed(m), &slot->p, &slot->model_view);
        if (slot->kind == MatrixKind::affine) slot->kind = MatrixKind::other;
    }
    slot->rigid = slot->kind == MatrixKind::affine && is_similarity(m);
    if (slot->kind == MatrixKind::affine) slot->model_view = m;
}

// Collects over the matrices of one program.
struct Collected {
    DrawCamera camera;
    bool has_product = false, has_hint = false, has_flat = false;
    Perspective product_p;

    template <typename Slot>
    void add(const Slot& slot) noexcept {
        switch (slot.kind) {
            case MatrixKind::projection:
                camera.kind = MatrixKind::projection;
                camera.p = slot.p;
                camera.exactness = 1;
                break;
            case MatrixKind::view_product:
                has_product = true;
                product_p = slot.p;
                camera.has_model_view = true;
                camera.model_view = slot.model_view;
                break;
            case MatrixKind::affine:
                if (slot.rigid && !has_product && slot.hints_view && !has_hint) {
                    has_hint = camera.has_model_view = true;
                    camera.model_view = slot.model_view;
                }
                has_flat = has_flat || (!slot.rigid && slot.model_view != identity4);
                break;
            case MatrixKind::other:
                break;
        }
    }

    void finish() noexcept {
        if (camera.kind == MatrixKind::projection) {
            // A product's eye space looks along -z and has positive fx, fy; bring it to P's.
            if (has_product) {
                const double signs[3] = {camera.p.fx < 0 ? -1.0 : 1.0, camera.p.fy < 0 ? -1.0 : 1.0,
                                         -camera.p.forward};
                for (std::size_t i = 0; i < 16; ++i) {
                    if (i % 4 < 3) camera.model_view[i] *= signs[i % 4];
                }
            }
        } else if (has_product) {
            camera.kind = MatrixKind::view_product;
            camera.p = product_p;
            camera.exactness = exactness_of(camera.model_view);
        } else {
            camera.has_model_view = false;
            camera.kind = has_flat ? MatrixKind::affine : MatrixKind::other;
        }
    }
};

}  // namespace

void ShareGroup::set_uniform(GLuint program, GLint location, GLsizei count, bool transpose,
                             const GLfloat* values) noexcept {
    if (program == 0 || location < 0 || count < 1 || values == nullptr) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    Program& entry = programs_[program];
    for (Slot& slot : entry.slots) {
        if (slot.location != location) continue;
        if (std::memcmp(slot.values, values, matrix_bytes) == 0) return;
        std::memcpy(slot.values, values, matrix_bytes);
        slot.transpose = transpose;
        slot.changed = true;
        return;
    }
    if (entry.slots.size() == max_slots) return;
    Slot slot;
    slot.location = location;
    slot.transpose = transpose;
    std::memcpy(slot.values, values, matrix_bytes);
    entry.slots.push_back(slot);
    entry.introspected = false;
}

void ShareGroup::relink(GLuint program) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    programs_[program] = Program{};
}

void ShareGroup::forget_program(GLuint program) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    programs_.erase(program);
}

void ShareGroup::set_block_binding(GLuint program, GLuint block, GLuint binding) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<GLuint>& bindings = programs_[program].block_bindings;
    if (block < bindings.size()) bindings[block] = binding;
}

void ShareGroup::note_uniform_buffer(GLuint buffer) noexcept {
    if (buffer == 0) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    buffers_[buffer];
}

void ShareGroup::buffer_data(GLuint buffer, std::size_t size, const void* data) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = buffers_.find(buffer);
    if (found == buffers_.end() || size > max_shadow_bytes) return;
    found->second.mapped = nullptr;
    found->second.bytes.assign(size, 0);
    if (data != nullptr) std::memcpy(found->second.bytes.data(), data, size);
}

void ShareGroup::buffer_sub_data(GLuint buffer, std::size_t offset, std::size_t size,
                                 const void* data) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = buffers_.find(buffer);
    if (found == buffers_.end() || data == nullptr || offset + size > max_shadow_bytes) return;
    std::vector<std::uint8_t>& bytes = found->second.bytes;
    if (bytes.size() < offset + size) bytes.resize(offset + size);
    std::memcpy(bytes.data() + offset, data, size);
}

void ShareGroup::map(GLuint buffer, void* address, std::size_t offset, std::size_t length,
                     bool writes, bool persistent) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = buffers_.find(buffer);
    if (found == buffers_.end() || address == nullptr) return;
    BufferShadow& shadow = found->second;
    shadow.mapped = address;
    shadow.map_offset = offset;
    shadow.map_length = length;
    shadow.map_writes = writes;
    shadow.persistent = persistent;
}

void ShareGroup::flush(GLuint buffer, std::size_t offset, std::size_t length) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = buffers_.find(buffer);
    if (found == buffers_.end()) return;
    BufferShadow& shadow = found->second;
    if (shadow.mapped == nullptr || offset + length > shadow.map_length) return;
    const std::size_t start = shadow.map_offset + offset;
    if (start + length > max_shadow_bytes) return;
    if (shadow.bytes.size() < start + length) shadow.bytes.resize(start + length);
    std::memcpy(shadow.bytes.data() + start,
                static_cast<const std::uint8_t*>(shadow.mapped) + offset, length);
}

void ShareGroup::unmap(GLuint buffer) noexcept {
    bool writes = false;
    std::size_t length = 0;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = buffers_.find(buffer);
        if (found == buffers_.end()) return;
        writes = found->second.map_writes && found->second.mapped != nullptr;
        length = found->second.map_length;
    }
    if (writes) flush(buffer, 0, length);
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = buffers_.find(buffer);
    if (found != buffers_.end()) found->second.mapped = nullptr;
}

void ShareGroup::forget_buffer(GLuint buffer) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    buffers_.erase(buffer);
}

std::size_t ShareGroup::size_of(GLuint buffer) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = buffers_.find(buffer);
    return found == buffers_.end() ? 0 : found->second.bytes.size();
}

const std::uint8_t* ShareGroup::bytes_at(const UniformBinding& binding,
                                         std::size_t offset) const noexcept {
    const auto found = buffers_.find(binding.buffer);
    if (binding.buffer == 0 || found == buffers_.end()) return nullptr;
    const BufferShadow& shadow = found->second;
    const std::size_t start = binding.offset + offset;
    if (shadow.mapped != nullptr && shadow.persistent && start >= shadow.map_offset &&
        start + matrix_bytes <= shadow.map_offset + shadow.map_length) {
        return static_cast<const std::uint8_t*>(shadow.mapped) + (start - shadow.map_offset);
    }
    if (start + matrix_bytes > shadow.bytes.size()) return nullptr;
    return shadow.bytes.data() + start;
}

// Finds the 4x4 matrices in the program's blocks, and the names of its uniforms.
void ShareGroup::introspect(GLuint id, Program* program) noexcept {
    program->introspected = true;
    program->block_matrices.clear();
    program->block_bindings.clear();
    const GlCalls& gl = calls();
    if (gl.GetProgramiv == nullptr || gl.GetActiveUniform == nullptr) return;
    GLint num_uniforms = 0, num_blocks = 0;
    gl.GetProgramiv(id, gl::ACTIVE_UNIFORMS, &num_uniforms);
    const bool blocks = gl.GetActiveUniformsiv != nullptr && gl.has_uniform_buffers();
    if (blocks) gl.GetProgramiv(id, gl::ACTIVE_UNIFORM_BLOCKS, &num_blocks);
    program->block_bindings.assign(static_cast<std::size_t>(std::clamp(num_blocks, 0, 64)), 0);
    for (std::size_t i = 0; i < program->block_bindings.size(); ++i) {
        GLint binding = 0;
        gl.GetActiveUniformBlockiv(id, static_cast<GLuint>(i), gl::UNIFORM_BLOCK_BINDING, &binding);
        program->block_bindings[i] = static_cast<GLuint>(std::max(binding, 0));
    }
    for (GLuint i = 0; i < static_cast<GLuint>(std::clamp(num_uniforms, 0, 512)); ++i) {
        char name[128] = {};
        GLint size = 0;
        GLenum type = 0;
        gl.GetActiveUniform(id, i, sizeof name - 1, nullptr, &size, &type, name);
        if (type != gl::FLOAT_MAT4) continue;
        GLint block = -1, offset = -1, row_major = 0;
        if (blocks) {
            gl.GetActiveUniformsiv(id, 1, &i, gl::UNIFORM_BLOCK_INDEX, &block);
            gl.GetActiveUniformsiv(id, 1, &i, gl::UNIFORM_OFFSET, &offset);
            gl.GetActiveUniformsiv(id, 1, &i, gl::UNIFORM_IS_ROW_MAJOR, &row_major);
        }
        if (block < 0) {
            const GLint location = gl.GetUniformLocation(id, name);
            for (Slot& slot : program->slots) {
                if (slot.location == location) slot.hints_view = says_view(name);
            }
        } else if (program->block_matrices.size() < max_slots) {
            BlockMatrix matrix;
            matrix.block = static_cast<GLuint>(block);
            matrix.offset = static_cast<std::size_t>(offset);
            matrix.row_major = row_major != 0;
            matrix.slot.hints_view = says_view(name);
            program->block_matrices.push_back(matrix);
        }
    }
}

void ShareGroup::read_blocks(Program* program, const UniformBindings& bindings) noexcept {
    for (BlockMatrix& matrix : program->block_matrices) {
        if (matrix.block >= program->block_bindings.size()) continue;
        const GLuint binding = program->block_bindings[matrix.block];
        if (binding >= max_uniform_bindings) continue;
        const std::uint8_t* bytes = bytes_at(bindings[binding], matrix.offset);
        if (bytes == nullptr) continue;
        Slot& slot = matrix.slot;
        if (std::memcmp(slot.values, bytes, matrix_bytes) == 0) continue;
        std::memcpy(slot.values, bytes, matrix_bytes);
        slot.transpose = matrix.row_major;
        slot.changed = true;
    }
}

DrawCamera ShareGroup::camera(GLuint id, const UniformBindings& bindings) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    Program& program = programs_[id];
    if (!program.introspected) introspect(id, &program);
    if (!program.block_matrices.empty()) read_blocks(&program, bindings);
    Collected collected;
    for (Slot& slot : program.slots) {
        judge(&slot);
        collected.add(slot);
    }
    for (BlockMatrix& matrix : program.block_matrices) {
        judge(&matrix.slot);
        collected.add(matrix.slot);
    }
    collected.finish();
    return collected.camera;
}

}  // namespace realmaster::opengl
