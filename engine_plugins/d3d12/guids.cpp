// Defines Direct3D 12's interface ids, which mingw's libraries lack.
#include <initguid.h>

#include "sdk.h"
