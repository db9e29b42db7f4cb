// A deferred renderer in a core profile: matrices in a uniform buffer (by --subdata, --map or
// --persistent), a G-buffer of two thirds of the window's size with a D24S8 texture and normals in
// RGBA8 (--view: view space, octahedral; --world: world space, as they are; --spheremap), then a
// composite onto the window and a HUD. A square shadow map with as many vertices comes first.
#include "program.h"

using namespace test;

namespace {

const char* const world_vertex = R"(#version 330 core
layout(std140) uniform Camera { vec4 tint; mat4 view; mat4 projection; };
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
out vec3 world_normal;
out vec3 view_normal;
void main() {
    world_normal = normal;
    view_normal = mat3(view) * normal;
    gl_Position = projection * view * vec4(position, 1.0);
})";

const char* const world_fragment = R"(#version 330 core
in vec3 world_normal;
in vec3 view_normal;
layout(location = 0) out vec4 albedo;
layout(location = 1) out vec4 stored;
uniform int encoding;
vec2 octahedral(vec3 n) {
    n /= abs(n.x) + abs(n.y) + abs(n.z);
    vec2 wrapped = (1.0 - abs(n.yx)) * vec2(n.x >= 0.0 ? 1.0 : -1.0, n.y >= 0.0 ? 1.0 : -1.0);
    return (n.z >= 0.0 ? n.xy : wrapped) * 0.5 + 0.5;
}
void main() {
    albedo = vec4(abs(world_normal) * 0.5 + 0.2, 1.0);
    if (encoding == 0) stored = vec4(octahedral(normalize(view_normal)), 0.3, 1.0);
    if (encoding == 1) stored = vec4(normalize(world_normal) * 0.5 + 0.5, 1.0);
    if (encoding == 2) {
        vec3 n = normalize(view_normal);
        stored = vec4(n.xy / sqrt(8.0 * n.z + 8.0) + 0.5, 0.9, 1.0);
    }
})";

const char* const flat_vertex = R"(#version 330 core
layout(location = 0) in vec3 position;
out vec2 place;
void main() { place = position.xy * 0.5 + 0.5; gl_Position = vec4(position, 1.0); })";

const char* const copy_fragment = R"(#version 330 core
in vec2 place;
out vec4 color;
uniform sampler2D source;
void main() { color = texture(source, place); })";

const char* const hud_vertex = R"(#version 330 core
layout(location = 0) in vec3 position;
uniform mat4 ortho;
void main() { gl_Position = ortho * vec4(position, 1.0); })";

const char* const hud_fragment = R"(#version 330 core
out vec4 color;
void main() { color = vec4(1.0, 0.0, 1.0, 1.0); })";

GLuint texture(GLenum format, int width, int height) {
    GLuint name = 0;
    gl.GenTextures(1, &name);
    gl.BindTexture(0xDE1, name);
    gl.TexStorage2D(0xDE1, 1, format, width, height);
    gl.TexParameteri(0xDE1, 0x2801, 0x2600);
    gl.TexParameteri(0xDE1, 0x2800, 0x2600);
    return name;
}

struct Block {
    float tint[4];
    Mat view, projection;
};

// The camera's uniform buffer, filled in one of three ways.
class CameraBuffer {
public:
    CameraBuffer(int argc, char** argv)
        : map_(has_flag(argc, argv, "--map")), persistent_(has_flag(argc, argv, "--persistent")) {
        gl.GenBuffers(1, &name_);
        gl.BindBuffer(0x8A11, name_);
        if (persistent_) {
            constexpr GLbitfield flags = 0x2 | 0x40 | 0x80;
            gl.BufferStorage(0x8A11, sizeof(Block), nullptr, flags);
            mapped_ = gl.MapBufferRange(0x8A11, 0, sizeof(Block), flags);
        } else {
            gl.BufferData(0x8A11, sizeof(Block), nullptr, 0x88E8);
        }
        gl.BindBufferBase(0x8A11, 3, name_);
    }
    void set(const Block& block) {
        gl.BindBuffer(0x8A11, name_);
        if (persistent_) {
            std::memcpy(mapped_, &block, sizeof block);
        } else if (map_) {
            void* at = gl.MapBufferRange(0x8A11, 0, sizeof block, 0x2);
            std::memcpy(at, &block, sizeof block);
            gl.UnmapBuffer(0x8A11);
        } else {
            gl.BufferSubData(0x8A11, 0, sizeof block, &block);
        }
    }

private:
    GLuint name_ = 0;
    void* mapped_ = nullptr;
    bool map_, persistent_;
};

}  // namespace

