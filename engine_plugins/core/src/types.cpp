// The names of causes on the wire; knows nothing else.
#include "realmaster/types.h"

namespace realmaster {

const char* name_of(Cause cause) noexcept {
    switch (cause) {
        case Cause::no_credit:
            return "no_credit";
        case Cause::readback_late:
            return "readback_late";
        case Cause::encode:
            return "encode";
        case Cause::oversize:
            return "oversize";
        case Cause::disconnected:
            return "disconnected";
    }
    return "other";
}

}  // namespace realmaster
