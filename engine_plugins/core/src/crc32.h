// CRC-32 as zlib's (ISO-HDLC: reflected 0xEDB88320), sixteen bytes a step.
#pragma once

#include <cstddef>
#include <cstdint>

namespace realmaster {

std::uint32_t crc32(const std::uint8_t* data, std::size_t size) noexcept;

}  // namespace realmaster
