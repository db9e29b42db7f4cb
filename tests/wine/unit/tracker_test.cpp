// Direct3D 12's tracker without Direct3D: lists recorded in one order and executed in another.
#include "d3d12/tracker.h"

#include <memory>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using namespace realmaster;
using namespace realmaster::d3d12;

constexpr State readable = 0x80;
constexpr State target = 0x4;
constexpr ResourceId scene = 0x1000;
constexpr ResourceId shadow = 0x2000;
constexpr ResourceId normals = 0x3000;
constexpr ResourceId back = 0x4000;
constexpr DescriptorId scene_view = 0x50000;
constexpr DescriptorId shadow_view = 0x50020;
constexpr ListId first = 0x60000;
constexpr ListId second = 0x61000;

std::unique_ptr<Tracker> make() {
    auto tracker = std::make_unique<Tracker>();
    tracker->texture_made(scene, {640, 360, 40, 1, true}, readable);
    tracker->texture_made(shadow, {1024, 1024, 40, 1, true}, readable);
    tracker->texture_made(normals, {640, 360, 28, 1, false}, readable);
    tracker->view_made(scene_view, scene);
    tracker->view_made(shadow_view, shadow);
    tracker->set_back_buffers(&back, 1);
    return tracker;
}

void draw(Tracker* tracker, ListId list, ResourceId depth, int times) {
    tracker->list_targets(list, {{normals}, 1}, depth);
    for (int i = 0; i < times; ++i) {
        tracker->list_draw(list);
    }
}

DepthCandidate candidate(Tracker* tracker, ResourceId id) {
    std::array<DepthCandidate, DepthChooser::max_candidates> all{};
    const std::size_t count = tracker->candidates(&all);
    for (std::size_t i = 0; i < count; ++i) {
        if (all[i].id == id) {
            return all[i];
        }
    }
    return {};
}

void states_follow_execution_not_recording() {
    auto tracker = make();
    tracker->list_reset(first);
    tracker->list_reset(second);
    tracker->list_barrier(second, scene, state_depth_write, readable);
    tracker->list_barrier(first, scene, readable, state_depth_write);
    CHECK(tracker->state_of(scene) == readable);  // nothing was executed yet
    tracker->executed(first);
    CHECK(tracker->state_of(scene) == state_depth_write);
    tracker->executed(second);
    CHECK(tracker->state_of(scene) == readable);
    tracker->executed(first);  // a list that is executed twice
    CHECK(tracker->state_of(scene) == state_depth_write);
}

void draws_count_per_buffer_and_frame() {
    auto tracker = make();
    tracker->list_reset(first);
    draw(tracker.get(), first, tracker->texture_of(shadow_view), 16);
    draw(tracker.get(), first, tracker->texture_of(scene_view), 8);
    CHECK(candidate(tracker.get(), scene).draws == 0);
    tracker->executed(first);
    CHECK(candidate(tracker.get(), scene).draws == 8);
    CHECK(candidate(tracker.get(), shadow).draws == 16);
    tracker->end_frame();
    CHECK(candidate(tracker.get(), scene).id == 0);
}

void descriptors_are_copied_and_overwritten() {
    auto tracker = make();
    tracker->views_copied(0x70000, scene_view, 2, 0x20);
    CHECK(tracker->texture_of(0x70000) == scene);
    CHECK(tracker->texture_of(0x70020) == shadow);
    tracker->view_made(0x70000, shadow);
    CHECK(tracker->texture_of(0x70000) == shadow);
    CHECK(tracker->texture_of(0x12345) == 0);
}

void late_buffers_count_by_their_barriers() {
    auto tracker = std::make_unique<Tracker>();
    CHECK(!tracker->knows(scene));
    tracker->texture_found(scene, {640, 360, 40, 1, true});
    CHECK(tracker->state_of(scene) == state_unknown);
    tracker->list_reset(first);
    tracker->list_barrier(first, scene, readable, state_depth_write);
    tracker->list_barrier(first, scene, state_depth_write, readable);
    tracker->executed(first);
    CHECK(candidate(tracker.get(), scene).draws == 1);
    CHECK(tracker->state_of(scene) == readable);
    CHECK(tracker->counts().late == 1);
}

