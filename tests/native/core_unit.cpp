// Unit tests of the core's parts; run plain and under ASan, UBSan and TSan. Prints what failed.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "crc32.h"
#include "messages.h"
#include "msgpack.h"
#include "platform.h"
#include "slots.h"
#include "spsc.h"
#include "zmtp.h"

using namespace realmaster;

namespace {

int failures = 0;

void check(bool holds, const char* what, int line) {
    if (!holds) {
        ++failures;
        std::printf("line %d: %s\n", line, what);
    }
}

#define CHECK(condition) check((condition), #condition, __LINE__)

std::vector<std::uint8_t> packed_integer(std::int64_t value) {
    std::vector<std::uint8_t> bytes(16);
    msgpack::Writer writer(bytes.data(), bytes.size());
    writer.integer(value);
    bytes.resize(writer.size());
    return bytes;
}

void integers_survive() {
    const std::int64_t edges[] = {0,      1,     127,   128,        255,        256,
                                  65535,  65536, -1,    -32,        -33,        -128,
                                  -129,   -32768, -32769, INT32_MIN, INT64_MIN, INT64_MAX,
                                  INT32_MAX, std::int64_t{UINT32_MAX}, std::int64_t{1} << 40};
    for (const std::int64_t value : edges) {
        const auto bytes = packed_integer(value);
        msgpack::Reader reader(bytes.data(), bytes.size());
        msgpack::Item item;
        CHECK(reader.next(&item) && item.type == msgpack::Type::integer && reader.at_end());
        CHECK(item.integer == value && !item.too_large);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            msgpack::Reader cut(bytes.data(), size);
            CHECK(!cut.next(&item));
        }
    }
}

void a_full_writer_writes_nothing_beyond() {
    std::uint8_t bytes[8];
    std::memset(bytes, 0xee, sizeof bytes);
    msgpack::Writer writer(bytes, 4);
    writer.text("abc");
    CHECK(!writer.overflowed() || writer.size() == 0);  // keeps room for the longest head
    writer.number(1.0);
    writer.text("too long for it");
    CHECK(writer.overflowed() && writer.size() <= 4);
    CHECK(bytes[4] == 0xee);
}

void utf8_is_that_of_the_rfc() {
    using msgpack::is_utf8;
    CHECK(is_utf8("") && is_utf8("a\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80"));
    for (const char* bad : {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80",
                            "\xc3", "\xff", "\xf0\x8f\xbf\xbf"}) {
        CHECK(!is_utf8(bad));
    }
    CHECK(msgpack::cut_utf8("a\xe2\x82\xac", 3) == "a");
    CHECK(msgpack::cut_utf8("a\xe2\x82\xac", 4).size() == 4);
}

void deep_and_long_values_are_refused() {
    std::vector<std::uint8_t> nested(9, 0x91);
    nested.push_back(0);
    msgpack::Reader deep(nested.data(), nested.size());
    CHECK(!deep.skip(msgpack::max_depth));
    msgpack::Reader fine(nested.data() + 1, nested.size() - 1);
    CHECK(fine.skip(msgpack::max_depth) && fine.at_end());
    const std::uint8_t huge[] = {0xdd, 0xff, 0xff, 0xff, 0xff};
    msgpack::Reader bomb(huge, sizeof huge);
    CHECK(!bomb.skip(msgpack::max_depth));
    const std::uint8_t text[] = {0xdb, 0xff, 0xff, 0xff, 0xff, 'x'};
    msgpack::Reader long_text(text, sizeof text);
    CHECK(!long_text.skip(msgpack::max_depth));
}

void crc_is_zlibs() {
    const char* digits = "123456789";
    CHECK(crc32(reinterpret_cast<const std::uint8_t*>(digits), 9) == 0xcbf43926);
    CHECK(crc32(nullptr, 0) == 0);
}

void frames_of_zmtp_have_the_right_heads() {
    std::uint8_t head[zmtp::max_head_bytes];
    CHECK(zmtp::write_head(head, 255, true, false) == 2 && head[0] == 1 && head[1] == 255);
    CHECK(zmtp::write_head(head, 256, false, false) == 9 && head[0] == 2 && head[7] == 1);
    std::uint8_t ready[zmtp::max_command_frame];
    CHECK(zmtp::write_ready(ready) == std::size_t{2} + ready[1] && ready[0] == 4);
}

