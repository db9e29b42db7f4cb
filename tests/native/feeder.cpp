// A plugin for tests and benchmarks: sends known pictures through the core and prints its account.
//
// usage: feeder --port P [--frames N] [--fps F] [--size WxH] [--bundle small|full] [--pitch BYTES]
//               [--lockstep] [--checksum] [--no-shared] [--slots N] [--late K] [--grow-at N]
//               [--nan-at N] [--give-up-at N] [--prefill] [--until-eof] [--wait-client MS] [--fork]
//               [--mark]
// --fps 0: as fast as credit comes. --late K: fills a slot K frames after begin. --prefill: the
// pictures are copied from memory instead of being made (benchmarks). One JSON line at the end.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <thread>
#include <vector>

#ifndef _WIN32
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "realmaster/plugin.h"

using namespace realmaster;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

namespace {

struct Options {
    std::map<std::string, std::string> given;
    bool has(const char* name) const { return given.count(name) != 0; }
    long number(const char* name, long otherwise) const {
        const auto found = given.find(name);
        return found == given.end() ? otherwise : std::strtol(found->second.c_str(), nullptr, 10);
    }
    std::string text(const char* name, const char* otherwise) const {
        const auto found = given.find(name);
        return found == given.end() ? otherwise : found->second;
    }
};

Options parse(int argc, char** argv) {
    Options options;
    for (int index = 1; index < argc; ++index) {
        const bool has_value = index + 1 < argc && std::strncmp(argv[index + 1], "--", 2) != 0;
        options.given[argv[index] + 2] = has_value ? argv[index + 1] : "1";
        index += has_value;
    }
    return options;
}

std::vector<BufferDesc> make_bundle(const std::string& name, std::uint32_t width,
                                    std::uint32_t height, std::uint32_t pitch) {
    std::vector<BufferDesc> bundle{{"color", width, height, DType::u8, 4, pitch},
                                   {"depth", width, height, DType::f32, 1, 0}};
    if (name == "full") {
        bundle.push_back({"normal", width, height, DType::f16, 3, 0});
        bundle.push_back({"motion", width, height, DType::f16, 2, 0});
    }
    return bundle;
}

// Byte i of buffer b in frame seq; tests make the same with numpy.
void paint(std::uint8_t* data, std::size_t size, std::uint64_t seq, std::size_t buffer) {
    const std::uint64_t start = seq * 17 + buffer * 101;
    for (std::size_t index = 0; index < size; ++index) {
        data[index] = static_cast<std::uint8_t>((index * 31 + start) % 251);
    }
}

bool stdin_is_closed() {
#ifdef _WIN32
    return false;
#else
    pollfd descriptor{0, POLLIN, 0};
    char byte = 0;
    return ::poll(&descriptor, 1, 0) == 1 && ::read(0, &byte, 1) <= 0;
#endif
}

class Feeder {
public:
    Feeder(const Options& options, const Config& config, std::vector<BufferDesc> bundle)
        : options_(options), bundle_(std::move(bundle)), plugin_(config) {
        for (const BufferDesc& desc : bundle_) {
            pictures_.emplace_back(bytes_of(desc), std::uint8_t{7});
        }
    }

