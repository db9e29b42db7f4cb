// The setup of realmaster_d3d.asi: any Direct3D game, of which nothing is known but its settings.
#include "d3d11/hooks.h"
#include "d3d12/hooks.h"
#include "runtime.h"

namespace realmaster {

const Backend backends[] = {d3d11::backend(), d3d12::backend()};
const int num_backends = 2;

const GameSetup& game_setup() {
    static const GameSetup setup{"realmaster_d3d.ini",
                                 {},
                                 [](HMODULE) noexcept {},
                                 [](HMODULE) noexcept {},
                                 []() noexcept -> const char* { return nullptr; },
                                 nullptr};
    return setup;
}

}  // namespace realmaster
