"""GLSL that several shaders share."""

#: `anisotropic(map, uv)`: a texture read with up to 8 reads along the longer axis of the pixel's
#: footprint. Drivers' own anisotropic filtering is not used: Mesa's llvmpipe (22.3) can loop for
#: ever in it where a triangle's derivatives grow without bound.
ANISOTROPIC = """
vec4 anisotropic(sampler2D map, vec2 uv) {
    vec2 dx = dFdx(uv), dy = dFdy(uv);
    float x = length(dx), y = length(dy);
    vec2 longer = x > y ? dx : dy, shorter = x > y ? dy : dx;
    float ratio = max(x, y) / max(min(x, y), 1e-6);
    if (!(ratio > 1.25 && max(x, y) < 4.0)) return texture(map, uv);
    int count = ratio < 8.0 ? int(ratio + 0.75) : 8;
    vec2 part = longer / float(count);
    vec4 sum = vec4(0.0);
    for (int k = 0; k < 8; k++) {
        if (k == count) break;
        sum += textureGrad(map, uv + part * (float(k) + 0.5 - 0.5 * float(count)), part, shorter);
    }
    return sum / float(count);
}
"""