void bad_peers_fail_with_a_reason() {
    zmtp::Decoder decoder;
    std::uint8_t greeting[zmtp::greeting_bytes];
    zmtp::write_greeting(greeting);
    const auto fault_of_greeting = [&](std::size_t at, std::uint8_t value) {
        std::uint8_t changed[zmtp::greeting_bytes];
        std::memcpy(changed, greeting, sizeof changed);
        changed[at] = value;
        decoder.reset();
        const std::uint8_t* data = changed;
        std::size_t size = sizeof changed;
        return decoder.feed(&data, &size) == zmtp::Event::failed && decoder.fault()[0] != '\0';
    };
    CHECK(fault_of_greeting(0, 'H'));   // a web server
    CHECK(fault_of_greeting(10, 2));    // ZMTP 2
    CHECK(fault_of_greeting(12, 'C'));  // another mechanism
    decoder.reset();
    const std::uint8_t* data = greeting;
    std::size_t size = sizeof greeting;
    CHECK(decoder.feed(&data, &size) == zmtp::Event::greeted);
    const std::uint8_t early[] = {0, 1, 'x'};
    data = early;
    size = sizeof early;
    CHECK(decoder.feed(&data, &size) == zmtp::Event::failed);
}

void descriptions_are_checked() {
    CHECK(fault_of({"color", 4, 3, DType::u8, 4, 0}) == nullptr);
    CHECK(fault_of({"x_mine", 4, 3, DType::i16, 3, 26}) == nullptr);
    CHECK(fault_of({"color", 4, 3, DType::f32, 4, 0}) != nullptr);
    CHECK(fault_of({"color", 4, 3, DType::u8, 4, 15}) != nullptr);
    CHECK(fault_of({"depth", 4, 3, DType::f32, 1, 18}) != nullptr);
    CHECK(fault_of({"color", 0, 3, DType::u8, 4, 0}) != nullptr);
    CHECK(fault_of({"color", 4, 16385, DType::u8, 4, 0}) != nullptr);
    CHECK(fault_of({"", 4, 3, DType::u8, 4, 0}) != nullptr);
    CHECK(fault_of({nullptr, 4, 3, DType::u8, 4, 0}) != nullptr);
    Camera camera;
    CHECK(is_valid(camera));
    camera.near_m = camera.far_m;
    CHECK(!is_valid(camera));
    camera = Camera{};
    camera.world_from_camera_prev[15] = std::numeric_limits<double>::quiet_NaN();
    CHECK(!is_valid(camera));
}

void the_pool_grows_but_not_beyond_its_limit() {
    SlotPool pool;
    CHECK(pool.open(2, 4096, 1 << 16));
    Slot* first = pool.claim();
    Slot* second = pool.claim();
    CHECK(first != nullptr && second != nullptr && pool.claim() == nullptr && !pool.has_free());
    CHECK(first->add({"color", 16, 16, DType::u8, 4, 0}, pool.max_bytes()) != nullptr);
    CHECK(first->add({"color", 16, 16, DType::u8, 4, 0}, pool.max_bytes()) == nullptr);
    CHECK(first->cause == Cause::encode);
    std::uint8_t* data = second->add({"color", 128, 128, DType::u8, 4, 0}, pool.max_bytes());
    CHECK(data != nullptr && second->own_bytes == 128 * 128 * 4 && !second->is_shared());
    std::memset(data, 1, 128 * 128 * 4);
    CHECK(second->add({"depth", 16, 16, DType::f32, 1, 0}, pool.max_bytes()) == nullptr);
    CHECK(second->cause == Cause::oversize);
    pool.free(second);
    CHECK(pool.slot_bytes() == 4096);
    pool.remember(8000);
    pool.remember(100);
    CHECK(pool.slot_bytes() == 8192);  // what the next client is asked for
    second = pool.claim();
    pool.free(first);
    pool.free(second);
}

void a_queue_keeps_order_between_threads() {
    SpscQueue<int, 8> queue;
    constexpr int num_items = 20000;
    std::thread producer([&] {
        for (int item = 0; item < num_items;) {
            item += queue.push(item) ? 1 : 0;
        }
    });
    int expected = 0;
    while (expected < num_items) {
        if (const int* item = queue.front()) {
            CHECK(*item == expected);
            ++expected;
            queue.pop();
        } else {
            std::this_thread::yield();
        }
    }
    producer.join();
}

