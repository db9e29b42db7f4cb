// What the Direct3D plugins know without Direct3D: choice of depth, frames that were generated,
// conversions, encodings of normals, settings, GTA-V's camera and its guard.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "d3d11/frame_tracker.h"
#include "depth_chooser.h"
#include "gtav/online_guard.h"
#include "gtav/rage_camera.h"
#include "normals.h"
#include "pixels.h"
#include "settings.h"

namespace {

using namespace realmaster;

bool near(double a, double b, double tolerance) {
    return std::abs(a - b) <= tolerance;
}

void depth_of_the_output_size_wins_and_is_kept() {
    DepthChooser chooser;
    chooser.set_output(640, 360);
    const DepthCandidate decoy{1, 1024, 1024, 1, 900};
    const DepthCandidate small{2, 320, 180, 1, 500};
    DepthCandidate scene{3, 640, 360, 1, 80};
    const DepthCandidate msaa{4, 640, 360, 4, 300};
    const DepthCandidate all[] = {decoy, small, scene, msaa};
    DepthChoice choice = chooser.choose(all, 4);
    CHECK(choice.id == 3 && choice.changed && choice.candidates == 4 && !choice.upscaled);
    const DepthCandidate rival[] = {scene, {5, 640, 360, 1, 8000}};
    choice = chooser.choose(rival, 2);
    CHECK(choice.id == 3 && !choice.changed && choice.draws == 80);
    choice = chooser.choose(&decoy, 1);  // a menu: not drawn to, but kept
    CHECK(choice.id == 3 && choice.draws == 0);
    for (int i = 0; i < DepthChooser::release_after; ++i) {
        choice = chooser.choose(rival + 1, 1);
    }
    CHECK(choice.id == 5);
    scene.width = 800;
    scene.id = 5;  // its address came back as another
    CHECK(chooser.choose(&scene, 1).draws == 0);
}

void an_upscaled_scene_is_second_best() {
    DepthChooser chooser;
    chooser.set_output(1920, 1080);
    const DepthCandidate low{1, 1280, 720, 1, 50};
    const DepthCandidate square{2, 1024, 1024, 1, 900};
    const DepthCandidate both[] = {low, square};
    const DepthChoice choice = chooser.choose(both, 2);
    CHECK(choice.id == 1 && choice.upscaled);
    const DepthCandidate full[] = {low, {3, 1920, 1080, 1, 10}};
    CHECK(chooser.choose(full, 2).id == 3);
    chooser.forget(3);
    CHECK(chooser.kept() == 0);
}

void presents_are_rendered_generated_or_idle() {
    PresentClassifier classifier;
    CHECK(classifier.next(false) == PresentKind::idle);
    CHECK(classifier.next(true) == PresentKind::rendered);
    for (int i = 0; i < PresentClassifier::max_generated; ++i) {
        CHECK(classifier.next(false) == PresentKind::generated);
    }
    CHECK(classifier.next(false) == PresentKind::idle);
    CHECK(classifier.next(true) == PresentKind::rendered);
}

void device_depth_becomes_metres() {
    for (const bool reversed : {false, true}) {
        for (const double far_m : {200.0, std::numeric_limits<double>::infinity()}) {
            const Projection projection{0.15, far_m, reversed};
            const DepthToMetres to_metres(projection);
            for (const double z : {0.15, 1.0, 17.0, 150.0}) {
                const double forward =
                    std::isinf(far_m) ? 1 - 0.15 / z : far_m / (far_m - 0.15) * (1 - 0.15 / z);
                const double device = reversed ? 1 - forward : forward;
                const double step = 6e-8 * z / 0.15;  // what a float of depth can hold
                CHECK(near(to_metres(static_cast<float>(device)) / z, 1.0, 4 * step));
            }
            CHECK(std::isinf(to_metres(reversed ? 0.0F : 1.0F)));
            CHECK(std::isnan(to_metres(1.5F)));
            CHECK(std::isnan(to_metres(std::numeric_limits<float>::quiet_NaN())));
        }
    }
}

void texels_are_read_at_their_pitch() {
    const std::uint8_t bgra[2][8] = {{1, 2, 3, 4, 9, 9, 9, 9}, {5, 6, 7, 8, 9, 9, 9, 9}};
    std::uint8_t out[8] = {};
    write_color({&bgra[0][0], 8, 1, 2, dxgi_format::b8g8r8a8_unorm}, out);
    CHECK(out[0] == 3 && out[1] == 2 && out[2] == 1 && out[3] == 255 && out[4] == 7);
    const std::uint32_t ten_bits = 1023U | (512U << 10U) | (4U << 20U);
    write_color({reinterpret_cast<const std::uint8_t*>(&ten_bits), 4, 1, 1,
                 dxgi_format::r10g10b10a2_unorm},
                out);
    CHECK(out[0] == 255 && out[1] == 128 && out[2] == 1 && out[3] == 255);
    const std::uint32_t texel = 0xAB000000U | 0x7FFFFFU;
    float depth = 0;
    write_device_depth({reinterpret_cast<const std::uint8_t*>(&texel), 4, 1, 1, 44},
                       DepthLayout::u24_low, &depth);
    CHECK(near(depth, 0.5, 1e-7));
    StencilClasses classes{7, {0, 7, 6, 4, 2, 0, 0, 1}};
    const std::uint8_t stencil[3] = {0x82, 4, 7};
    write_semantic({stencil, 3, 3, 1, dxgi_format::r8_uint}, classes, out);
    CHECK(out[0] == 6 && out[1] == 2 && out[2] == 1);
}

void halves_round_to_nearest() {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = float_of_half(half);
        CHECK(std::isnan(value) || half_of(value) == half);
    }
    CHECK(half_of(1.0F + 1.0F / 2048) == 0x3C00);  // a tie goes to even
    CHECK(half_of(65520.0F) == 0x7C00);
    CHECK(half_of(1e-9F) == 0);
}

