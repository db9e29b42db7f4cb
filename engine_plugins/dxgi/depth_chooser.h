// Which of a game's depth buffers holds the scene: that of the back buffer's size with the most
// draws, kept until the swap chain changes. Pure: knows ids, sizes and counts, no graphics API.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace realmaster {

using ResourceId = std::uint64_t;  // a resource's address as a name; 0 is none

struct DepthCandidate {
    ResourceId id = 0;
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint32_t samples = 1;
    std::uint64_t draws = 0;  // into it in this frame
};

struct DepthChoice {
    ResourceId id = 0;  // 0: no depth buffer fits
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint64_t draws = 0;       // in this frame; 0 where the kept one was not drawn to
    std::uint32_t candidates = 0;  // that were drawn to, of any size
    bool upscaled = false;         // smaller or larger than the back buffer, of the same shape
    bool changed = false;          // chosen in this frame
};

class DepthChooser {
public:
    static constexpr std::size_t max_candidates = 64;
    static constexpr int release_after = 120;  // presents without a draw: the game let go of it

    // A new swap chain or size: the next frame chooses afresh.
    void set_output(std::uint32_t width, std::uint32_t height) noexcept;

    // The resource is gone; its address may come back as another.
    void forget(ResourceId id) noexcept;

    // Call once per present with what was drawn since the last.
    DepthChoice choose(const DepthCandidate* candidates, std::size_t count) noexcept;

    [[nodiscard]] ResourceId kept() const noexcept {
        return kept_.id;
    }

private:
    [[nodiscard]] bool fits_exactly(const DepthCandidate& candidate) const noexcept;
    [[nodiscard]] bool fits_upscaled(const DepthCandidate& candidate) const noexcept;

    std::uint32_t width_ = 0;
    std::uint32_t height_ = 0;
    DepthChoice kept_{};
    int idle_presents_ = 0;
};

// Whether a present shows a rendered frame, judged from what was drawn since the last present.
enum class PresentKind : std::uint8_t {
    rendered,   // the scene was drawn
    generated,  // between rendered frames, without a scene: interpolated by frame generation
    idle,       // menus, loading screens, films: no scene for longer than generation ever spans
};

class PresentClassifier {
public:
    static constexpr int max_generated = 3;  // per rendered frame, of today's frame generation

    PresentKind next(bool scene_was_drawn) noexcept;

private:
    int without_scene_ = max_generated + 1;
};

}  // namespace realmaster