void slots_pass_between_threads() {
    SlotPool pool;
    CHECK(pool.open(4, 4096, 1 << 20));
    SpscQueue<std::uint32_t, 64> order;
    std::thread worker([&] {
        for (std::uint64_t expected = 0; expected < 5000;) {
            const std::uint32_t* index = order.front();
            if (index == nullptr ||
                pool[*index].state.load(std::memory_order_acquire) != SlotState::submitted) {
                std::this_thread::yield();
                continue;
            }
            Slot& slot = pool[*index];
            CHECK(slot.buffers[0].data[0] == static_cast<std::uint8_t>(slot.seq) && slot.seq == expected);
            ++expected;
            order.pop();
            pool.free(&slot);
            pool.remember(4096 + 8 * expected);
        }
    });
    for (std::uint64_t seq = 0; seq < 5000;) {
        Slot* slot = pool.claim();
        if (slot == nullptr) {
            std::this_thread::yield();
            continue;
        }
        slot->seq = seq;
        order.push(slot->index);
        slot->add({"semantic", 16, 16, DType::u8, 1, 0}, pool.max_bytes())[0] =
            static_cast<std::uint8_t>(seq);
        slot->state.store(SlotState::submitted, std::memory_order_release);
        ++seq;
    }
    worker.join();
}

#ifdef _WIN32
void only_the_clients_ring_is_opened() {
    const char* name = "Local\\realmaster-unit-test";
    HANDLE section =
        CreateFileMappingA(INVALID_HANDLE_VALUE, nullptr, PAGE_READWRITE, 0, 8192, name);
    auto* ours = static_cast<char*>(MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, 8192));
    ours[8191] = 'x';
    CHECK(platform::SharedMemory::open(name, 1 << 20) == nullptr);  // larger than it is
    CHECK(platform::SharedMemory::open("Local\\another", 8192) == nullptr);
    CHECK(platform::SharedMemory::open("/proc/1/fd/1", 8192) == nullptr);
    auto memory = platform::SharedMemory::open(name, 8192);
    CHECK(memory != nullptr && memory->data()[8191] == 'x');
    UnmapViewOfFile(ours);
    CloseHandle(section);
    CHECK(memory != nullptr && memory->data()[8191] == 'x');  // outlives the client
    memory.reset();
    CHECK(platform::SharedMemory::open(name, 8192) == nullptr);  // and leaves nothing behind
}
#else
std::string name_of_descriptor(int descriptor) {
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(descriptor);
}

void only_the_clients_ring_is_opened() {
    const int descriptor = memfd_create("unit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(ftruncate(descriptor, 8192) == 0 && pwrite(descriptor, "x", 1, 8191) == 1);
    const std::string name = name_of_descriptor(descriptor);
    CHECK(platform::SharedMemory::open(name, 8192) == nullptr);  // could shrink under us
    CHECK(fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    CHECK(platform::SharedMemory::open(name, 8193) == nullptr);
    CHECK(platform::SharedMemory::open(name + "/", 8192) == nullptr);
    CHECK(platform::SharedMemory::open("/proc/self/exe", 1) == nullptr);
    CHECK(platform::SharedMemory::open("/dev/zero", 1) == nullptr);
    char file_name[] = "/tmp/realmaster-unit-XXXXXX";
    const int file = mkstemp(file_name);
    CHECK(ftruncate(file, 8192) == 0);
    CHECK(platform::SharedMemory::open(name_of_descriptor(file), 8192) == nullptr);  // not a memfd
    close(file);
    unlink(file_name);
    const auto memory = platform::SharedMemory::open(name, 8192);
    close(descriptor);
    CHECK(memory != nullptr && memory->data()[8191] == 'x');  // outlives the client
}
#endif

void only_loopback_is_connected_to() {
    CHECK(platform::is_loopback("127.0.0.1") && platform::is_loopback("127.1.2.3"));
    CHECK(platform::is_loopback("localhost"));
    for (const char* other : {"10.0.0.1", "0.0.0.0", "127.0.0", "127.0.0.1.", "example.org", "",
                              "127.0.0.256", "1127.0.0.1", "127.0.0.1 "}) {
        CHECK(!platform::is_loopback(other));
    }
}

}  // namespace

int main() {
    only_the_clients_ring_is_opened();
    only_loopback_is_connected_to();
    integers_survive();
    a_full_writer_writes_nothing_beyond();
    utf8_is_that_of_the_rfc();
    deep_and_long_values_are_refused();
    crc_is_zlibs();
    frames_of_zmtp_have_the_right_heads();
    bad_peers_fail_with_a_reason();
    descriptions_are_checked();
    the_pool_grows_but_not_beyond_its_limit();
    a_queue_keeps_order_between_threads();
    slots_pass_between_threads();
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
