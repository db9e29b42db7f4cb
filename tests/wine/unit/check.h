// The unit tests' one macro: says what did not hold, and goes on.
#pragma once

#include <cstdio>

inline int& num_failures() {
    static int count = 0;
    return count;
}

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            ++num_failures();                                                        \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);              \
        }                                                                            \
    } while (false)
