// Headers that a client sends: untrusted, so every field is looked for, typed and limited.
#include <cstring>

#include "messages.h"

namespace realmaster {

using msgpack::Item;
using msgpack::Reader;
using msgpack::Type;

namespace {

constexpr std::uint64_t max_int = INT64_MAX;

// One map: where its values start. Of a key that comes twice the last counts, as in Python.
class Fields {
public:
    // Reads a map whole; false where it is none, is malformed or has a key that is no text.
    bool read(Reader* reader, int depth) noexcept {
        Item head;
        if (depth < 1 || !reader->next(&head) || head.type != Type::map) {
            return false;
        }
        for (std::size_t index = 0; index < head.count; ++index) {
            Item key;
            if (!reader->next(&key) || key.type != Type::text) {
                return false;
            }
            Reader value = *reader;
            if (!reader->skip(depth - 1)) {
                return false;
            }
            entries_[count_++] = {key.bytes.data(), key.bytes.size(), value.at(), value.size()};
        }
        return true;
    }

    // The value's reader and head; false where the field is missing or nil.
    bool find(std::string_view key, Reader* value, Item* head) const noexcept {
        for (std::size_t index = count_; index-- > 0;) {
            if (this->key(index) == key) {
                *value = Reader{entries_[index].value, entries_[index].rest};
                Reader peek = *value;
                return peek.next(head) && head->type != Type::nil;
            }
        }
        return false;
    }

    bool integer(std::string_view key, std::uint64_t low, std::uint64_t high,
                 std::uint64_t* out) const noexcept {
        Reader value;
        Item item;
        if (!find(key, &value, &item) || item.type != Type::integer || item.too_large ||
            item.integer < 0) {
            return false;
        }
        *out = static_cast<std::uint64_t>(item.integer);
        return *out >= low && *out <= high;
    }

    bool text(std::string_view key, std::string_view* out) const noexcept {
        Reader value;
        Item item;
        if (!find(key, &value, &item) || item.type != Type::text) {
            return false;
        }
        *out = item.bytes;
        return true;
    }

    bool has(std::string_view key) const noexcept {
        Reader value;
        Item item;
        return find(key, &value, &item);
    }

    std::size_t size() const noexcept { return count_; }
    std::string_view key(std::size_t index) const noexcept {
        return {entries_[index].key, entries_[index].key_size};
    }

private:
    struct Entry {
        const char* key;
        std::size_t key_size;
        const std::uint8_t* value;
        std::size_t rest;  // bytes from the value to the header's end
    };

