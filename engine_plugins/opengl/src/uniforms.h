// Matrices that a game gives to its shaders: by glUniformMatrix4fv, or in uniform buffers however
// these are filled. Shared by the contexts of a share group, hence locked.
//
// What a matrix is, its structure says (matrix.h), not its name; only for telling a view among
// several rigid matrices the word "view" in a name is a hint. Makes OpenGL calls for introspection.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "gl_types.h"
#include "matrix.h"

namespace realmaster::opengl {

// What the matrices of one draw say of its camera.
struct DrawCamera {
    MatrixKind kind = MatrixKind::other;
    Perspective p;
    double exactness = 0;  // 1: from a projection alone
    bool has_model_view = false;
    Mat4 model_view = identity4;
};

// A copy of a buffer object's bytes, or the game's own persistent mapping of it.
struct BufferShadow {
    std::vector<std::uint8_t> bytes;
    void* mapped = nullptr;
    std::size_t map_offset = 0, map_length = 0;
    bool persistent = false, map_writes = false;
};

struct UniformBinding {
    GLuint buffer = 0;
    std::size_t offset = 0;
};
constexpr std::size_t max_uniform_bindings = 36;
using UniformBindings = UniformBinding[max_uniform_bindings];

class ShareGroup {
public:
    void set_uniform(GLuint program, GLint location, GLsizei count, bool transpose,
                     const GLfloat* values) noexcept;
    void relink(GLuint program) noexcept;
    void forget_program(GLuint program) noexcept;
    void set_block_binding(GLuint program, GLuint block, GLuint binding) noexcept;

    // Buffers are shadowed once they were bound for uniforms, and only up to 256 KiB.
    void note_uniform_buffer(GLuint buffer) noexcept;
    void buffer_data(GLuint buffer, std::size_t size, const void* data) noexcept;
    void buffer_sub_data(GLuint buffer, std::size_t offset, std::size_t size,
                         const void* data) noexcept;
    void map(GLuint buffer, void* address, std::size_t offset, std::size_t length,
             bool writes, bool persistent) noexcept;
    void flush(GLuint buffer, std::size_t offset, std::size_t length) noexcept;
    void unmap(GLuint buffer) noexcept;
    void forget_buffer(GLuint buffer) noexcept;
    // As far as it was told of the buffer; 0 if it is not shadowed.
    std::size_t size_of(GLuint buffer) noexcept;

    // The camera of a draw with this program; kind `other` where its matrices show none.
    DrawCamera camera(GLuint program, const UniformBindings& bindings) noexcept;

private:
    struct Slot {
        GLint location = -1;
        float values[16] = {};
        bool transpose = false, changed = true;
        bool hints_view = false;
        MatrixKind kind = MatrixKind::other;
        Perspective p;
        Mat4 model_view = identity4;  // of a view product; of an affine matrix: itself
        bool rigid = false;
    };
    struct BlockMatrix {
        GLuint block = 0;
        std::size_t offset = 0;
        bool row_major = false;
        Slot slot;
    };
    struct Program {
        bool introspected = false;
        std::vector<Slot> slots;
        std::vector<BlockMatrix> block_matrices;
        std::vector<GLuint> block_bindings;
    };

    void introspect(GLuint id, Program* program) noexcept;
    void read_blocks(Program* program, const UniformBindings& bindings) noexcept;
    const std::uint8_t* bytes_at(const UniformBinding& binding, std::size_t offset) const noexcept;

    std::mutex mutex_;
    std::unordered_map<GLuint, Program> programs_;
    std::unordered_map<GLuint, BufferShadow> buffers_;
};

}  // namespace realmaster::opengl
