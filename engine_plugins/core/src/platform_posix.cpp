// platform.h for Linux. The client's ring is a memfd, sealed against shrinking, so that neither
// side's death leaves a file behind and no access can fault; its name is /proc/PID/fd/N.
#include <arpa/inet.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <new>
#include <poll.h>
#include <pthread.h>
#include <csignal>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "platform.h"
#include "realmaster/plugin.h"

namespace realmaster {

std::int64_t now_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

namespace platform {

std::uint32_t process_id() noexcept { return static_cast<std::uint32_t>(::getpid()); }

std::uint8_t* reserve_memory(std::size_t num_bytes) noexcept {
    void* data =
        ::mmap(nullptr, num_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return data == MAP_FAILED ? nullptr : static_cast<std::uint8_t*>(data);
}

bool commit_memory(std::uint8_t* data, std::size_t num_bytes) noexcept {
    return ::mprotect(data, num_bytes, PROT_READ | PROT_WRITE) == 0;
}

void release_memory(std::uint8_t* data, std::size_t num_bytes) noexcept {
    if (data != nullptr) {
        ::munmap(data, num_bytes);
    }
}

// --- wake-up ---------------------------------------------------------------------------------

bool Wake::open() noexcept {
    handle_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return handle_ != -1;
}

void Wake::notify() noexcept {
    const std::uint64_t one = 1;
    const ssize_t written = ::write(static_cast<int>(handle_), &one, sizeof one);
    static_cast<void>(written);  // full: it is notified already
}

bool Wake::wait(std::uint32_t timeout_ms) noexcept {
    pollfd descriptor{static_cast<int>(handle_), POLLIN, 0};
    ::poll(&descriptor, 1, static_cast<int>(timeout_ms));
    std::uint64_t count = 0;
    return ::read(static_cast<int>(handle_), &count, sizeof count) == sizeof count;
}

void Wake::close() noexcept {
    if (handle_ != -1) {
        ::close(static_cast<int>(handle_));
        handle_ = -1;
    }
}

// --- thread ---------------------------------------------------------------------------------

struct ThreadState {
    pthread_t thread{};
    Thread::Main main = nullptr;
    void* argument = nullptr;
    std::atomic<bool> done{false};
    bool joined = false;
    Wake finished;
};

bool Thread::start(Main main, void* argument) noexcept {
    state_.reset(new (std::nothrow) ThreadState);
    if (state_ == nullptr || !state_->finished.open()) {
        return false;
    }
    state_->main = main;
    state_->argument = argument;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the thread
    auto* kept = new (std::nothrow) std::shared_ptr<ThreadState>(state_);
    const bool started =
        kept != nullptr &&
        ::pthread_create(&state_->thread, nullptr,
                         [](void* argument_) -> void* {
                             auto* owned = static_cast<std::shared_ptr<ThreadState>*>(argument_);
                             const std::shared_ptr<ThreadState> state = *owned;
                             delete owned;
                             state->main(state->argument);
                             state->done.store(true);
                             state->finished.notify();
                             return nullptr;
                         },
                         kept) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!started) {
        delete kept;
    }
    return started;
}

bool Thread::join(std::uint32_t timeout_ms) noexcept {
    if (!state_->done.load()) {
        state_->finished.wait(timeout_ms);
    }
    if (!state_->done.load()) {
        ::pthread_detach(state_->thread);
        return false;
    }
    ::pthread_join(state_->thread, nullptr);
    return true;
}

// --- connection ---------------------------------------------------------------------------------

namespace {

// Sockets that a forked child must not keep open: the client would not notice the parent's death.
std::atomic<int> open_sockets[32];
std::atomic<bool> watches_forks{false};

void close_in_child() {
    for (std::atomic<int>& entry : open_sockets) {
        const int handle = entry.exchange(0) - 1;
        if (handle >= 0) {
            ::close(handle);
        }
    }
}

void remember(int handle) noexcept {
    if (!watches_forks.exchange(true)) {
        ::pthread_atfork(nullptr, nullptr, close_in_child);
    }
    for (std::atomic<int>& entry : open_sockets) {
        int empty = 0;
        if (entry.compare_exchange_strong(empty, handle + 1)) {
            return;
        }
    }
}

void forget(int handle) noexcept {
    for (std::atomic<int>& entry : open_sockets) {
        int mine = handle + 1;
        if (entry.compare_exchange_strong(mine, 0)) {
            return;
        }
    }
}

bool parse(const char* host, std::uint16_t port, sockaddr_in* address) noexcept {
    *address = {};
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    const char* numeric = std::strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    return ::inet_pton(AF_INET, numeric, &address->sin_addr) == 1 &&
           (ntohl(address->sin_addr.s_addr) >> 24) == 127;
}

}  // namespace

bool is_loopback(const char* host) noexcept {
    sockaddr_in address{};
    return parse(host, 1, &address);
}

Io Socket::connect(const char* host, std::uint16_t port) noexcept {
    close();
    sockaddr_in address{};
    if (!parse(host, port, &address)) {
        return Io::broken;
    }
    const int handle = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (handle == -1) {
        return Io::broken;
    }
    handle_ = handle;
    remember(handle);
    const int on = 1;
    ::setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(handle, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        return Io::done;
    }
    if (errno == EINPROGRESS) {
        return Io::later;
    }
    close();
    return Io::broken;
}

Io Socket::connected() noexcept {
    pollfd descriptor{static_cast<int>(handle_), POLLOUT, 0};
    if (::poll(&descriptor, 1, 0) == 0) {
        return Io::later;
    }
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(static_cast<int>(handle_), SOL_SOCKET, SO_ERROR, &error, &size);
    return error == 0 ? Io::done : Io::broken;
}

Io Socket::send(const Slice* slices, std::size_t count, std::size_t* sent) noexcept {
    iovec vectors[72];
    const std::size_t used = std::min(count, std::size(vectors));
    for (std::size_t index = 0; index < used; ++index) {
        vectors[index] = {const_cast<std::uint8_t*>(slices[index].data), slices[index].size};
    }
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = used;
    *sent = 0;
    ssize_t result = -1;
    do {
        result = ::sendmsg(static_cast<int>(handle_), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (result == -1 && errno == EINTR);
    if (result >= 0) {
        *sent = static_cast<std::size_t>(result);
        return Io::done;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ? Io::later : Io::broken;
}

Io Socket::receive(std::uint8_t* data, std::size_t capacity, std::size_t* received) noexcept {
    *received = 0;
    ssize_t result = -1;
    do {
        result = ::recv(static_cast<int>(handle_), data, capacity, MSG_DONTWAIT);
    } while (result == -1 && errno == EINTR);
    if (result > 0) {
        *received = static_cast<std::size_t>(result);
        return Io::done;
    }
    return result == -1 && (errno == EAGAIN || errno == EWOULDBLOCK) ? Io::later : Io::broken;
}

void Socket::close() noexcept {
    if (handle_ != -1) {
        forget(static_cast<int>(handle_));
        ::close(static_cast<int>(handle_));
        handle_ = -1;
    }
}

void Socket::wait(Wake* wake, bool to_write, std::uint32_t timeout_ms) noexcept {
    const auto events = static_cast<short>(to_write ? POLLIN | POLLOUT : POLLIN);
    pollfd descriptors[2] = {{static_cast<int>(wake->handle()), POLLIN, 0},
                             {static_cast<int>(handle_), events, 0}};
    ::poll(descriptors, is_open() ? 2 : 1, static_cast<int>(timeout_ms));
    if (descriptors[0].revents != 0) {
        wake->wait(0);
    }
}

// --- shared memory -------------------------------------------------------------------------------

std::shared_ptr<SharedMemory> SharedMemory::open(std::string_view name,
                                                 std::uint64_t num_bytes) noexcept {
    char path[64];
    unsigned process = 0;
    unsigned descriptor = 0;
    char rest = 0;
    const std::string_view prefix = "/proc/";
    if (name.size() >= sizeof path || name.substr(0, prefix.size()) != prefix) {
        return nullptr;
    }
    std::memcpy(path, name.data(), name.size());
    path[name.size()] = '\0';
    if (std::sscanf(path, "/proc/%9u/fd/%9u%c", &process, &descriptor, &rest) != 2) {
        return nullptr;
    }
    const int handle = ::open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (handle == -1) {
        return nullptr;
    }
    std::shared_ptr<SharedMemory> memory;
    struct stat status{};
    const int seals = ::fcntl(handle, F_GET_SEALS);
    if (seals != -1 && (seals & F_SEAL_SHRINK) != 0 && ::fstat(handle, &status) == 0 &&
        static_cast<std::uint64_t>(status.st_size) >= num_bytes) {
        void* data = ::mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
        if (data != MAP_FAILED) {
            memory.reset(new (std::nothrow) SharedMemory);
            if (memory != nullptr) {
                memory->data_ = static_cast<std::uint8_t*>(data);
                memory->num_bytes_ = num_bytes;
            } else {
                ::munmap(data, num_bytes);
            }
        }
    }
    ::close(handle);
    return memory;
}

SharedMemory::~SharedMemory() {
    if (data_ != nullptr) {
        ::munmap(data_, num_bytes_);
    }
}

}  // namespace platform
}  // namespace realmaster
