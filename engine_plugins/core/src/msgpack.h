// msgpack, as much as the protocol needs: a writer into fixed memory, a reader with limits.
// Spec: github.com/msgpack/msgpack/blob/master/spec.md. Encodings are the shortest ones, as
// Python's msgpack writes them. Knows no messages; allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace realmaster::msgpack {

// What one header may hold at most (PROTOCOL.md, "Header").
constexpr std::size_t max_text_bytes = 16 * 1024;
constexpr std::size_t max_entries = 256;
constexpr int max_depth = 8;

// Appends values; what does not fit sets overflowed() and is not written.
class Writer {
public:
    Writer(std::uint8_t* data, std::size_t capacity) noexcept : data_(data), capacity_(capacity) {}

    void nil() noexcept;
    void boolean(bool value) noexcept;
    void integer(std::int64_t value) noexcept;
    void count(std::uint64_t value) noexcept;
    void number(double value) noexcept;
    void text(std::string_view value) noexcept;
    void array(std::size_t num_items) noexcept;
    void map(std::size_t num_pairs) noexcept;

    std::size_t size() const noexcept { return size_; }
    bool overflowed() const noexcept { return overflowed_; }

private:
    void put(std::uint8_t byte) noexcept;
    void put_big_endian(std::uint8_t tag, std::uint64_t value, int num_bytes) noexcept;
    void put_collection(std::uint8_t fixed, std::uint8_t tag16, std::size_t count) noexcept;

    std::uint8_t* data_;
    std::size_t capacity_;
    std::size_t size_ = 0;
    bool overflowed_ = false;
};

enum class Type : std::uint8_t { nil, boolean, integer, number, text, binary, array, map };

// One value; of a collection only its head, whose items follow.
struct Item {
    Type type = Type::nil;
    bool boolean = false;
    bool too_large = false;     // an integer above int64
    std::int64_t integer = 0;
    double number = 0;
    std::string_view bytes;     // of text (valid UTF-8) and binary
    std::size_t count = 0;      // items of an array, pairs of a map
};

// Reads value after value; false where the bytes are cut short, malformed or above a limit.
class Reader {
public:
    Reader() noexcept : Reader(nullptr, 0) {}
    Reader(const std::uint8_t* data, std::size_t size) noexcept : at_(data), end_(data + size) {}

    bool next(Item* item) noexcept;
    // Passes a whole value, in which collections lie at most `depth` deep.
    bool skip(int depth) noexcept;
    bool at_end() const noexcept { return at_ == end_; }
    const std::uint8_t* at() const noexcept { return at_; }
    std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - at_); }

private:
    bool big_endian(int num_bytes, std::uint64_t* value) noexcept;
    bool read_bytes(std::size_t length, std::string_view* bytes) noexcept;
    bool read_sized(int length_bytes, Type type, Item* item) noexcept;
    bool read_collection(std::size_t count, Type type, Item* item) noexcept;
    bool read_tagged(std::uint8_t tag, Item* item) noexcept;
    bool read_integer(std::uint8_t tag, Item* item) noexcept;

    const std::uint8_t* at_;
    const std::uint8_t* end_;
};

// Whether the bytes are UTF-8 as RFC 3629 has it (no overlong forms, no surrogates).
bool is_utf8(std::string_view text) noexcept;

// At most `capacity` bytes of the text, cut between characters.
std::string_view cut_utf8(std::string_view text, std::size_t capacity) noexcept;

}  // namespace realmaster::msgpack
