// From device depth to planar metres. Pure arithmetic: knows no graphics API.
#pragma once

#include <cmath>
#include <limits>

namespace realmaster {

// A perspective projection with depth range 0..1, as Direct3D's. near_m < far_m; far_m may be +inf.
// near_m == 0 means unknown: no metres can be had.
struct Projection {
    double near_m = 0.0;
    double far_m = 0.0;
    bool reversed_z = false;

    [[nodiscard]] bool known() const noexcept {
        return near_m > 0.0 && far_m > near_m;
    }
};

// The two coefficients of z = 1 / (slope * d + offset), so that one pixel costs one division.
// Forward d: 1/z = 1/n - d (1/n - 1/f). Reversed: d takes the place of 1 - d.
class DepthToMetres {
public:
    explicit DepthToMetres(const Projection& projection) noexcept
        : sky_(projection.reversed_z ? 0.0F : 1.0F) {
        const double near_inverse = 1.0 / projection.near_m;
        const double far_inverse = std::isinf(projection.far_m) ? 0.0 : 1.0 / projection.far_m;
        slope_ = projection.reversed_z ? near_inverse - far_inverse : far_inverse - near_inverse;
        offset_ = projection.reversed_z ? far_inverse : near_inverse;
    }

    // Metres; +inf where nothing was drawn (the clear value), NaN for what is no depth.
    [[nodiscard]] float operator()(float device) const noexcept {
        if (device == sky_) {
            return std::numeric_limits<float>::infinity();
        }
        if (!(device >= 0.0F && device <= 1.0F)) {
            return std::numeric_limits<float>::quiet_NaN();
        }
        const double inverse = slope_ * static_cast<double>(device) + offset_;
        return inverse > 0.0 ? static_cast<float>(1.0 / inverse)
                             : std::numeric_limits<float>::infinity();
    }

private:
    double slope_ = 0.0;
    double offset_ = 0.0;
    float sky_;
};

}  // namespace realmaster
