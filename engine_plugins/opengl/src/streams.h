// What the plugin says of itself and its streams in its hello.
#pragma once

#include "frame_tracker.h"
#include "gbuffer_normals.h"
#include "pixels.h"
#include "realmaster/types.h"

namespace realmaster::opengl {

struct StreamFacts {
    Extent window, target;  // of what is presented, and of what the world is drawn to
    World world;
    bool has_pose = false, up_known = false;
    NormalFit fit;
    int attachment = -1;
};

// Asks OpenGL for its version; a context must be current.
Config config_of(const StreamFacts& facts);

}  // namespace realmaster::opengl
