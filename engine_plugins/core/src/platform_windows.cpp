// platform.h for Windows 7 and later. The client's ring is a named section backed by the page file,
// which vanishes with its last handle.
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <new>

#include "platform.h"
#include "realmaster/plugin.h"

namespace realmaster {

// Python's time.monotonic_ns reads the same counter.
std::int64_t now_ns() noexcept {
    LARGE_INTEGER count;
    LARGE_INTEGER rate;
    ::QueryPerformanceCounter(&count);
    ::QueryPerformanceFrequency(&rate);
    const std::int64_t seconds = count.QuadPart / rate.QuadPart;
    const std::int64_t rest = count.QuadPart % rate.QuadPart;
    return seconds * 1'000'000'000 + rest * 1'000'000'000 / rate.QuadPart;
}

namespace platform {

namespace {

HANDLE as_handle(std::intptr_t handle) noexcept { return reinterpret_cast<HANDLE>(handle); }
SOCKET as_socket(std::intptr_t handle) noexcept { return static_cast<SOCKET>(handle); }

bool start_sockets() noexcept {
    static const bool started = [] {
        WSADATA data;
        return ::WSAStartup(MAKEWORD(2, 2), &data) == 0;
    }();
    return started;
}

}  // namespace

std::uint32_t process_id() noexcept { return ::GetCurrentProcessId(); }

std::uint8_t* reserve_memory(std::size_t num_bytes) noexcept {
    return static_cast<std::uint8_t*>(
        ::VirtualAlloc(nullptr, num_bytes, MEM_RESERVE, PAGE_READWRITE));
}

bool commit_memory(std::uint8_t* data, std::size_t num_bytes) noexcept {
    return ::VirtualAlloc(data, num_bytes, MEM_COMMIT, PAGE_READWRITE) != nullptr;
}

void release_memory(std::uint8_t* data, std::size_t) noexcept {
    if (data != nullptr) {
        ::VirtualFree(data, 0, MEM_RELEASE);
    }
}

// --- wake-up ---------------------------------------------------------------------------------

bool Wake::open() noexcept {
    const HANDLE event = ::CreateEventW(nullptr, FALSE, FALSE, nullptr);
    if (event == nullptr) {
        return false;
    }
    handle_ = reinterpret_cast<std::intptr_t>(event);
    return true;
}

void Wake::notify() noexcept { ::SetEvent(as_handle(handle_)); }

bool Wake::wait(std::uint32_t timeout_ms) noexcept {
    return ::WaitForSingleObject(as_handle(handle_), timeout_ms) == WAIT_OBJECT_0;
}

void Wake::close() noexcept {
    if (handle_ != -1) {
        ::CloseHandle(as_handle(handle_));
        handle_ = -1;
    }
}

// --- thread ---------------------------------------------------------------------------------

struct ThreadState {
    HANDLE thread = nullptr;
    Thread::Main main = nullptr;
    void* argument = nullptr;
};

namespace {

DWORD WINAPI thread_main(void* argument) noexcept {
    const auto* state = static_cast<const ThreadState*>(argument);
    state->main(state->argument);
    return 0;
}

}  // namespace

bool Thread::start(Main main, void* argument) noexcept {
    state_.reset(new (std::nothrow) ThreadState);
    if (state_ == nullptr || !start_sockets()) {
        return false;
    }
    state_->main = main;
    state_->argument = argument;
    state_->thread = ::CreateThread(nullptr, 0, thread_main, state_.get(), 0, nullptr);
    return state_->thread != nullptr;
}

bool Thread::join(std::uint32_t timeout_ms) noexcept {
    const bool ended = ::WaitForSingleObject(state_->thread, timeout_ms) == WAIT_OBJECT_0;
    ::CloseHandle(state_->thread);
    return ended;
}

// --- connection ---------------------------------------------------------------------------------

namespace {

bool parse(const char* host, std::uint16_t port, sockaddr_in* address) noexcept {
    *address = {};
    address->sin_family = AF_INET;
    const char* at = std::strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    std::uint32_t value = 0;  // WSAStartup is not needed for this, unlike for inet_pton
    int num_parts = 0;
    for (; num_parts < 4; ++num_parts) {
        std::uint32_t part = 0;
        int num_digits = 0;
        for (; *at >= '0' && *at <= '9' && num_digits < 3; ++at, ++num_digits) {
            part = part * 10 + static_cast<std::uint32_t>(*at - '0');
        }
        if (num_digits == 0 || part > 255 || *at != (num_parts < 3 ? '.' : '\0')) {
            return false;
        }
        value = value << 8 | part;
        at += num_parts < 3;
    }
    // Network order without Winsock's help: Windows is little-endian.
    address->sin_addr.s_addr =
        value >> 24 | (value >> 8 & 0xff00) | (value << 8 & 0xff0000) | value << 24;
    address->sin_port = static_cast<std::uint16_t>(port >> 8 | port << 8);
    return value >> 24 == 127;
}

}  // namespace

bool is_loopback(const char* host) noexcept {
    sockaddr_in address;
    return parse(host, 1, &address);
}

Io Socket::connect(const char* host, std::uint16_t port) noexcept {
    close();
    sockaddr_in address;
    if (!parse(host, port, &address)) {
        return Io::broken;
    }
    const SOCKET handle = ::WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, nullptr, 0,
                                       WSA_FLAG_OVERLAPPED);
    const WSAEVENT event = ::WSACreateEvent();
    if (handle == INVALID_SOCKET || event == WSA_INVALID_EVENT) {
        if (handle != INVALID_SOCKET) {
            ::closesocket(handle);
        }
        if (event != WSA_INVALID_EVENT) {
            ::WSACloseEvent(event);
        }
        return Io::broken;
    }
    handle_ = static_cast<std::intptr_t>(handle);
    event_ = reinterpret_cast<std::intptr_t>(event);
    ::SetHandleInformation(reinterpret_cast<HANDLE>(handle), HANDLE_FLAG_INHERIT, 0);
    const BOOL on = TRUE;
    ::setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&on), sizeof on);
    // Makes the socket non-blocking as well.
    ::WSAEventSelect(handle, event, FD_CONNECT | FD_READ | FD_WRITE | FD_CLOSE);
    if (::connect(handle, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        return Io::done;
    }
    if (::WSAGetLastError() == WSAEWOULDBLOCK) {
        return Io::later;
    }
    close();
    return Io::broken;
}

