"""The street game's shaders (GLSL 330)."""

from engine_plugins.panda3d.glsl import ANISOTROPIC

_SKY = """
uniform vec3 sun_direction;
uniform vec3 sun_color;
uniform vec3 sky_top;
uniform vec3 sky_low;
vec3 sky(vec3 d) {
    float h = clamp(d.z, 0.0, 1.0);
    vec3 c = mix(sky_low, sky_top, pow(h, 0.45));
    float s = max(dot(d, sun_direction), 0.0);
    c += sun_color * (0.05 * pow(s, 6.0) + 0.16 * pow(s, 60.0));
    return d.z < 0.0 ? mix(c, vec3(0.16, 0.155, 0.15), clamp(-d.z * 6.0, 0.0, 1.0)) : c;
}
vec3 tonemap(vec3 c) {
    c *= 0.86;
    c = (c * (2.51 * c + 0.03)) / (c * (2.43 * c + 0.59) + 0.14);
    c = clamp(c, 0.0, 1.0);
    return mix(c * 12.92, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
}
"""

VERTEX = """#version 330
uniform mat4 p3d_ModelViewProjectionMatrix;
uniform mat4 p3d_ModelMatrix;
in vec4 p3d_Vertex;
in vec3 p3d_Normal;
in vec2 p3d_MultiTexCoord0;
out vec3 world;
out vec3 normal;
out vec2 uv;
void main() {
    gl_Position = p3d_ModelViewProjectionMatrix * p3d_Vertex;
    world = (p3d_ModelMatrix * p3d_Vertex).xyz;
    normal = mat3(p3d_ModelMatrix) * p3d_Normal;
    uv = p3d_MultiTexCoord0;
}
"""

FRAGMENT = (
    """#version 330
uniform sampler2D p3d_Texture0;
uniform sampler2DShadow static_map;
uniform sampler2DShadow moving_map;
uniform mat4 static_from_world;
uniform mat4 moving_from_world;
uniform vec3 eye_world;
uniform vec4 base_color;
uniform vec4 gloss;  // mirror at normal incidence, roughness, metallic, leaf
in vec3 world;
in vec3 normal;
in vec2 uv;
out vec4 out_color;
"""
    + _SKY
    + ANISOTROPIC
    + """
float shadow(sampler2DShadow map, mat4 from_world, vec3 at, vec2 texel, float bias) {
    vec3 p = (from_world * vec4(at, 1.0)).xyz;
    if (any(lessThan(p, vec3(0.0))) || any(greaterThan(p, vec3(1.0)))) return 1.0;
    p.z -= bias;
    float lit = 0.0;
    lit += texture(map, vec3(p.xy + texel * vec2(-0.5, -0.5), p.z));
    lit += texture(map, vec3(p.xy + texel * vec2(0.5, -0.5), p.z));
    lit += texture(map, vec3(p.xy + texel * vec2(-0.5, 0.5), p.z));
    lit += texture(map, vec3(p.xy + texel * vec2(0.5, 0.5), p.z));
    return 0.25 * lit;
}
void main() {
    vec3 n = normalize(normal);
    vec3 v = world - eye_world;
    float distance = length(v);
    v /= distance;
    if (dot(n, v) > 0.0) n = -n;
    vec3 albedo = anisotropic(p3d_Texture0, uv).rgb * base_color.rgb;
    float facing = dot(n, sun_direction);
    float light = max(facing, 0.0);
    if (gloss.w > 0.5) light = 0.35 + 0.5 * light + 0.15 * abs(facing);
    if (light > 0.0) {
        vec3 at = world + n * 0.03;
        vec2 fine = 1.0 / textureSize(static_map, 0), coarse = 1.0 / textureSize(moving_map, 0);
        light *= shadow(static_map, static_from_world, at, fine, 0.0001);
        light *= shadow(moving_map, moving_from_world, at, coarse, 0.0002);
    }
    vec3 ground = vec3(0.20, 0.185, 0.165);
    vec3 ambient = mix(ground, mix(sky_low, sky_top, 0.45) * 0.62, 0.5 + 0.5 * n.z);
    vec3 color = albedo * (sun_color * light * 0.318 * 1.9 + ambient * 0.95);
    color *= 1.0 - 0.6 * gloss.z;
    if (gloss.x > 0.0) {
        vec3 r = reflect(v, n);
        float f = gloss.x + (1.0 - gloss.x) * pow(1.0 - max(-dot(v, n), 0.0), 5.0);
        vec3 tint = mix(vec3(1.0), albedo, gloss.z);
        color = color * (1.0 - f) + f * tint * sky(r) * smoothstep(-0.25, 0.35, r.z);
        float s = max(dot(r, sun_direction), 0.0);
        float spot = pow(s, mix(400.0, 30.0, gloss.y)) * (0.4 + 2.0 * gloss.x);
        color += tint * sun_color * light * spot;
    }
    color = mix(color, sky_low * 0.95, 1.0 - exp(-distance * 0.0019));
    out_color = vec4(tonemap(color), 1.0);
}
"""
)

SKY_VERTEX = """#version 330
in vec4 p3d_Vertex;
void main() { gl_Position = vec4(p3d_Vertex.x, p3d_Vertex.z, 1.0, 1.0); }
"""

SKY_FRAGMENT = (
    """#version 330
uniform mat4 world_from_pixel;
uniform float frame_height;
out vec4 out_color;
"""
    + _SKY
    + """
void main() {
    vec2 pixel = vec2(gl_FragCoord.x, frame_height - gl_FragCoord.y);
    vec3 d = normalize(mat3(world_from_pixel) * vec3(pixel, 1.0));
    vec3 c = sky(d);
    c += sun_color * 8.0 * smoothstep(0.99986, 0.99992, dot(d, sun_direction));
    out_color = vec4(tonemap(c), 1.0);
}
"""
)

DEPTH_VERTEX = """#version 330
uniform mat4 p3d_ModelViewProjectionMatrix;
in vec4 p3d_Vertex;
void main() { gl_Position = p3d_ModelViewProjectionMatrix * p3d_Vertex; }
"""

DEPTH_FRAGMENT = """#version 330
out vec4 out_color;
void main() { out_color = vec4(1.0); }
"""

RESOLVE_VERTEX = """#version 330
in vec4 p3d_Vertex;
void main() { gl_Position = vec4(p3d_Vertex.x, p3d_Vertex.z, 0.0, 1.0); }
"""

# A pixel's centre is where four samples meet: the filter gives their mean.
RESOLVE_FRAGMENT = """#version 330
uniform sampler2D picture;
uniform vec2 texel;
out vec4 out_color;
void main() { out_color = vec4(texture(picture, gl_FragCoord.xy * texel).rgb, 1.0); }
"""