    std::size_t count_ = 0;
    Entry entries_[msgpack::max_entries];  // not set before they are used: this is large
};

template <std::size_t n>
bool fits(char (&out)[n], std::string_view text) noexcept {
    const std::string_view kept = msgpack::cut_utf8(text, n - 1);
    std::memcpy(out, kept.data(), kept.size());
    out[kept.size()] = '\0';
    return kept.size() == text.size();
}

bool read_version(const Fields& fields, int* major, int* minor) noexcept {
    Reader value;
    Item item;
    if (!fields.find("v", &value, &item) || item.type != Type::array || item.count != 2) {
        return false;
    }
    value.next(&item);
    for (int* part : {major, minor}) {
        if (!value.next(&item) || item.type != Type::integer || item.too_large ||
            item.integer < 0 || item.integer > 0xffff) {
            return false;
        }
        *part = static_cast<int>(item.integer);
    }
    return true;
}

bool read_welcome(const Fields& fields, Message* message) noexcept {
    Welcome& welcome = message->welcome;
    std::uint64_t heartbeat_ns = 0;
    if (!fields.integer("epoch", 0, max_int, &welcome.epoch) ||
        !fields.integer("max_frame_bytes", 0, max_int, &welcome.max_frame_bytes) ||
        !fields.integer("heartbeat_ns", 0, max_int, &heartbeat_ns)) {
        return false;
    }
    welcome.heartbeat_ns = static_cast<std::int64_t>(heartbeat_ns);
    if (!fields.has("shared")) {
        return true;
    }
    Reader value;
    Item head;
    Fields shared;
    std::string_view name;
    std::uint64_t slots = 0;
    if (!fields.find("shared", &value, &head) || !shared.read(&value, msgpack::max_depth - 1) ||
        !shared.text("name", &name) || !shared.integer("slots", 1, max_slots, &slots) ||
        !shared.integer("slot_bytes", 1, std::uint64_t{1} << 32, &welcome.shared_slot_bytes)) {
        return false;
    }
    welcome.shared_slots = static_cast<std::uint32_t>(slots);
    welcome.has_shared = fits(welcome.shared_name, name);
    return true;
}

bool read_credit(const Fields& fields, Message* message) noexcept {
    Credit& credit = message->credit;
    std::uint64_t frames = 0;
    if (!fields.integer("frames", 0, INT32_MAX, &frames) ||
        !fields.integer("nbytes", 0, max_int, &credit.nbytes)) {
        return false;
    }
    credit.frames = static_cast<std::uint32_t>(frames);
    Reader value;
    Item head;
    if (!fields.find("freed", &value, &head)) {
        return true;
    }
    if (head.type != Type::array || head.count > max_slots) {
        return false;
    }
    value.next(&head);
    credit.num_freed = head.count;
    for (std::size_t index = 0; index < credit.num_freed; ++index) {
        Fields freed;
        std::uint64_t slot = 0;
        if (!freed.read(&value, msgpack::max_depth - 2) ||
            !freed.integer("slot", 0, max_slots - 1, &slot) ||
            !freed.integer("generation", 0, max_int, &credit.freed[index].generation)) {
            return false;
        }
        credit.freed[index].slot = static_cast<std::uint32_t>(slot);
    }
    return true;
}

bool read_command(const Fields& fields, Message* message) noexcept {
    Command& command = message->command;
    std::string_view name;
    if (!fields.integer("request_id", 0, max_int, &command.request_id) ||
        !fields.text("name", &name)) {
        return false;
    }
    bool all_fit = fits(command.name, name);
    Reader value;
    Item head;
    if (fields.find("args", &value, &head)) {
        Fields args;
        if (!args.read(&value, msgpack::max_depth - 1)) {
            return false;
        }
        for (std::size_t index = 0; index < args.size(); ++index) {
            std::string_view text;
            if (!args.text(args.key(index), &text)) {
                return false;
            }
            if (command.num_args == Command::max_args) {
                all_fit = false;
                continue;
            }
            all_fit = fits(command.keys[command.num_args], args.key(index)) && all_fit;
            all_fit = fits(command.values[command.num_args], text) && all_fit;
            ++command.num_args;
        }
    }
    message->kind = all_fit ? Incoming::command : Incoming::command_too_long;
    return true;
}

bool read_enhanced(const Fields& fields, const std::uint64_t* payload_sizes,
                   std::size_t num_payloads) noexcept {
    std::uint64_t seq = 0;
    std::uint64_t width = 0;
    std::uint64_t height = 0;
    return fields.integer("seq", 0, max_int, &seq) &&
           fields.integer("width", 1, max_side, &width) &&
           fields.integer("height", 1, max_side, &height) && num_payloads == 1 &&
           payload_sizes[0] == width * height * 4;
}

bool read_error(const Fields& fields, Message* message) noexcept {
    std::string_view code;
    std::string_view text;
    if (!fields.text("code", &code) || !fields.text("text", &text)) {
        return false;
    }
    fits(message->code, code);
    fits(message->text, text);
    return true;
}

bool read_bye(const Fields& fields, Message* message) noexcept {
    std::string_view reason;
    if (!fields.text("reason", &reason)) {
        return false;
    }
    fits(message->text, reason);
    Reader value;
    Item item;
    if (fields.find("last_seq", &value, &item)) {
        if (item.type != Type::integer || item.too_large || item.integer < -1) {
            return false;
        }
        message->last_seq = item.integer;
    }
    return true;
}

struct Kind {
    std::string_view name;
    Incoming kind;
    bool (*read)(const Fields& fields, Message* message) noexcept;
};

constexpr Kind kinds[] = {
    {"welcome", Incoming::welcome, read_welcome}, {"credit", Incoming::credit, read_credit},
    {"command", Incoming::command, read_command}, {"error", Incoming::error, read_error},
    {"bye", Incoming::bye, read_bye},
};

void refuse(Message* message, const char* fault) noexcept {
    message->kind = Incoming::malformed;
    message->fault = fault;
}

void read_kind(std::string_view name, const Fields& fields, const std::uint64_t* payload_sizes,
               std::size_t num_payloads, Message* message) noexcept {
    if (name == "enhanced") {
        message->kind = Incoming::enhanced;
        if (!read_enhanced(fields, payload_sizes, num_payloads)) {
            refuse(message, "an enhanced frame with a wrong field or payload");
        }
        return;
    }
    for (const Kind& kind : kinds) {
        if (kind.name != name) {
            continue;
        }
        message->kind = kind.kind;
        if (num_payloads != 0) {
            refuse(message, "a message carries payloads that must carry none");
        } else if (!kind.read(fields, message)) {
            refuse(message, "a message lacks a field or has a wrong one");
        }
        return;
    }
    if (message->minor > protocol_minor) {
        message->kind = Incoming::skipped;
    } else {
        refuse(message, "a message of a kind that a client does not send");
    }
}

}  // namespace

void read_message(const std::uint8_t* header, std::size_t size, const std::uint64_t* payload_sizes,
                  std::size_t num_payloads, Message* message) noexcept {
    *message = Message{};
    Fields fields;
    Reader reader{header, size};
    std::string_view name;
    if (size > max_header_bytes || num_payloads > max_buffers ||
        !fields.read(&reader, msgpack::max_depth) || !reader.at_end()) {
        refuse(message, "a header that is no msgpack map within limits");
    } else if (!read_version(fields, &message->major, &message->minor) ||
               !fields.text("kind", &name)) {
        refuse(message, "a header without version or kind");
    } else if (message->major != protocol_major && name != "error") {
        message->kind = Incoming::version;
    } else {
        read_kind(name, fields, payload_sizes, num_payloads, message);
    }
}

}  // namespace realmaster