void a_clear_asks_for_a_copy_only_where_something_is_lost() {
    auto tracker = make();
    tracker->set_scene(scene);
    tracker->list_reset(first);
    CHECK(!tracker->list_clear_depth(first, scene));  // at the frame's start
    draw(tracker.get(), first, scene, 8);
    CHECK(tracker->list_clear_depth(first, scene));
    CHECK(!tracker->list_clear_depth(first, shadow));
    draw(tracker.get(), first, scene, 2);
    tracker->executed(first);
    CHECK(tracker->snapshot_is_better());
    tracker->end_frame();
    CHECK(!tracker->snapshot_is_better());
    // Drawn in one list, cleared in the next.
    tracker->list_reset(first);
    draw(tracker.get(), first, scene, 8);
    tracker->executed(first);
    tracker->list_reset(second);
    CHECK(tracker->list_clear_depth(second, scene));
    tracker->executed(second);
    CHECK(tracker->snapshot_is_better());
}

void a_hud_is_a_list_that_blends_over_the_finished_picture() {
    auto tracker = make();
    tracker->pipeline_made(1000, false, false);
    tracker->pipeline_made(1001, true, false);
    tracker->list_reset(second);
    tracker->list_targets(second, {{back}, 1}, 0);
    tracker->list_pipeline(second, 1001);
    tracker->list_draw(second);
    CHECK(!tracker->begins_hud(second));  // no picture yet
    tracker->list_reset(first);
    tracker->list_targets(first, {{back}, 1}, 0);
    tracker->list_pipeline(first, 1000);
    tracker->list_draw(first);
    CHECK(!tracker->begins_hud(first));
    tracker->executed(first);
    CHECK(tracker->begins_hud(second));
    CHECK(!tracker->begins_hud(second));  // once a frame
}

void the_pass_with_most_draws_is_the_gbuffer() {
    auto tracker = make();
    tracker->set_scene(scene);
    tracker->list_reset(first);
    tracker->list_targets(first, {{normals}, 1}, scene);
    tracker->list_draw(first);
    tracker->list_targets(first, {{back, normals}, 2}, scene);
    tracker->list_draw(first);
    tracker->list_draw(first);
    tracker->list_targets(first, {}, 0);
    tracker->executed(first);
    CHECK(tracker->pass_targets().count == 2);
    CHECK(tracker->pass_targets().ids[1] == normals);
}

void maps_are_bounded_and_addresses_come_back() {
    auto tracker = make();
    for (ResourceId id = 0; id < 3 * max_textures; ++id) {
        tracker->texture_made(0x100000 + id * 0x100, {64, 64, 40, 1, true}, readable);
    }
    CHECK(tracker->counts().ignored > 0);
    tracker->texture_made(scene, {1280, 720, 40, 1, true}, target);
    TextureInfo info;
    CHECK(tracker->info_of(scene, &info) && info.width == 1280);
    CHECK(tracker->state_of(scene) == target);
    for (std::uint64_t i = 0; i <= unused_frames + 1; ++i) {
        tracker->end_frame();
    }
    tracker->texture_made(0x777700, {8, 8, 40, 1, true}, readable);  // others make room
    CHECK(tracker->knows(0x777700));
    for (ListId list = 1; list < 3 * max_lists; ++list) {
        tracker->list_reset(list * 0x1000);
        tracker->list_draw(list * 0x1000);
    }
}

void lists_are_recorded_by_several_threads() {
    auto tracker = make();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&tracker, i] {
            const ListId list = 0x90000 + static_cast<ListId>(i) * 0x100;
            for (int round = 0; round < 200; ++round) {
                tracker->list_reset(list);
                draw(tracker.get(), list, tracker->texture_of(scene_view), 5);
                tracker->executed(list);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(candidate(tracker.get(), scene).draws == 4 * 200 * 5);
}

}  // namespace

int main() {
    states_follow_execution_not_recording();
    draws_count_per_buffer_and_frame();
    descriptors_are_copied_and_overwritten();
    late_buffers_count_by_their_barriers();
    a_clear_asks_for_a_copy_only_where_something_is_lost();
    a_hud_is_a_list_that_blends_over_the_finished_picture();
    the_pass_with_most_draws_is_the_gbuffer();
    maps_are_bounded_and_addresses_come_back();
    lists_are_recorded_by_several_threads();
    return num_failures() == 0 ? 0 : 1;
}
