// Copies images of a framebuffer into a ring of pixel buffers, and says when one has arrived.
// Never waits for the GPU: a frame that is not there in time is the caller's to drop.
// Knows OpenGL; knows nothing of what the images mean.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "context.h"
#include "gl_guard.h"
#include "pixels.h"

namespace realmaster::opengl {

// What a ring entry can hold at once.
enum Plane : std::uint8_t {
    plane_color,
    plane_color_ui,
    plane_depth,
    plane_segment1,  // depth before segment 1, and so on
    plane_segment2,
    plane_segment3,
    plane_normal,
    num_planes
};

enum class EntryState : std::uint8_t { free, filling, reading, mapped, done };

struct PlaneImage {
    bool used = false;
    Extent size;
    const void* pixels = nullptr;  // while mapped; rows bottom to top
    GLuint buffer = 0;
    std::size_t capacity = 0;
};

struct RingEntry {
    // `done` is set by whoever reads the mapped memory; all else by the render thread.
    std::atomic<EntryState> state{EntryState::free};
    std::array<PlaneImage, num_planes> planes;
    GLsync fence = nullptr;
    int age = 0;  // swaps since it was issued
};

constexpr std::size_t ring_size = 4;

class Readback {
public:
    // A free entry, oldest use first; nullptr if all are busy.
    RingEntry* take() noexcept;

    // Starts a copy of `size` pixels from the lower left corner. False where OpenGL refused.
    bool read_color(GlGuard* guard, RingEntry* entry, Plane plane, GLuint framebuffer,
                    Extent size) noexcept;
    bool read_depth(GlGuard* guard, RingEntry* entry, Plane plane, GLuint framebuffer,
                    Extent size) noexcept;
    // One color attachment as RGBA floats.
    bool read_floats(GlGuard* guard, RingEntry* entry, Plane plane, GLuint framebuffer,
                     int attachment, Extent size) noexcept;

    // All copies of the entry were issued.
    void issue(RingEntry* entry) noexcept;
    // Gives up a filling entry.
    void cancel(RingEntry* entry) noexcept;
    // Once a swap: unmaps what is done; the oldest entry that has arrived, mapped, or nullptr.
    RingEntry* poll() noexcept;
    // Unmaps and deletes everything; the context must be current and no entry mapped elsewhere.
    void release() noexcept;
    // The context is gone, and all its objects with it.
    void forget() noexcept;
    // Whether mapped memory is being read by somebody.
    bool busy() const noexcept;
    // Whether any copy is under way or not yet unmapped.
    bool in_flight() const noexcept;

    std::array<RingEntry, ring_size> entries;

private:
    bool prepare(PlaneImage* image, Extent size, std::size_t pixel_bytes) noexcept;
    bool resolve(GlGuard* guard, GLuint framebuffer, Extent size, bool depth) noexcept;
    bool map(RingEntry* entry) noexcept;
    void unmap(RingEntry* entry) noexcept;

    std::array<RingEntry*, ring_size> order_{};  // being read, oldest first
    std::size_t num_reading_ = 0;
    GLuint resolve_framebuffer_ = 0, resolve_color_ = 0, resolve_depth_ = 0;
    GLenum resolve_format_ = 0;
    Extent resolve_size_;
};

}  // namespace realmaster::opengl