// A floor, a wall ahead and a wall at the side, as a G-buffer of the given signs in RGBA8.
struct Room {
    static constexpr std::uint32_t width = 160;
    static constexpr std::uint32_t height = 96;
    Matrix3 K{80, 0, 80, 0, 80, 48, 0, 0, 1};
    std::vector<float> depth;
    std::vector<std::uint8_t> texels;

    explicit Room(const std::array<int, 3>& signs) : depth(width * height), texels(depth.size() * 4) {
        // Tilted: on axes alone, packings of two numbers look like that of three.
        const Vec3 normals[3] = {
            {0.1F, -0.97468F, -0.2F}, {0.25F, 0.1F, -0.96307F}, {-0.9F, -0.1F, -0.42426F}};
        const float distances[3] = {1.5F, 6.0F, 3.0F};
        for (std::uint32_t y = 0; y < height; ++y) {
            for (std::uint32_t x = 0; x < width; ++x) {
                const float ray[3] = {(static_cast<float>(x) + 0.5F - 80) / 80,
                                      (static_cast<float>(y) + 0.5F - 48) / 80, 1};
                float nearest = 1e9F;
                std::size_t face = 0;
                for (std::size_t i = 0; i < 3; ++i) {
                    const float along = -(normals[i][0] * ray[0] + normals[i][1] * ray[1] +
                                          normals[i][2] * ray[2]);
                    if (along > 0 && distances[i] / along < nearest) {
                        nearest = distances[i] / along;
                        face = i;
                    }
                }
                const std::size_t at = y * width + x;
                depth[at] = nearest;
                for (std::size_t c = 0; c < 3; ++c) {
                    const float value = normals[face][c] * static_cast<float>(signs[c]);
                    texels[at * 4 + c] =
                        static_cast<std::uint8_t>(std::lround(127.5F + 127.5F * value));
                }
            }
        }
    }
    [[nodiscard]] Image image() const {
        return {texels.data(), width * 4, width, height, dxgi_format::r8g8b8a8_unorm};
    }
};

void encodings_are_found_by_agreement() {
    for (const auto& signs : {std::array<int, 3>{1, -1, -1}, std::array<int, 3>{1, -1, 1},
                              std::array<int, 3>{1, 1, 1}, std::array<int, 3>{-1, 1, -1}}) {
        const Room room(signs);
        const NormalAgreement found =
            best_encoding(room.image(), room.depth.data(), room.K, nullptr);
        CHECK(found.median_deg < 2.0 && !found.ambiguous);
        CHECK(found.encoding.packing == NormalPacking::xyz && !found.encoding.world_space);
        for (std::size_t c = 0; c < 3; ++c) {
            CHECK(found.encoding.signs[c] == signs[c]);
        }
        std::vector<std::uint16_t> out(room.depth.size() * 3);
        write_normals(room.image(), found.encoding, room.depth.data(), nullptr, out.data());
        CHECK(near(float_of_half(out[2]), -0.963, 0.01));  // the wall ahead, at the top left
    }
}

void what_is_no_normal_does_not_agree() {
    Room room({1, 1, 1});
    for (std::size_t i = 0; i < room.texels.size(); ++i) {
        room.texels[i] = static_cast<std::uint8_t>((i * 2654435761U) >> 13U);
    }
    const NormalAgreement found = best_encoding(room.image(), room.depth.data(), room.K, nullptr);
    CHECK(found.median_deg > max_agreement_deg);
}

