#include "readback.h"

#include <algorithm>

#include "gl_calls.h"

namespace realmaster::opengl {
namespace {

// Without fences a copy is taken for finished after so many swaps.
constexpr int swaps_without_fence = 2;

// Selects what color is read from, for the life of the object; part of a framebuffer's own state.
class ReadBuffer {
public:
    explicit ReadBuffer(GLenum wanted) noexcept : wanted_(wanted) {
        calls().GetIntegerv(gl::READ_BUFFER, &before_);
        if (static_cast<GLenum>(before_) != wanted_) calls().ReadBuffer(wanted_);
    }
    ~ReadBuffer() {
        if (static_cast<GLenum>(before_) != wanted_) {
            calls().ReadBuffer(static_cast<GLenum>(before_));
        }
    }
    ReadBuffer(const ReadBuffer&) = delete;
    ReadBuffer& operator=(const ReadBuffer&) = delete;

private:
    GLint before_ = 0;
    GLenum wanted_ = 0;
};

// Where the framebuffer's color is drawn to; needs it bound for drawing.
GLenum color_source(GLuint framebuffer) noexcept {
    GLint first = 0;
    calls().GetIntegerv(gl::DRAW_BUFFER0, &first);
    if (first != 0) return static_cast<GLenum>(first);
    return framebuffer == 0 ? gl::BACK : gl::COLOR_ATTACHMENT0;
}

GLenum depth_format() noexcept {
    const GlCalls& gl = calls();
    GLint depth = 0, stencil = 0, type = 0;
    const auto get = [&gl](GLenum attachment, GLenum what, GLint* out) {
        gl.GetFramebufferAttachmentParameteriv(gl::READ_FRAMEBUFFER, attachment, what, out);
    };
    get(gl::DEPTH_ATTACHMENT, gl::ATTACHMENT_DEPTH_SIZE, &depth);
    get(gl::DEPTH_ATTACHMENT, gl::ATTACHMENT_COMPONENT_TYPE, &type);
    get(gl::DEPTH_ATTACHMENT, gl::ATTACHMENT_STENCIL_SIZE, &stencil);
    if (static_cast<GLenum>(type) == gl::FLOAT) {
        return stencil > 0 ? gl::DEPTH32F_STENCIL8 : gl::DEPTH_COMPONENT32F;
    }
    if (depth == 16) return gl::DEPTH_COMPONENT16;
    return stencil > 0 ? gl::DEPTH24_STENCIL8 : gl::DEPTH_COMPONENT24;
}

}  // namespace

RingEntry* Readback::take() noexcept {
    for (RingEntry& entry : entries) {
        if (entry.state.load(std::memory_order_acquire) != EntryState::free) continue;
        entry.state.store(EntryState::filling, std::memory_order_relaxed);
        for (PlaneImage& plane : entry.planes) plane.used = false;
        return &entry;
    }
    return nullptr;
}

bool Readback::prepare(PlaneImage* image, Extent size, std::size_t pixel_bytes) noexcept {
    const GlCalls& gl = calls();
    const std::size_t bytes = size.pixels() * pixel_bytes;
    if (bytes == 0) return false;
    if (image->buffer == 0) gl.GenBuffers(1, &image->buffer);
    gl.BindBuffer(gl::PIXEL_PACK_BUFFER, image->buffer);
    if (image->capacity != bytes) {
        gl.BufferData(gl::PIXEL_PACK_BUFFER, static_cast<GLsizeiptr>(bytes), nullptr,
                      gl::STREAM_READ);
        image->capacity = bytes;
    }
    image->size = size;
    return true;
}

// A multisampled framebuffer object cannot be read; it is resolved into one of ours by a blit,
// which wants the same depth format. Afterwards ours is bound.
bool Readback::resolve(GlGuard* guard, GLuint framebuffer, Extent size, bool depth) noexcept {
    const GlCalls& gl = calls();
    guard->bind_framebuffers(framebuffer, framebuffer);
    if (framebuffer == 0) return true;
    GLint samples = 0;
    gl.GetIntegerv(gl::SAMPLES, &samples);
    if (samples == 0) return true;
    const GLenum format = depth ? depth_format() : resolve_format_;
    const auto width = static_cast<GLsizei>(size.width), height = static_cast<GLsizei>(size.height);
    if (resolve_framebuffer_ == 0) {
        gl.GenFramebuffers(1, &resolve_framebuffer_);
        gl.GenRenderbuffers(1, &resolve_color_);
        gl.GenRenderbuffers(1, &resolve_depth_);
    }
    GLint bound = 0;
    gl.GetIntegerv(gl::RENDERBUFFER_BINDING, &bound);
    guard->bind_framebuffers(framebuffer, resolve_framebuffer_);
    const bool resized =
        resolve_size_.width != size.width || resolve_size_.height != size.height;
    if (resized) {
        gl.BindRenderbuffer(gl::RENDERBUFFER, resolve_color_);
        gl.RenderbufferStorage(gl::RENDERBUFFER, gl::RGBA8, width, height);
        gl.FramebufferRenderbuffer(gl::DRAW_FRAMEBUFFER, gl::COLOR_ATTACHMENT0, gl::RENDERBUFFER,
                                   resolve_color_);
    }
    if (depth && (resized || format != resolve_format_)) {
        const bool stencil = format == gl::DEPTH24_STENCIL8 || format == gl::DEPTH32F_STENCIL8;
        gl.BindRenderbuffer(gl::RENDERBUFFER, resolve_depth_);
        gl.RenderbufferStorage(gl::RENDERBUFFER, format, width, height);
        gl.FramebufferRenderbuffer(gl::DRAW_FRAMEBUFFER, gl::DEPTH_STENCIL_ATTACHMENT,
                                   gl::RENDERBUFFER, 0);
        gl.FramebufferRenderbuffer(gl::DRAW_FRAMEBUFFER,
                                   stencil ? gl::DEPTH_STENCIL_ATTACHMENT : gl::DEPTH_ATTACHMENT,
                                   gl::RENDERBUFFER, resolve_depth_);
        resolve_format_ = format;
    } else if (resized) {
        resolve_format_ = 0;  // depth is made anew when it is asked for
    }
    resolve_size_ = size;
    gl.BindRenderbuffer(gl::RENDERBUFFER, static_cast<GLuint>(bound));
    gl.BlitFramebuffer(0, 0, width, height, 0, 0, width, height,
                       depth ? gl::DEPTH_BUFFER_BIT : gl::COLOR_BUFFER_BIT, gl::NEAREST);
    guard->bind_framebuffers(resolve_framebuffer_, resolve_framebuffer_);
    return true;
}

bool Readback::read_color(GlGuard* guard, RingEntry* entry, Plane plane, GLuint framebuffer,
                          Extent size) noexcept {
    PlaneImage& image = entry->planes[plane];
    if (!prepare(&image, size, 4)) return false;
    guard->bind_framebuffers(framebuffer, framebuffer);
    {
        const ReadBuffer selected(color_source(framebuffer));
        resolve(guard, framebuffer, size, false);
        calls().ReadPixels(0, 0, static_cast<GLsizei>(size.width),
                           static_cast<GLsizei>(size.height), gl::RGBA, gl::UNSIGNED_BYTE, nullptr);
        guard->bind_framebuffers(framebuffer, framebuffer);
    }
    image.used = !clear_errors();
    return image.used;
}

bool Readback::read_depth(GlGuard* guard, RingEntry* entry, Plane plane, GLuint framebuffer,
                          Extent size) noexcept {
    PlaneImage& image = entry->planes[plane];
    if (!prepare(&image, size, 4)) return false;
    resolve(guard, framebuffer, size, true);
    calls().ReadPixels(0, 0, static_cast<GLsizei>(size.width), static_cast<GLsizei>(size.height),
                       gl::DEPTH_COMPONENT, gl::FLOAT, nullptr);
    image.used = !clear_errors();
    return image.used;
}

bool Readback::read_floats(GlGuard* guard, RingEntry* entry, Plane plane, GLuint framebuffer,
                           int attachment, Extent size) noexcept {
    PlaneImage& image = entry->planes[plane];
    if (!prepare(&image, size, 16)) return false;
    guard->bind_framebuffers(framebuffer, framebuffer);
    {
        const ReadBuffer selected(gl::COLOR_ATTACHMENT0 + static_cast<GLenum>(attachment));
        calls().ReadPixels(0, 0, static_cast<GLsizei>(size.width),
                           static_cast<GLsizei>(size.height), gl::RGBA, gl::FLOAT, nullptr);
    }
    image.used = !clear_errors();
    return image.used;
}

void Readback::issue(RingEntry* entry) noexcept {
    const GlCalls& gl = calls();
    entry->fence =
        gl.has_fences() ? gl.FenceSync(gl::SYNC_GPU_COMMANDS_COMPLETE, 0) : nullptr;
    entry->age = 0;
    entry->state.store(EntryState::reading, std::memory_order_relaxed);
    order_[num_reading_++] = entry;
}

void Readback::cancel(RingEntry* entry) noexcept {
    entry->state.store(EntryState::free, std::memory_order_relaxed);
}

bool Readback::map(RingEntry* entry) noexcept {
    const GlCalls& gl = calls();
    bool mapped = true;
    for (PlaneImage& plane : entry->planes) {
        plane.pixels = nullptr;
        if (!plane.used) continue;
        gl.BindBuffer(gl::PIXEL_PACK_BUFFER, plane.buffer);
        plane.pixels = gl.MapBufferRange(gl::PIXEL_PACK_BUFFER, 0,
                                         static_cast<GLsizeiptr>(plane.capacity), gl::MAP_READ_BIT);
        mapped = mapped && plane.pixels != nullptr;
    }
    entry->state.store(EntryState::mapped, std::memory_order_release);
    return mapped;
}

void Readback::unmap(RingEntry* entry) noexcept {
    const GlCalls& gl = calls();
    for (PlaneImage& plane : entry->planes) {
        if (plane.pixels == nullptr) continue;
        gl.BindBuffer(gl::PIXEL_PACK_BUFFER, plane.buffer);
        gl.UnmapBuffer(gl::PIXEL_PACK_BUFFER);
        plane.pixels = nullptr;
    }
    entry->state.store(EntryState::free, std::memory_order_relaxed);
}

RingEntry* Readback::poll() noexcept {
    const GlCalls& gl = calls();
    for (RingEntry& entry : entries) {
        if (entry.state.load(std::memory_order_acquire) == EntryState::done) unmap(&entry);
    }
    if (num_reading_ == 0) return nullptr;
    for (std::size_t i = 0; i < num_reading_; ++i) ++order_[i]->age;
    RingEntry* oldest = order_[0];
    if (oldest->fence != nullptr) {
        const GLenum state = gl.ClientWaitSync(oldest->fence, 0, 0);
        if (state != gl::ALREADY_SIGNALED && state != gl::CONDITION_SATISFIED) return nullptr;
        gl.DeleteSync(oldest->fence);
        oldest->fence = nullptr;
    } else if (oldest->age < swaps_without_fence) {
        return nullptr;
    }
    std::move(order_.begin() + 1, order_.begin() + static_cast<std::ptrdiff_t>(num_reading_),
              order_.begin());
    --num_reading_;
    map(oldest);
    return oldest;
}

bool Readback::busy() const noexcept {
    return std::any_of(entries.begin(), entries.end(), [](const RingEntry& entry) {
        return entry.state.load(std::memory_order_acquire) == EntryState::mapped;
    });
}

bool Readback::in_flight() const noexcept {
    return std::any_of(entries.begin(), entries.end(), [](const RingEntry& entry) {
        return entry.state.load(std::memory_order_acquire) != EntryState::free;
    });
}

void Readback::release() noexcept {
    const GlCalls& gl = calls();
    for (RingEntry& entry : entries) {
        unmap(&entry);
        for (PlaneImage& plane : entry.planes) {
            if (plane.buffer != 0) gl.DeleteBuffers(1, &plane.buffer);
        }
        if (entry.fence != nullptr) gl.DeleteSync(entry.fence);
    }
    if (resolve_framebuffer_ != 0) {
        gl.DeleteFramebuffers(1, &resolve_framebuffer_);
        gl.DeleteRenderbuffers(1, &resolve_color_);
        gl.DeleteRenderbuffers(1, &resolve_depth_);
    }
    forget();
}

void Readback::forget() noexcept {
    for (RingEntry& entry : entries) {
        entry.planes = {};
        entry.fence = nullptr;
        entry.state.store(EntryState::free, std::memory_order_relaxed);
    }
    num_reading_ = 0;
    resolve_framebuffer_ = resolve_color_ = resolve_depth_ = 0;
    resolve_format_ = 0;
    resolve_size_ = {};
}

}  // namespace realmaster::opengl
