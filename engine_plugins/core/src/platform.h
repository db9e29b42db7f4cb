// What differs between systems: time, memory, one thread, a wake-up, one TCP connection, the shared
// ring. All calls are bounded and none raises a signal. platform_posix.cpp, platform_windows.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace realmaster::platform {

// Whether this is still the process that made it (a forked child has no worker).
std::uint32_t process_id() noexcept;

// Address space, page-aligned; nullptr where there is none.
std::uint8_t* reserve_memory(std::size_t num_bytes) noexcept;
// Makes the first num_bytes of it usable: zeroed, and paid for when touched. More may follow.
bool commit_memory(std::uint8_t* data, std::size_t num_bytes) noexcept;
void release_memory(std::uint8_t* data, std::size_t num_bytes) noexcept;

// Ends a wait from another thread; never waits itself.
class Wake {
public:
    Wake() noexcept = default;
    ~Wake() { close(); }
    Wake(const Wake&) = delete;
    Wake& operator=(const Wake&) = delete;

    bool open() noexcept;
    void notify() noexcept;
    bool wait(std::uint32_t timeout_ms) noexcept;  // whether it was notified
    void close() noexcept;
    std::intptr_t handle() const noexcept { return handle_; }

private:
    std::intptr_t handle_ = -1;
};

// One thread that the host's signals do not reach.
class Thread {
public:
    using Main = void (*)(void*);
    bool start(Main main, void* argument) noexcept;
    bool join(std::uint32_t timeout_ms) noexcept;  // false: it still runs

private:
    std::shared_ptr<struct ThreadState> state_;
};

struct Slice {
    const std::uint8_t* data;
    std::size_t size;
};

enum class Io : std::uint8_t { done, later, broken };

// One non-blocking connection to a loopback address; closed in forked children.
class Socket {
public:
    Socket() noexcept = default;
    ~Socket() { close(); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    // Starts to connect. broken: host is no loopback address, or nobody listens.
    Io connect(const char* host, std::uint16_t port) noexcept;
    Io connected() noexcept;  // asked after `wait` until it is not `later`
    Io send(const Slice* slices, std::size_t count, std::size_t* sent) noexcept;
    Io receive(std::uint8_t* data, std::size_t capacity, std::size_t* received) noexcept;
    void close() noexcept;
    bool is_open() const noexcept { return handle_ != -1; }

    // Waits until there is something to read, room to write if asked for, `wake`, or the time is
    // over. An open socket is not needed.
    void wait(Wake* wake, bool to_write, std::uint32_t timeout_ms) noexcept;

private:
    std::intptr_t handle_ = -1;
    [[maybe_unused]] std::intptr_t event_ = -1;  // Windows
};

bool is_loopback(const char* host) noexcept;

// The client's ring, mapped; released with the last reference.
class SharedMemory {
public:
    // nullptr where the name is not of this system, not to be had, or smaller than num_bytes.
    static std::shared_ptr<SharedMemory> open(std::string_view name,
                                              std::uint64_t num_bytes) noexcept;
    ~SharedMemory();
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    std::uint8_t* data() const noexcept { return data_; }

private:
    SharedMemory() noexcept = default;
    std::uint8_t* data_ = nullptr;
    std::size_t num_bytes_ = 0;
    [[maybe_unused]] std::intptr_t handle_ = -1;  // Windows
};

}  // namespace realmaster::platform
