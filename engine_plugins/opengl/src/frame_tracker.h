// Finds, while a frame is drawn, which pass shows the world, what drew each part of its depth, and
// when to copy color and depth: after the world and before what lies over it (a hand in a depth
// buffer of its own, heads and icons in scissored corners, the HUD).
//
// Nothing is known beforehand of the game. A pass is what is drawn into one framebuffer between two
// clears of its depth. The world is the pass with most vertices under a perspective projection; a
// later pass takes its place if it is not much smaller (mirrors and portals are drawn first).
// Knows no OpenGL calls: it is told of them, and says what to copy before they are carried out.
#pragma once

#include <array>
#include <cstdint>

#include "gl_types.h"
#include "matrix.h"

namespace realmaster::opengl {

enum class Trigger : std::uint8_t {
    none,
    full_depth_clear,
    partial_depth_clear,
    orthographic,
    after_composite,
    swap
};
const char* name_of(Trigger trigger) noexcept;

struct Rect {
    int x = 0, y = 0, width = 0, height = 0;
    bool operator==(const Rect& o) const noexcept {
        return x == o.x && y == o.y && width == o.width && height == o.height;
    }
};

// What decides how a draw's depth is read back.
struct DepthLaw {
    Perspective p;
    DepthMapping mapping;
};
bool same_law(const DepthLaw& a, const DepthLaw& b) noexcept;

// One draw call as the tracker sees it. exactness: how well p is known, 1 for a P alone.
struct Draw {
    GLuint framebuffer = 0;
    Rect viewport;
    bool partial_scissor = false;
    bool writes_depth = false;
    bool tests_depth = false;
    bool blends = false;
    MatrixKind kind = MatrixKind::other;
    DepthLaw law;
    double exactness = 0;
    bool has_model_view = false;
    Mat4 model_view = identity4;
    std::uint64_t key = 0;
    std::uint32_t vertices = 0;
};

// What must be copied before the call is carried out.
struct Actions {
    bool color = false;      // from color_framebuffer
    bool depth = false;      // from depth_framebuffer
    int segment = -1;        // copy depth as it was before this segment, from depth_framebuffer
    GLuint color_framebuffer = 0;
    GLuint depth_framebuffer = 0;
    Trigger trigger = Trigger::none;
};

// The part of a model view's votes for the camera's pose.
struct Vote {
    std::uint64_t key = 0;  // tells draw calls apart from frame to frame; 0: cannot be told
    std::uint32_t order = 0;
    std::uint32_t vertices = 0;
    Mat4 model_view = identity4;
};

constexpr int max_segments = 4;
constexpr std::size_t max_votes = 512;

// What is known of the world at the end of a frame.
struct World {
    bool found = false;
    GLuint framebuffer = 0;
    Rect viewport;
    Perspective p;
    bool zero_to_one = false;
    Trigger trigger = Trigger::none;
    int num_segments = 0;
    std::array<DepthLaw, max_segments> segments;
    std::uint64_t vertices = 0;
};

class FrameTracker {
public:
    void begin_frame(Rect window) noexcept;
    Actions draw(const Draw& draw) noexcept;
    Actions depth_clear(GLuint framebuffer, bool partial) noexcept;
    // A copy of another framebuffer onto the window.
    void composite() noexcept;
    // At the swap: what is still to be copied.
    Actions finish() noexcept;

    const World& world() const noexcept { return chosen_; }
    const Vote* votes() const noexcept { return votes_.data(); }
    std::size_t num_votes() const noexcept { return num_votes_; }

private:
    // The pass that is being drawn into one framebuffer.
    struct Pass {
        bool used = false;
        GLuint framebuffer = 0;
        std::uint32_t id = 0;
        double score = 0;
        std::uint64_t vertices = 0;
        struct View {
            DepthLaw law;
            Rect viewport;
            double exactness = 0;
            std::uint64_t vertices = 0;
        };
        std::array<View, 8> views;
        int num_views = 0;
        std::array<DepthLaw, max_segments> segments;
        int num_segments = 0;
    };

    Pass* pass_of(GLuint framebuffer, bool make) noexcept;
    Pass* leading() noexcept;
    void add_to(Pass* pass, const Draw& draw) noexcept;
    int open_segment(Pass* pass, const Draw& draw) noexcept;
    void vote(const Draw& draw, std::uint32_t pass_id) noexcept;
    double score_of(const Draw& draw) const noexcept;
    bool beats_chosen(const Pass& pass) const noexcept;
    Actions choose(const Pass& pass, Trigger trigger) noexcept;
    Actions overlay(const Draw& draw) noexcept;

    Rect window_;
    std::array<Pass, 8> passes_;
    std::uint32_t next_pass_ = 0;
    World chosen_;
    double chosen_score_ = 0;
    std::uint32_t chosen_pass_ = 0;
    bool composed_ = false;
    bool color_done_ = false;
    std::array<Vote, max_votes> votes_;
    std::array<std::uint32_t, max_votes> vote_pass_;
    std::size_t num_votes_ = 0;
    std::uint32_t vote_order_ = 0;
};

}  // namespace realmaster::opengl