void settings_are_read_or_refused_by_line() {
    Settings settings;
    std::string error;
    CHECK(read_settings("# a\n[x]\nport = 6000\n near=0.15\nfar=inf\nreversed_z = yes\n"
                        "stencil_classes = 1:7, 0x2:6\r\n",
                        &settings, &error));
    CHECK(settings.port == 6000 && std::isinf(settings.projection.far_m));
    CHECK(settings.stencil_classes.class_of[2] == 6);
    const std::pair<const char*, const char*> wrong[] = {
        {"port = 0", "line 1: port must be"},     {"\nprot = 1", "line 2: there is no setting"},
        {"near", "expected key = value"},         {"ring = 9", "ring must be 1 to 8"},
        {"near = -1", "near must be"},            {"near = 5\nfar = 1", "far must be more"},
        {"stencil_classes = 77:1", "must be pairs"}, {"fov_y = 1e", "fov_y must be"}};
    for (const auto& [text, says] : wrong) {
        Settings untouched;
        CHECK(!read_settings(text, &untouched, &error));
        CHECK(error.find(says) != std::string::npos);
    }
    CHECK(!read_settings(std::string(max_settings_bytes + 1, '\n'), &settings, &error));
}

void direct3d_11_tracks_frames() {
    d3d11::FrameTracker tracker;
    constexpr d3d11::ContextId context = 0x10;
    CHECK(tracker.add_depth(1, 640, 360, 1) && !tracker.add_depth(1, 640, 360, 1));
    tracker.set_back_buffer(9);
    tracker.set_scene(1);
    tracker.bind(context, 1, {{5, 6}, 2});
    for (int i = 0; i < 3; ++i) {
        CHECK(!tracker.draw(context));
    }
    CHECK(tracker.pass_of(1).count == 2 && tracker.pass_of(1).ids[1] == 6);
    CHECK(tracker.clear_depth(1));
    CHECK(tracker.snapshot_is_better(1));
    tracker.bind(context, 0, {{9}, 1});
    CHECK(!tracker.draw(context));
    tracker.set_blend(context, true);
    CHECK(tracker.draw(context));   // the HUD begins
    CHECK(!tracker.draw(context));  // once
    std::array<DepthCandidate, DepthChooser::max_candidates> found{};
    CHECK(tracker.candidates(&found) == 1 && found[0].draws == 3);
    std::array<ResourceId, DepthChooser::max_candidates> gone{};
    CHECK(tracker.end_frame(&gone) == 0);
    CHECK(tracker.end_frame(&gone) == 1 && gone[0] == 1);  // nobody drew to it or has it bound
}

void gta_looks_north_at_rotation_zero() {
    const auto pose = gtav::pose_of({1, 2, 3}, {0, 0, 0});
    CHECK(near(pose[0], 1, 1e-12) && near(pose[6], 1, 1e-12) && near(pose[9], -1, 1e-12));
    CHECK(pose[3] == 1 && pose[7] == 2 && pose[11] == 3);
    const auto west = gtav::pose_of({0, 0, 0}, {0, 0, 90});
    CHECK(near(west[2], -1, 1e-9));  // forward is -x
    const auto up = gtav::pose_of({0, 0, 0}, {90, 0, 0});
    CHECK(near(up[10], 1, 1e-9));  // forward is +z
}

void gta_is_captured_offline_only() {
    using gtav::reason_against;
    CHECK(reason_against("GTA5.exe", "GTA5.exe", false, true) == nullptr);
    CHECK(reason_against("GTA5.exe", "GTA5.exe -scOfflineOnly", false, false) == nullptr);
    CHECK(reason_against("GTA5.exe", "GTA5.exe", false, false) != nullptr);
    CHECK(reason_against("GTA5.exe", "GTA5.exe -StraightIntoFreemode", false, true) != nullptr);
    CHECK(reason_against("FiveM_b3095_GTAProcess.exe", "", false, true) != nullptr);
    CHECK(reason_against("GTA5_Enhanced.exe", "", true, true) != nullptr);
}

}  // namespace

int main() {
    depth_of_the_output_size_wins_and_is_kept();
    an_upscaled_scene_is_second_best();
    presents_are_rendered_generated_or_idle();
    device_depth_becomes_metres();
    texels_are_read_at_their_pitch();
    halves_round_to_nearest();
    encodings_are_found_by_agreement();
    what_is_no_normal_does_not_agree();
    settings_are_read_or_refused_by_line();
    direct3d_11_tracks_frames();
    gta_looks_north_at_rotation_zero();
    gta_is_captured_offline_only();
    return num_failures() == 0 ? 0 : 1;
}
