// Reversed depth in a framebuffer object of 32-bit floats (--samples: multisampled, 4), clip
// control zero to one, an infinite far plane, and projection and view as one uniform; then a blit
// onto the window and a HUD without matrices.
#include "program.h"

using namespace test;

namespace {

const char* const vertex = R"(#version 330 core
uniform mat4 clip_from_world;
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
out vec3 shade;
void main() { shade = abs(normal); gl_Position = clip_from_world * vec4(position, 1.0); })";

const char* const fragment = R"(#version 330 core
in vec3 shade;
out vec4 color;
void main() { color = vec4(shade * 0.6 + 0.1, 1.0); })";

const char* const flat_vertex = R"(#version 330 core
layout(location = 0) in vec3 position;
void main() { gl_Position = vec4(position, 1.0); })";

const char* const flat_fragment = R"(#version 330 core
out vec4 color;
void main() { color = vec4(1.0, 0.0, 1.0, 0.5); })";

GLuint renderbuffer(GLenum format, int samples, int width, int height) {
    GLuint name = 0;
    gl.GenRenderbuffers(1, &name);
    gl.BindRenderbuffer(0x8D41, name);
    gl.RenderbufferStorageMultisample(0x8D41, samples, format, width, height);
    return name;
}

}  // namespace

int main(int argc, char** argv) {
    Window window(320, 180, true);
    const int width = window.width(), height = window.height();
    const int samples = has_flag(argc, argv, "--samples") ? 4 : 0;
    const GLuint world = program_of(vertex, fragment), flat = program_of(flat_vertex, flat_fragment);
    const Mesh mesh(floor_and_box()), bar = quad(-1, -1, 1, -0.6F);
    GLuint target = 0;
    gl.GenFramebuffers(1, &target);
    gl.BindFramebuffer(0x8D40, target);
    gl.FramebufferRenderbuffer(0x8D40, 0x8CE0, 0x8D41, renderbuffer(0x8058, samples, width, height));
    gl.FramebufferRenderbuffer(0x8D40, 0x8D00, 0x8D41, renderbuffer(0x8CAC, samples, width, height));
    gl.ClipControl(0x8CA1, 0x935F);
    gl.ClearDepth(0);
    gl.DepthFunc(0x204);
    gl.Viewport(0, 0, width, height);
    const Mat projection = reversed_infinite(0.6F, 16.0F / 9, 0.1F);
    for (int frame = 0;; ++frame) {
        gl.BindFramebuffer(0x8D40, target);
        gl.Enable(0xB71);
        gl.ClearColor(0.4F, 0.6F, 0.9F, 1);
        gl.Clear(0x4100);
        gl.UseProgram(world);
        const Mat clip = product(projection, view_of(frame));
        gl.UniformMatrix4fv(gl.GetUniformLocation(world, "clip_from_world"), 1, 0, clip.data());
        mesh.draw();
        stamp(frame);
        gl.BindFramebuffer(0x8CA8, target);
        gl.BindFramebuffer(0x8CA9, 0);
        gl.BlitFramebuffer(0, 0, width, height, 0, 0, width, height, 0x4000, 0x2600);
        gl.BindFramebuffer(0x8D40, 0);
        gl.Disable(0xB71);
        gl.UseProgram(flat);
        gl.Enable(0xBE2);
        bar.draw(5);
        gl.Disable(0xBE2);
        window.swap();
    }
}
