#include "context.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "gl_calls.h"

namespace realmaster::opengl {
namespace {

__attribute__((tls_model("initial-exec"))) thread_local Context* current = nullptr;

struct Registry {
    std::mutex mutex;
    std::unordered_map<void*, std::unique_ptr<Context>> contexts;
    std::unordered_map<void*, std::shared_ptr<ShareGroup>> groups;
    std::vector<std::unique_ptr<Context>> doomed;  // destroyed while current somewhere
};

// Never destroyed: games call OpenGL until the very end of their process.
Registry& registry() noexcept {
    static auto* const instance = new Registry;
    return *instance;
}

// The thread's context is current no more; frees it if it was destroyed meanwhile.
void leave(Registry* all) noexcept {
    Context* old = current;
    current = nullptr;
    if (old == nullptr || --old->num_current > 0) return;
    all->doomed.erase(std::remove_if(all->doomed.begin(), all->doomed.end(),
                                     [old](const auto& other) { return other.get() == old; }),
                      all->doomed.end());
}

GLuint integer(GLenum name) noexcept {
    GLint value = 0;
    calls().GetIntegerv(name, &value);
    return static_cast<GLuint>(value);
}

}  // namespace

Context::Context(std::shared_ptr<ShareGroup> share_group) : group(std::move(share_group)) {}

// Only names that every context of OpenGL 3.0 knows are asked for, so that no error is left behind;
// clip control, which is newer, is asked for where an error can be taken back.
void Context::refresh() noexcept {
    fresh = true;
    const GlCalls& gl = calls();
    if (!gl.usable) return;
    draw_framebuffer = integer(gl::FRAMEBUFFER_BINDING);
    read_framebuffer = integer(gl::READ_FRAMEBUFFER_BINDING);
    program = integer(gl::CURRENT_PROGRAM);
    vertex_array = integer(gl::VERTEX_ARRAY_BINDING);
    GLint box[4] = {};
    gl.GetIntegerv(gl::VIEWPORT, box);
    viewport = {box[0], box[1], box[2], box[3]};
    gl.GetIntegerv(gl::SCISSOR_BOX, box);
    scissor = {box[0], box[1], box[2], box[3]};
    scissor_on = gl.IsEnabled(gl::SCISSOR_TEST) != 0;
    depth_test = gl.IsEnabled(gl::DEPTH_TEST) != 0;
    blend = gl.IsEnabled(gl::BLEND) != 0;
    GLboolean writes = 1;
    gl.GetBooleanv(gl::DEPTH_WRITEMASK, &writes);
    depth_writes = writes != 0;
    GLdouble range[2] = {0, 1};
    gl.GetDoublev(gl::DEPTH_RANGE, range);
    depth.range_near = range[0];
    depth.range_far = range[1];
    projection_changed = model_view_changed = true;
    if (compatibility) matrix_mode = integer(gl::MATRIX_MODE);
}

bool Context::partial_scissor() const noexcept {
    if (!scissor_on) return false;
    const Rect& whole = draw_framebuffer == 0 ? window : viewport;
    return scissor.x > whole.x || scissor.y > whole.y ||
           scissor.x + scissor.width < whole.x + whole.width ||
           scissor.y + scissor.height < whole.y + whole.height;
}

// Fixed function matrices count also under a program, which may read them as built-ins; where the
// program's own matrices say the same, the projection by itself is the more exact.
DrawCamera Context::camera() noexcept {
    DrawCamera own;
    if (program != 0) own = group->camera(program, uniform_bindings);
    if (!compatibility) return own;
    const GlCalls& gl = calls();
    float values[16] = {};
    if (projection_changed) {
        projection_changed = false;
        gl.GetFloatv(gl::PROJECTION_MATRIX, values);
        const Mat4 m = mat4_from(values, false);
        fixed_product_view_ = identity4;
        fixed_kind_ = classify(m, &fixed_p_, &fixed_product_view_);
        if (m == identity4) fixed_kind_ = MatrixKind::other;
    }
    const bool own_view =
        own.kind == MatrixKind::projection || own.kind == MatrixKind::view_product;
    const bool fixed_view =
        fixed_kind_ == MatrixKind::projection || fixed_kind_ == MatrixKind::view_product;
    if (!fixed_view) {
        if (own.kind == MatrixKind::other) own.kind = fixed_kind_;
        return own;
    }
    if (own_view && std::abs(std::abs(own.p.fx) - std::abs(fixed_p_.fx)) >
                        2e-3 * std::abs(own.p.fx)) {
        return own;
    }
    if (own.kind == MatrixKind::affine) return own;  // a HUD shader under a left-over projection
    if (model_view_changed) {
        model_view_changed = false;
        gl.GetFloatv(gl::MODELVIEW_MATRIX, values);
        fixed_model_view_ = mat4_from(values, false);
    }
    DrawCamera fixed;
    fixed.kind = fixed_kind_;
    fixed.p = fixed_p_;
    fixed.exactness = fixed_kind_ == MatrixKind::projection ? 1 : 0.5;
    fixed.has_model_view = true;
    fixed.model_view = multiply(fixed_product_view_, fixed_model_view_);
    return fixed;
}

void Context::begin_frame() noexcept {
    if (!fresh) refresh();
    if (window_so_far.width > 0) window = window_so_far;
    if (window.width == 0) window = viewport;
    window_so_far = Rect{};
    tracker.begin_frame(window);
}

Draw Context::describe(std::uint32_t vertices, std::uint64_t key) noexcept {
    const DrawCamera seen = camera();
    Draw draw;
    draw.framebuffer = draw_framebuffer;
    draw.viewport = viewport;
    draw.partial_scissor = partial_scissor();
    draw.tests_depth = depth_test;
    draw.writes_depth = depth_test && depth_writes;
    draw.blends = blend;
    draw.kind = seen.kind;
    draw.law = {seen.p, depth};
    draw.exactness = seen.exactness;
    draw.has_model_view = seen.has_model_view;
    draw.model_view = seen.model_view;
    draw.key = key;
    draw.vertices = vertices;
    Planes planes{};
    const bool perspective =
        seen.kind == MatrixKind::projection || seen.kind == MatrixKind::view_product;
    if (perspective && !planes_of(seen.p, depth.zero_to_one, &planes)) {
        draw.kind = MatrixKind::other;
    }
    return draw;
}

// Contexts before 3.2 have no profile; core profiles of 3.1 without GL_ARB_compatibility are rare.
bool is_compatibility() noexcept {
    const GlCalls& gl = calls();
    const auto* version = reinterpret_cast<const char*>(gl.GetString(gl::VERSION));
    if (version == nullptr) return false;
    if (version[0] < '3' || (version[0] == '3' && version[2] < '2')) return true;
    GLint mask = 0;
    gl.GetIntegerv(gl::CONTEXT_PROFILE_MASK, &mask);
    return (mask & gl::CONTEXT_COMPATIBILITY_BIT) != 0;
}

Context* current_context() noexcept { return current; }

void created(void* handle, void* shares_with) noexcept {
    if (handle == nullptr) return;
    Registry& all = registry();
    const std::lock_guard<std::mutex> lock(all.mutex);
    std::shared_ptr<ShareGroup>& group = all.groups[handle];
    const auto other = all.groups.find(shares_with);
    group = shares_with != nullptr && other != all.groups.end() ? other->second
                                                                : std::make_shared<ShareGroup>();
}

void make_current(void* handle) noexcept {
    Registry& all = registry();
    const std::lock_guard<std::mutex> lock(all.mutex);
    leave(&all);
    if (handle == nullptr) return;
    std::unique_ptr<Context>& context = all.contexts[handle];
    if (context == nullptr) {
        std::shared_ptr<ShareGroup>& group = all.groups[handle];
        if (group == nullptr) group = std::make_shared<ShareGroup>();
        context = std::make_unique<Context>(group);
    }
    ++context->num_current;
    current = context.get();
}

Context* context_of(void* handle) noexcept {
    Registry& all = registry();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.contexts.find(handle);
    return found == all.contexts.end() ? nullptr : found->second.get();
}

void destroyed(void* handle) noexcept {
    Registry& all = registry();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.contexts.find(handle);
    if (found != all.contexts.end()) {
        if (found->second->num_current > 0) all.doomed.push_back(std::move(found->second));
        all.contexts.erase(found);
    }
    all.groups.erase(handle);
}

}  // namespace realmaster::opengl
