// Proves vtable_slots.h: compiles only where every number is that of the SDK's C declarations.
#define COBJMACROS
#define CINTERFACE
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <d3d11_1.h>
#include <d3d12.h>
#include <dxgi1_5.h>
#include <stddef.h>

#include "vtable_slots.h"

#define REALMASTER_CHECK_SLOT(name, type, method, number)                     \
    _Static_assert(offsetof(type##Vtbl, method) == (number) * sizeof(void*), \
                   #type "::" #method " stands elsewhere");
REALMASTER_SLOTS(REALMASTER_CHECK_SLOT)
