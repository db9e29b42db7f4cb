// The reading half of msgpack.h. Every length is held against what is left before it is used.
#include <cstring>

#include "msgpack.h"

namespace realmaster::msgpack {

bool Reader::big_endian(int num_bytes, std::uint64_t* value) noexcept {
    if (end_ - at_ < num_bytes) {
        return false;
    }
    *value = 0;
    for (int index = 0; index < num_bytes; ++index) {
        *value = *value << 8 | *at_++;
    }
    return true;
}

bool Reader::read_bytes(std::size_t length, std::string_view* bytes) noexcept {
    if (length > max_text_bytes || static_cast<std::size_t>(end_ - at_) < length) {
        return false;
    }
    *bytes = {reinterpret_cast<const char*>(at_), length};
    at_ += length;
    return true;
}

bool Reader::read_sized(int length_bytes, Type type, Item* item) noexcept {
    std::uint64_t length = 0;
    item->type = type;
    return big_endian(length_bytes, &length) && length <= max_text_bytes &&
           read_bytes(static_cast<std::size_t>(length), &item->bytes) &&
           (type != Type::text || is_utf8(item->bytes));
}

bool Reader::read_collection(std::size_t count, Type type, Item* item) noexcept {
    item->type = type;
    item->count = count;
    const std::size_t num_values = type == Type::map ? 2 * count : count;
    return count <= max_entries && static_cast<std::size_t>(end_ - at_) >= num_values;
}

bool Reader::read_integer(std::uint8_t tag, Item* item) noexcept {
    item->type = Type::integer;
    const int num_bytes = 1 << (tag & 3);
    std::uint64_t bits = 0;
    if (!big_endian(num_bytes, &bits)) {
        return false;
    }
    if (tag >= 0xd0 && num_bytes < 8) {  // carry the sign up
        const std::uint64_t sign = std::uint64_t{1} << (8 * num_bytes - 1);
        bits = (bits ^ sign) - sign;
    }
    item->too_large = tag == 0xcf && bits > static_cast<std::uint64_t>(INT64_MAX);
    item->integer = static_cast<std::int64_t>(bits);
    return true;
}

bool Reader::read_tagged(std::uint8_t tag, Item* item) noexcept {
    std::uint64_t bits = 0;
    switch (tag) {
        case 0xc0:
            item->type = Type::nil;
            return true;
        case 0xc2:
        case 0xc3:
            item->type = Type::boolean;
            item->boolean = tag == 0xc3;
            return true;
        case 0xc4:
        case 0xc5:
        case 0xc6:
            return read_sized(1 << (tag - 0xc4), Type::binary, item);
        case 0xca: {
            float value = 0;
            if (!big_endian(4, &bits)) {
                return false;
            }
            const auto half = static_cast<std::uint32_t>(bits);
            std::memcpy(&value, &half, sizeof value);
            item->type = Type::number;
            item->number = static_cast<double>(value);
            return true;
        }
        case 0xcb:
            item->type = Type::number;
            if (!big_endian(8, &bits)) {
                return false;
            }
            std::memcpy(&item->number, &bits, sizeof item->number);
            return true;
        case 0xd9:
        case 0xda:
        case 0xdb:
            return read_sized(1 << (tag - 0xd9), Type::text, item);
        case 0xdc:
        case 0xdd:
            return big_endian(tag == 0xdc ? 2 : 4, &bits) &&
                   read_collection(static_cast<std::size_t>(bits), Type::array, item);
        case 0xde:
        case 0xdf:
            return big_endian(tag == 0xde ? 2 : 4, &bits) &&
                   read_collection(static_cast<std::size_t>(bits), Type::map, item);
        default:  // extensions have no place in the protocol
            return (tag >= 0xcc && tag <= 0xd3) && read_integer(tag, item);
    }
}

bool Reader::next(Item* item) noexcept {
    *item = Item{};
    if (at_ == end_) {
        return false;
    }
    const std::uint8_t tag = *at_++;
    if (tag < 0x80 || tag >= 0xe0) {
        item->type = Type::integer;
        item->integer = tag < 0x80 ? tag : tag - 256;
        return true;
    }
    if (tag < 0x90) {
        return read_collection(tag & 0x0f, Type::map, item);
    }
    if (tag < 0xa0) {
        return read_collection(tag & 0x0f, Type::array, item);
    }
    if (tag < 0xc0) {
        item->type = Type::text;
        return read_bytes(tag & 0x1f, &item->bytes) && is_utf8(item->bytes);
    }
    return read_tagged(tag, item);
}

bool Reader::skip(int depth) noexcept {
    Item item;
    if (!next(&item)) {
        return false;
    }
    if (item.type != Type::array && item.type != Type::map) {
        return true;
    }
    if (depth == 0) {
        return false;
    }
    const std::size_t num_values = item.type == Type::map ? 2 * item.count : item.count;
    for (std::size_t index = 0; index < num_values; ++index) {
        if (!skip(depth - 1)) {
            return false;
        }
    }
    return true;
}

namespace {

// The length of the character that starts with `lead`, 0 where none can; `low`, `high` bound its
// second byte (RFC 3629, section 4).
std::size_t length_of(std::uint8_t lead, std::uint8_t* low, std::uint8_t* high) noexcept {
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return 2;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        return 3;
    }
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
    std::size_t at = 0;
    while (at < text.size()) {
        std::uint8_t low = 0;
        std::uint8_t high = 0;
        const std::size_t length = length_of(static_cast<std::uint8_t>(text[at]), &low, &high);
        if (length == 0 || text.size() - at < length) {
            return false;
        }
        for (std::size_t index = 1; index < length; ++index) {
            const auto byte = static_cast<std::uint8_t>(text[at + index]);
            if (byte < (index == 1 ? low : 0x80) || byte > (index == 1 ? high : 0xbf)) {
                return false;
            }
        }
        at += length;
    }
    return true;
}

std::string_view cut_utf8(std::string_view text, std::size_t capacity) noexcept {
    if (text.size() <= capacity) {
        return text;
    }
    std::size_t size = capacity;
    while (size > 0 && (static_cast<std::uint8_t>(text[size]) & 0xc0) == 0x80) {
        --size;
    }
    return text.substr(0, size);
}

}  // namespace realmaster::msgpack