Io Socket::connected() noexcept {
    const SOCKET handle = as_socket(handle_);
    fd_set writable;
    fd_set failed;
    FD_ZERO(&writable);
    FD_ZERO(&failed);
    FD_SET(handle, &writable);
    FD_SET(handle, &failed);
    timeval at_once{0, 0};
    if (::select(0, nullptr, &writable, &failed, &at_once) == 0) {
        return Io::later;
    }
    return FD_ISSET(handle, &failed) ? Io::broken : Io::done;
}

Io Socket::send(const Slice* slices, std::size_t count, std::size_t* sent) noexcept {
    WSABUF buffers[72];
    const std::size_t used = std::min(count, std::size(buffers));
    for (std::size_t index = 0; index < used; ++index) {
        buffers[index].buf =
            reinterpret_cast<char*>(const_cast<std::uint8_t*>(slices[index].data));
        buffers[index].len = static_cast<ULONG>(slices[index].size);
    }
    DWORD taken = 0;
    *sent = 0;
    if (::WSASend(as_socket(handle_), buffers, static_cast<DWORD>(used), &taken, 0, nullptr,
                  nullptr) == 0) {
        *sent = taken;
        return Io::done;
    }
    return ::WSAGetLastError() == WSAEWOULDBLOCK ? Io::later : Io::broken;
}

Io Socket::receive(std::uint8_t* data, std::size_t capacity, std::size_t* received) noexcept {
    *received = 0;
    const int result = ::recv(as_socket(handle_), reinterpret_cast<char*>(data),
                              static_cast<int>(capacity), 0);
    if (result > 0) {
        *received = static_cast<std::size_t>(result);
        return Io::done;
    }
    return result < 0 && ::WSAGetLastError() == WSAEWOULDBLOCK ? Io::later : Io::broken;
}

void Socket::close() noexcept {
    if (handle_ != -1) {
        ::closesocket(as_socket(handle_));
        ::WSACloseEvent(reinterpret_cast<WSAEVENT>(event_));
        handle_ = event_ = -1;
    }
}

void Socket::wait(Wake* wake, bool, std::uint32_t timeout_ms) noexcept {
    // FD_WRITE is told once after a send would have blocked, so it need not be asked for.
    const HANDLE handles[2] = {as_handle(wake->handle()), as_handle(event_)};
    const DWORD result =
        ::WaitForMultipleObjects(is_open() ? 2 : 1, handles, FALSE, timeout_ms);
    if (is_open() && result != WAIT_TIMEOUT) {
        WSANETWORKEVENTS events;  // resets the event and arms it anew
        ::WSAEnumNetworkEvents(as_socket(handle_), reinterpret_cast<WSAEVENT>(event_), &events);
    }
}

// --- shared memory -------------------------------------------------------------------------------

std::shared_ptr<SharedMemory> SharedMemory::open(std::string_view name,
                                                 std::uint64_t num_bytes) noexcept {
    constexpr std::string_view prefix = "Local\\realmaster-";
    char path[96];
    if (name.size() >= sizeof path || name.substr(0, prefix.size()) != prefix) {
        return nullptr;
    }
    std::memcpy(path, name.data(), name.size());
    path[name.size()] = '\0';
    const HANDLE handle = ::OpenFileMappingA(FILE_MAP_READ | FILE_MAP_WRITE, FALSE, path);
    if (handle == nullptr) {
        return nullptr;
    }
    // Fails where the section is smaller, so nothing beyond it can be reached.
    void* data = ::MapViewOfFile(handle, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0,
                                 static_cast<SIZE_T>(num_bytes));
    std::shared_ptr<SharedMemory> memory;
    if (data != nullptr) {
        memory.reset(new (std::nothrow) SharedMemory);
    }
    if (memory == nullptr) {
        if (data != nullptr) {
            ::UnmapViewOfFile(data);
        }
        ::CloseHandle(handle);
        return nullptr;
    }
    memory->data_ = static_cast<std::uint8_t*>(data);
    memory->num_bytes_ = static_cast<std::size_t>(num_bytes);
    memory->handle_ = reinterpret_cast<std::intptr_t>(handle);
    return memory;
}

SharedMemory::~SharedMemory() {
    ::UnmapViewOfFile(data_);
    ::CloseHandle(as_handle(handle_));
}

}  // namespace platform
}  // namespace realmaster
