// Shader programs and vertex arrays of the test programs that use a core profile.
#pragma once

#include "scene.h"
#include "window.h"

namespace test {

inline GLuint program_of(const char* vertex, const char* fragment) {
    const GLuint program = gl.CreateProgram();
    const char* sources[2] = {vertex, fragment};
    const GLenum kinds[2] = {0x8B31, 0x8B30};
    for (int i = 0; i < 2; ++i) {
        const GLuint shader = gl.CreateShader(kinds[i]);
        gl.ShaderSource(shader, 1, &sources[i], nullptr);
        gl.CompileShader(shader);
        gl.AttachShader(program, shader);
    }
    gl.LinkProgram(program);
    int linked = 0;
    gl.GetProgramiv(program, 0x8B82, &linked);
    if (linked == 0) fail("a shader does not link");
    return program;
}

struct Mesh {
    GLuint array = 0, buffer = 0;
    int vertices = 0;

    explicit Mesh(const std::vector<float>& data) : vertices(static_cast<int>(data.size() / 6)) {
        gl.GenVertexArrays(1, &array);
        gl.BindVertexArray(array);
        gl.GenBuffers(1, &buffer);
        gl.BindBuffer(0x8892, buffer);
        gl.BufferData(0x8892, static_cast<std::ptrdiff_t>(4 * data.size()), data.data(), 0x88E4);
        for (const GLuint i : {0U, 1U}) {
            gl.EnableVertexAttribArray(i);
            gl.VertexAttribPointer(i, 3, 0x1406, 0, 24,
                                   reinterpret_cast<const void*>(std::uintptr_t{12} * i));
        }
    }
    void draw(GLenum mode = 4) const {
        gl.BindVertexArray(array);
        gl.DrawArrays(mode, 0, vertices);
    }
};

inline Mesh quad(float left, float bottom, float right, float top) {
    const std::vector<float> corners = {left,  bottom, 0, 0, 0, 0, right, bottom, 0, 0, 0, 0,
                                        left,  top,    0, 0, 0, 0, right, top,    0, 0, 0, 0};
    return Mesh(corners);
}

// Draws the frame's number; needs a framebuffer bound.
inline void stamp(int frame) {
    gl.Enable(0xC11);
    gl.Scissor(0, 0, 8, 8);
    gl.ClearColor(static_cast<float>(frame & 255) / 255, static_cast<float>(frame >> 8) / 255, 0, 1);
    gl.Clear(0x4000);
    gl.Disable(0xC11);
}

}  // namespace test
