// The writing half of msgpack.h.
#include <cstring>

#include "msgpack.h"

namespace realmaster::msgpack {

void Writer::put(std::uint8_t byte) noexcept {
    if (size_ < capacity_) {
        data_[size_++] = byte;
    } else {
        overflowed_ = true;
    }
}

void Writer::put_big_endian(std::uint8_t tag, std::uint64_t value, int num_bytes) noexcept {
    if (capacity_ - size_ < static_cast<std::size_t>(num_bytes) + 1) {
        overflowed_ = true;
        return;
    }
    put(tag);
    for (int shift = 8 * (num_bytes - 1); shift >= 0; shift -= 8) {
        put(static_cast<std::uint8_t>(value >> shift));
    }
}

void Writer::put_collection(std::uint8_t fixed, std::uint8_t tag16, std::size_t count) noexcept {
    if (count < 16) {
        put(static_cast<std::uint8_t>(fixed | count));
    } else {
        put_big_endian(tag16, count, 2);
        overflowed_ = overflowed_ || count > 0xffff;
    }
}

void Writer::nil() noexcept { put(0xc0); }

void Writer::boolean(bool value) noexcept { put(value ? 0xc3 : 0xc2); }

void Writer::count(std::uint64_t value) noexcept {
    if (value < 0x80) {
        put(static_cast<std::uint8_t>(value));
    } else if (value <= 0xff) {
        put_big_endian(0xcc, value, 1);
    } else if (value <= 0xffff) {
        put_big_endian(0xcd, value, 2);
    } else if (value <= 0xffffffff) {
        put_big_endian(0xce, value, 4);
    } else {
        put_big_endian(0xcf, value, 8);
    }
}

void Writer::integer(std::int64_t value) noexcept {
    const auto bits = static_cast<std::uint64_t>(value);
    if (value >= 0) {
        count(bits);
    } else if (value >= -32) {
        put(static_cast<std::uint8_t>(bits));
    } else if (value >= INT8_MIN) {
        put_big_endian(0xd0, bits, 1);
    } else if (value >= INT16_MIN) {
        put_big_endian(0xd1, bits, 2);
    } else if (value >= INT32_MIN) {
        put_big_endian(0xd2, bits, 4);
    } else {
        put_big_endian(0xd3, bits, 8);
    }
}

void Writer::number(double value) noexcept {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    put_big_endian(0xcb, bits, 8);
}

void Writer::text(std::string_view value) noexcept {
    if (value.size() > max_text_bytes || capacity_ - size_ < value.size() + 3) {
        overflowed_ = true;
        return;
    }
    if (value.size() < 32) {
        put(static_cast<std::uint8_t>(0xa0 | value.size()));
    } else if (value.size() <= 0xff) {
        put_big_endian(0xd9, value.size(), 1);
    } else {
        put_big_endian(0xda, value.size(), 2);
    }
    if (!value.empty()) {
        std::memcpy(data_ + size_, value.data(), value.size());
        size_ += value.size();
    }
}

void Writer::array(std::size_t num_items) noexcept { put_collection(0x90, 0xdc, num_items); }

void Writer::map(std::size_t num_pairs) noexcept { put_collection(0x80, 0xde, num_pairs); }

}  // namespace realmaster::msgpack