    void run() {
        const long frames = options_.number("frames", 30);
        const long fps = options_.number("fps", 60);
        wait_for_client();
        auto next = Clock::now();
        for (long index = 0; index < frames && !is_over(); ++index) {
            answer_commands();
            if (fps != 0) {
                next += std::chrono::nanoseconds(1'000'000'000 / fps);
                std::this_thread::sleep_until(next);
            } else {
                plugin_.wait_credit(1000);
            }
            frame(static_cast<std::uint64_t>(index));
        }
        while (!late_.empty()) {
            fill_oldest();
        }
        const auto deadline = Clock::now() + milliseconds(5000);
        while (!is_settled() && Clock::now() < deadline) {
            std::this_thread::sleep_for(milliseconds(2));
        }
    }

    void print() const {
        const Stats stats = plugin_.stats();
        char error[256] = "";
        plugin_.error(error, sizeof error);
        std::printf("{\"rendered\": %llu, \"sent\": %llu, \"bytes_sent\": %llu",
                    static_cast<unsigned long long>(stats.rendered),
                    static_cast<unsigned long long>(stats.sent),
                    static_cast<unsigned long long>(stats.bytes_sent));
        std::printf(", \"connections\": %llu",
                    static_cast<unsigned long long>(stats.connections));
        for (std::size_t index = 0; index < num_causes; ++index) {
            std::printf(", \"%s\": %llu", name_of(static_cast<Cause>(index)),
                        static_cast<unsigned long long>(stats.drops[index]));
        }
        std::printf(", \"shared_memory\": %s, \"worst_begin_us\": %lld, \"error\": \"%s\"}\n",
                    stats.shared_memory ? "true" : "false",
                    static_cast<long long>(worst_begin_.count()), error);
        std::fflush(stdout);
    }

    Plugin& plugin() { return plugin_; }

private:
    struct Late {
        Slot* slot;
        std::uint64_t seq;
    };

    void wait_for_client() {
        const auto deadline = Clock::now() + milliseconds(options_.number("wait-client", 10000));
        while (!plugin_.connected() && Clock::now() < deadline) {
            std::this_thread::sleep_for(milliseconds(1));
        }
    }

    // Whether every frame was sent or counted as dropped.
    bool is_settled() const {
        const Stats stats = plugin_.stats();
        std::uint64_t settled = stats.sent;
        for (const std::uint64_t count : stats.drops) {
            settled += count;
        }
        return settled >= stats.rendered;
    }

    bool is_over() const { return stops_ || (options_.has("until-eof") && stdin_is_closed()); }

    void answer_commands() {
        Command command;
        while (plugin_.poll_command(&command)) {
            stops_ = stops_ || std::strcmp(command.name, "stop") == 0;
            const bool knows = stops_ || std::strcmp(command.name, "echo") == 0;
            plugin_.answer(command, knows, command.num_args == 0 ? "" : command.values[0]);
        }
    }

    void frame(std::uint64_t seq) {
        FrameInfo info;
        info.frame_id = 1000 + seq;
        info.t_sim_ns = static_cast<std::int64_t>(seq) * 16'666'667;
        info.render_size = info.output_size = {bundle_[0].width, bundle_[0].height};
        info.has_camera = true;
        info.camera.K = {500, 0, 2, 0, 500, 1.5, 0, 0, 1};
        info.camera.world_from_camera[3] = static_cast<double>(seq);
        info.camera.reversed_z = true;
        if (options_.number("nan-at", -1) == static_cast<long>(seq)) {
            info.camera.K[0] /= 0.0;
        }
        if (options_.has("mark") && seq == 1) {
            plugin_.mark(info.t_sim_ns, "mark");
        }
        const auto before = Clock::now();
        Slot* slot = plugin_.begin(info);
        const auto took = Clock::now() - before;
        worst_begin_ =
            std::max(worst_begin_, std::chrono::duration_cast<std::chrono::microseconds>(took));
        if (slot != nullptr && options_.number("give-up-at", -1) == static_cast<long>(seq)) {
            plugin_.drop(slot, Cause::readback_late);
        } else if (slot != nullptr) {
            late_.push_back({slot, seq});
        }
        while (late_.size() > static_cast<std::size_t>(options_.number("late", 0))) {
            fill_oldest();
        }
    }

    void fill_oldest() {
        const Late late = late_.front();
        late_.pop_front();
        const long grow_at = options_.number("grow-at", -1);
        const bool is_grown = grow_at >= 0 && late.seq >= static_cast<std::uint64_t>(grow_at);
        for (std::size_t index = 0; index < bundle_.size(); ++index) {
            BufferDesc desc = bundle_[index];
            desc.height *= is_grown ? 4 : 1;
            std::uint8_t* data = plugin_.add(late.slot, desc);
            if (data != nullptr && options_.has("prefill")) {
                std::memcpy(data, pictures_[index].data(), pictures_[index].size());
            } else if (data != nullptr) {
                paint(data, bytes_of(desc), late.seq, index);
            }
        }
        plugin_.submit(late.slot);
    }

    const Options& options_;
    std::vector<BufferDesc> bundle_;
    std::vector<std::vector<std::uint8_t>> pictures_;
    std::deque<Late> late_;
    bool stops_ = false;
    std::chrono::microseconds worst_begin_{0};
    Plugin plugin_;
};

Config make_config(const Options& options, const std::vector<BufferDesc>& bundle) {
    Config config;
    config.port = static_cast<std::uint16_t>(options.number("port", 5570));
    config.engine = "feeder";
    config.engine_version = "1";
    config.plugin = "tests/native/feeder";
    config.plugin_version = "1";
    config.game = options.text("game", "a test");
    config.lockstep = options.has("lockstep");
    config.dt_sim_ns = config.lockstep ? 16'666'667 : 0;
    config.checksum = options.has("checksum");
    config.shared_memory = !options.has("no-shared");
    config.slots = static_cast<std::uint32_t>(options.number("slots", 6));
    config.max_frame_bytes = static_cast<std::size_t>(options.number("max-bytes", 0));
    config.close_timeout_ms = static_cast<std::uint32_t>(options.number("close-ms", 5000));
    config.lockstep_timeout_ms = static_cast<std::uint32_t>(options.number("lockstep-ms", 30000));
    for (const BufferDesc& desc : bundle) {
        config.streams.push_back(
            {desc.name, desc.width, desc.height, desc.dtype, desc.components, {}});
    }
    return config;
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    const std::string size = options.text("size", "64x48");
    const auto width = static_cast<std::uint32_t>(std::strtoul(size.c_str(), nullptr, 10));
    const auto height =
        static_cast<std::uint32_t>(std::strtoul(size.c_str() + size.find('x') + 1, nullptr, 10));
    const auto bundle = make_bundle(options.text("bundle", "small"), width, height,
                                    static_cast<std::uint32_t>(options.number("pitch", 0)));
    const Config config = make_config(options, bundle);
    Feeder feeder(options, config, bundle);
#ifndef _WIN32
    if (options.has("fork")) {  // a child that outlives its parent must not keep the connection
        while (!feeder.plugin().connected()) {
            std::this_thread::sleep_for(milliseconds(1));
        }
        if (::fork() == 0) {
            const bool is_silent = feeder.plugin().begin(FrameInfo{}) == nullptr &&
                                   !feeder.plugin().connected();
            std::fprintf(stderr, "child %d %s\n", static_cast<int>(::getpid()),
                         is_silent ? "silent" : "speaks");
            while (!stdin_is_closed()) {
                std::this_thread::sleep_for(milliseconds(5));
            }
            return 0;
        }
    }
#endif
    feeder.run();
    feeder.print();
    return 0;
}