int main(int argc, char** argv) {
    Window window(480, 270, true);
    const int width = 320, height = 180, shadow_size = 256;
    const int encoding = has_flag(argc, argv, "--world")       ? 1
                         : has_flag(argc, argv, "--spheremap") ? 2
                                                               : 0;
    const GLuint world = program_of(world_vertex, world_fragment);
    const GLuint copy = program_of(flat_vertex, copy_fragment);
    const GLuint hud = program_of(hud_vertex, hud_fragment);
    gl.UniformBlockBinding(world, gl.GetUniformBlockIndex(world, "Camera"), 3);
    gl.UseProgram(world);
    gl.Uniform1i(gl.GetUniformLocation(world, "encoding"), encoding);
    const Mesh mesh(floor_and_box());
    const Mesh screen = quad(-1, -1, 1, 1), bar = quad(0, 0, 480, 45);
    const GLuint albedo = texture(0x8058, width, height), normals = texture(0x8058, width, height);
    const GLuint depth = texture(0x88F0, width, height);
    const GLuint shadow = texture(0x81A6, shadow_size, shadow_size);
    GLuint buffers[2] = {};
    gl.GenFramebuffers(2, buffers);
    gl.BindFramebuffer(0x8D40, buffers[0]);
    gl.FramebufferTexture2D(0x8D40, 0x8CE0, 0xDE1, albedo, 0);
    gl.FramebufferTexture2D(0x8D40, 0x8CE1, 0xDE1, normals, 0);
    gl.FramebufferTexture2D(0x8D40, 0x821A, 0xDE1, depth, 0);
    const GLenum targets[2] = {0x8CE0, 0x8CE1};
    gl.DrawBuffers(2, targets);
    gl.BindFramebuffer(0x8D40, buffers[1]);
    gl.FramebufferTexture2D(0x8D40, 0x8D00, 0xDE1, shadow, 0);
    const GLenum none = 0;
    gl.DrawBuffers(1, &none);
    CameraBuffer camera(argc, argv);
    const Mat ortho{2.0F / 480, 0, 0, 0, 0, 2.0F / 270, 0, 0, 0, 0, -1, 0, -1, -1, 0, 1};
    for (int frame = 0;; ++frame) {
        gl.UseProgram(world);
        gl.Enable(0xB71);
        gl.BindFramebuffer(0x8D40, buffers[1]);
        gl.Viewport(0, 0, shadow_size, shadow_size);
        gl.Clear(0x100);
        camera.set({{1, 1, 1, 1}, view_of(frame + 40), frustum(1, 1, 1, 60)});
        mesh.draw();
        gl.BindFramebuffer(0x8D40, buffers[0]);
        gl.Viewport(0, 0, width, height);
        gl.ClearColor(0, 0, 0, 0);
        gl.Clear(0x4100);
        camera.set({{1, 1, 1, 1}, view_of(frame), frustum(0.6F, 16.0F / 9, 0.1F, 200)});
        mesh.draw();
        stamp(frame);
        gl.BindFramebuffer(0x8D40, 0);
        gl.Viewport(0, 0, window.width(), window.height());
        gl.Disable(0xB71);
        gl.Clear(0x4100);
        gl.UseProgram(copy);
        gl.ActiveTexture(0x84C0);
        gl.BindTexture(0xDE1, albedo);
        screen.draw(5);
        gl.UseProgram(hud);
        gl.UniformMatrix4fv(gl.GetUniformLocation(hud, "ortho"), 1, 0, ortho.data());
        gl.Enable(0xBE2);
        bar.draw(5);
        gl.Disable(0xBE2);
        window.swap();
    }
}
