// Writes the scene of the test games as JSON: describe PATH FRAMES.
#include <cstdlib>

#include "scene.h"

int main(int argc, char** argv) {
    return argc == 3 && scene::describe(argv[1], std::atoi(argv[2]), {}) ? 0 : 1;
}
