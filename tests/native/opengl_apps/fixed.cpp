// Fixed function, as the engines of the nineties drew: --mirror draws a mirrored view first, --sky
// a dome at depth range (1, 1), --weapon a box at (0, 0.3) with a field of view of its own, --head a
// turning head in a scissored corner with its own depth clear, --hud a bar in orthographic
// projection. --menu: nothing but the HUD. --resize: another size from frame 100 on.
#include "scene.h"
#include "window.h"

using namespace test;

namespace {

constexpr GLenum triangles = 4, less = 0x201, vertex_array = 0x8074, gl_float = 0x1406;
constexpr GLenum projection = 0x1701, modelview = 0x1700, depth_test = 0xB71, scissor = 0xC11;
constexpr GLbitfield depth_bit = 0x100, color_bit = 0x4000;
constexpr float tan_half = 0.6F;

void draw(const std::vector<float>& mesh) {
    gl.VertexPointer(3, gl_float, 24, mesh.data());
    gl.DrawArrays(triangles, 0, static_cast<int>(mesh.size() / 6));
}

void perspective(float tangent, float aspect, float near, float far) {
    gl.MatrixMode(projection);
    gl.LoadIdentity();
    const double y = tangent * near, x = y * aspect;
    gl.Frustum(-x, x, -y, y, near, far);
    gl.MatrixMode(modelview);
}

void world(const std::vector<float>& mesh, const Mat& view, float aspect, float far) {
    perspective(tan_half, aspect, 0.1F, far);
    gl.LoadMatrixf(view.data());
    gl.Color3f(0.2F, 0.5F, 0.2F);
    draw(mesh);
}

void hud(int width, int height) {
    gl.MatrixMode(projection);
    gl.LoadIdentity();
    gl.Ortho(0, width, 0, height, -1, 1);
    gl.MatrixMode(modelview);
    gl.LoadIdentity();
    gl.Disable(depth_test);
    gl.Color3f(1, 0, 1);
    const float right = static_cast<float>(width), top = static_cast<float>(height) / 6;
    const std::vector<float> bar = {0,     0, 0, 0, 0, 0, right, 0,   0, 0, 0, 0,
                                    right, top, 0, 0, 0, 0, 0,   top, 0, 0, 0, 0};
    gl.VertexPointer(3, gl_float, 24, bar.data());
    gl.DrawArrays(7, 0, 4);
    gl.Enable(depth_test);
}

void stamp(int frame) {
    gl.Enable(scissor);
    gl.Scissor(0, 0, 8, 8);
    gl.ClearColor(static_cast<float>(frame & 255) / 255, static_cast<float>(frame >> 8) / 255, 0, 1);
    gl.Clear(color_bit);
    gl.Disable(scissor);
}

}  // namespace

int main(int argc, char** argv) {
    Window window(320, 180, false);
    const std::vector<float> mesh = floor_and_box();
    std::vector<float> box;
    const float near_center[3] = {0.15F, -0.12F, -0.5F};
    add_box(&box, near_center, 0.06F);
    const bool menu = has_flag(argc, argv, "--menu");
    gl.EnableClientState(vertex_array);
    gl.DepthFunc(less);
    gl.Enable(depth_test);
    for (int frame = 0;; ++frame) {
        if (frame == 100 && has_flag(argc, argv, "--resize")) window.resize(400, 240);
        const float aspect =
            static_cast<float>(window.width()) / static_cast<float>(window.height());
        gl.Viewport(0, 0, window.width(), window.height());
        gl.ClearColor(0.4F, 0.6F, 0.9F, 1);
        gl.Clear(color_bit | depth_bit);
        const Mat view = view_of(frame);
        // The far plane moves, as it does in games that limit their view.
        const float far = frame % 2 == 0 ? 100.0F : 300.0F;
        if (has_flag(argc, argv, "--mirror")) {
            Mat mirrored = view;
            for (std::size_t i = 4; i < 8; ++i) mirrored[i] = -mirrored[i];
            world(mesh, mirrored, aspect, far);
            gl.Clear(depth_bit);
        }
        if (!menu) {
            if (has_flag(argc, argv, "--sky")) {
                perspective(tan_half, aspect, 0.1F, far);
                gl.LoadIdentity();
                gl.DepthRange(1, 1);
                gl.Color3f(0.5F, 0.7F, 1);
                std::vector<float> sky;
                const float center[3] = {0, 0, 0};
                add_box(&sky, center, 5);
                draw(sky);
                gl.DepthRange(0, 1);
            }
            world(mesh, view, aspect, far);
            stamp(frame);
        }
        if (has_flag(argc, argv, "--weapon")) {
            perspective(0.5F, aspect, 0.05F, 50);
            gl.LoadIdentity();
            gl.DepthRange(0, 0.3);
            gl.Color3f(0.8F, 0.3F, 0.1F);
            draw(box);
            gl.DepthRange(0, 1);
        }
        if (has_flag(argc, argv, "--head")) {
            gl.Enable(scissor);
            gl.Scissor(240, 10, 60, 60);
            gl.Viewport(240, 10, 60, 60);
            gl.Clear(depth_bit);
            perspective(0.2F, 1, 0.1F, 10);
            gl.LoadIdentity();
            gl.Color3f(1, 0, 1);
            draw(box);
            gl.Disable(scissor);
            gl.Viewport(0, 0, window.width(), window.height());
        }
        if (menu || has_flag(argc, argv, "--hud")) hud(window.width(), window.height());
        window.swap();
    }
}
