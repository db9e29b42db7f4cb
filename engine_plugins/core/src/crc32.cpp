// Slicing: table[k][b] is the CRC of byte b followed by k zero bytes, so that the bytes of a block
// are looked up independently of each other.
#include "crc32.h"

#include <array>

namespace realmaster {

namespace {

constexpr std::size_t block = 16;
using Tables = std::array<std::array<std::uint32_t, 256>, block>;

constexpr Tables make_tables() noexcept {
    Tables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        }
        tables[0][byte] = crc;
    }
    for (std::size_t step = 1; step < block; ++step) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t before = tables[step - 1][byte];
            tables[step][byte] = before >> 8 ^ tables[0][before & 0xff];
        }
    }
    return tables;
}

constexpr Tables tables = make_tables();

}  // namespace

std::uint32_t crc32(const std::uint8_t* data, std::size_t size) noexcept {
    std::uint32_t crc = 0xffffffff;
    for (; size >= block; data += block, size -= block) {
        std::uint32_t next = 0;
        for (std::size_t index = 0; index < block; ++index) {
            const std::uint32_t mixed = index < 4 ? crc >> (8 * index) & 0xff : 0;
            next ^= tables[block - 1 - index][data[index] ^ mixed];
        }
        crc = next;
    }
    for (; size != 0; ++data, --size) {
        crc = crc >> 8 ^ tables[0][(crc ^ *data) & 0xff];
    }
    return ~crc;
}

}  // namespace realmaster
