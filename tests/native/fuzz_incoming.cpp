// Fuzz target: whatever bytes a peer sends, and however TCP cuts them, the core neither reads nor
// writes beyond its memory, and says of each message the same as of the message uncut.
//
// libFuzzer links it; built with another compiler it reads one file per argument.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "messages.h"
#include "zmtp.h"

using namespace realmaster;

namespace {

// What a decoder said of the bytes, one number per event.
std::vector<std::uint64_t> events_of(zmtp::Decoder* decoder, const std::uint8_t* data,
                                     std::size_t size, std::size_t piece) {
    static Message message;
    std::vector<std::uint64_t> said;
    decoder->reset();
    for (std::size_t at = 0; at < size;) {
        std::size_t left = size - at < piece ? size - at : piece;
        const std::uint8_t* next = data + at;
        at += left;
        for (;;) {
            const zmtp::Event event = decoder->feed(&next, &left);
            if (event == zmtp::Event::none) {
                break;
            }
            said.push_back(static_cast<std::uint64_t>(event));
            if (event == zmtp::Event::failed) {
                return said;
            }
            if (event == zmtp::Event::message) {
                read_message(decoder->header(), decoder->header_size(), decoder->payload_sizes(),
                             decoder->num_payloads(), &message);
                said.push_back(static_cast<std::uint64_t>(message.kind));
                said.push_back(decoder->num_payloads());
            }
        }
    }
    return said;
}

// Puts what a real peer sends first before the bytes, so that the messages are reached.
std::vector<std::uint8_t> with_greeting(const std::uint8_t* data, std::size_t size) {
    std::vector<std::uint8_t> bytes(zmtp::greeting_bytes);
    std::uint8_t greeting[zmtp::greeting_bytes];
    zmtp::write_greeting(greeting);
    std::memcpy(bytes.data(), greeting, sizeof greeting);
    static const char ready[] = "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";
    bytes.insert(bytes.end(), ready, ready + sizeof ready - 1);
    bytes.insert(bytes.end(), data, data + size);
    return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static zmtp::Decoder decoder;
    static Message message;
    if (size < 2) {
        return 0;
    }
    const std::uint8_t how = data[0];
    const std::size_t piece = 1 + data[1];
    data += 2;
    size -= 2;
    if (how % 3 == 0) {  // a header alone
        const std::uint64_t payloads[2] = {24, std::uint64_t{1} << 40};
        read_message(data, size, payloads, how / 3 % 3, &message);
        if (std::memchr(message.text, 0, sizeof message.text) == nullptr ||
            message.command.num_args > Command::max_args ||
            message.credit.num_freed > max_slots) {
            std::abort();
        }
        return 0;
    }
    const std::vector<std::uint8_t> bytes =
        how % 3 == 1 ? with_greeting(data, size) : std::vector<std::uint8_t>(data, data + size);
    const auto whole = events_of(&decoder, bytes.data(), bytes.size(), bytes.size() + 1);
    if (whole != events_of(&decoder, bytes.data(), bytes.size(), piece)) {
        std::abort();
    }
    return 0;
}

#ifndef __clang__
int main(int argc, char** argv) {
    for (int index = 1; index < argc; ++index) {
        std::FILE* file = std::fopen(argv[index], "rb");
        if (file == nullptr) {
            return 1;
        }
        std::vector<std::uint8_t> bytes(1 << 20);
        bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
        std::fclose(file);
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    return 0;
}
#endif
