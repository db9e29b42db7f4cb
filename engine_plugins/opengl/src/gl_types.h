// The types and names of OpenGL that this plugin uses, from the Khronos registry's specification,
// so that building it needs no headers of any driver or window system.
#pragma once

#include <cstddef>
#include <cstdint>

using GLenum = unsigned int;
using GLboolean = unsigned char;
using GLbitfield = unsigned int;
using GLbyte = signed char;
using GLubyte = unsigned char;
using GLint = int;
using GLuint = unsigned int;
using GLsizei = int;
using GLfloat = float;
using GLdouble = double;
using GLchar = char;
using GLintptr = std::ptrdiff_t;
using GLsizeiptr = std::ptrdiff_t;
using GLuint64 = std::uint64_t;
using GLsync = void*;

namespace realmaster::opengl::gl {

constexpr GLenum NO_ERROR = 0;
constexpr GLbitfield DEPTH_BUFFER_BIT = 0x100, COLOR_BUFFER_BIT = 0x4000;
constexpr GLenum NEAREST = 0x2600;
constexpr GLenum BACK = 0x405, BACK_LEFT = 0x402;
constexpr GLenum NONE = 0;
constexpr GLenum MODELVIEW = 0x1700, PROJECTION = 0x1701;
constexpr GLenum MODELVIEW_MATRIX = 0xBA6, PROJECTION_MATRIX = 0xBA7;
constexpr GLenum DEPTH_TEST = 0xB71, SCISSOR_TEST = 0xC11, BLEND = 0xBE2;
constexpr GLenum DEPTH_RANGE = 0xB70, DEPTH_WRITEMASK = 0xB72, DEPTH_CLEAR_VALUE = 0xB73;
constexpr GLenum VIEWPORT = 0xBA2, SCISSOR_BOX = 0xC10, MATRIX_MODE = 0xBA0;
constexpr GLenum CURRENT_PROGRAM = 0x8B8D, VERTEX_ARRAY_BINDING = 0x85B5;
constexpr GLenum COMPILE = 0x1300;
constexpr GLenum VERSION = 0x1F02, RENDERER = 0x1F01, EXTENSIONS = 0x1F03, NUM_EXTENSIONS = 0x821D;
constexpr GLenum CONTEXT_PROFILE_MASK = 0x9126;
constexpr GLint CONTEXT_COMPATIBILITY_BIT = 2;
constexpr GLenum CLIP_ORIGIN = 0x935C, CLIP_DEPTH_MODE = 0x935D;
constexpr GLenum LOWER_LEFT = 0x8CA1, UPPER_LEFT = 0x8CA2;
constexpr GLenum NEGATIVE_ONE_TO_ONE = 0x935E, ZERO_TO_ONE = 0x935F;
constexpr GLenum FRAMEBUFFER = 0x8D40, READ_FRAMEBUFFER = 0x8CA8, DRAW_FRAMEBUFFER = 0x8CA9;
constexpr GLenum FRAMEBUFFER_BINDING = 0x8CA6, READ_FRAMEBUFFER_BINDING = 0x8CAA;
constexpr GLenum RENDERBUFFER = 0x8D41, RENDERBUFFER_BINDING = 0x8CA7;
constexpr GLenum COLOR_ATTACHMENT0 = 0x8CE0, DEPTH_ATTACHMENT = 0x8D00, STENCIL_ATTACHMENT = 0x8D20;
constexpr GLenum DEPTH_STENCIL_ATTACHMENT = 0x821A, FRAMEBUFFER_COMPLETE = 0x8CD5;
constexpr GLenum ATTACHMENT_OBJECT_TYPE = 0x8CD0, ATTACHMENT_OBJECT_NAME = 0x8CD1;
constexpr GLenum ATTACHMENT_TEXTURE_LEVEL = 0x8CD2, ATTACHMENT_DEPTH_SIZE = 0x8216;
constexpr GLenum ATTACHMENT_STENCIL_SIZE = 0x8217, ATTACHMENT_COMPONENT_TYPE = 0x8211;
constexpr GLenum ATTACHMENT_COLOR_ENCODING = 0x8210;
constexpr GLenum TEXTURE = 0x1702, TEXTURE_2D = 0xDE1, TEXTURE_WIDTH = 0x1000;
constexpr GLenum TEXTURE_HEIGHT = 0x1001, TEXTURE_INTERNAL_FORMAT = 0x1003;
constexpr GLenum TEXTURE_2D_MULTISAMPLE = 0x9100, TEXTURE_BINDING_2D = 0x8069;
constexpr GLenum TEXTURE_BINDING_2D_MULTISAMPLE = 0x9104;
constexpr GLenum RENDERBUFFER_WIDTH = 0x8D42, RENDERBUFFER_HEIGHT = 0x8D43;
constexpr GLenum RENDERBUFFER_INTERNAL_FORMAT = 0x8D44;
constexpr GLenum SAMPLES = 0x80A9, SAMPLE_BUFFERS = 0x80A8, READ_BUFFER = 0xC02;
constexpr GLenum DRAW_BUFFER0 = 0x8825, DOUBLEBUFFER = 0xC32;
constexpr GLenum RGBA = 0x1908, RGBA8 = 0x8058, UNSIGNED_BYTE = 0x1401, FLOAT = 0x1406;
constexpr GLenum DEPTH_COMPONENT = 0x1902, FRAMEBUFFER_SRGB = 0x8DB9;
constexpr GLenum DEPTH24_STENCIL8 = 0x88F0, DEPTH32F_STENCIL8 = 0x8CAD;
constexpr GLenum DEPTH_COMPONENT16 = 0x81A5, DEPTH_COMPONENT24 = 0x81A6;
constexpr GLenum DEPTH_COMPONENT32F = 0x8CAC, SIGNED_NORMALIZED = 0x8F9C;
constexpr GLenum PIXEL_PACK_BUFFER = 0x88EB, PIXEL_PACK_BUFFER_BINDING = 0x88ED;
constexpr GLenum ARRAY_BUFFER = 0x8892, ELEMENT_ARRAY_BUFFER = 0x8893, UNIFORM_BUFFER = 0x8A11;
constexpr GLenum STREAM_READ = 0x88E1;
constexpr GLbitfield MAP_READ_BIT = 1, MAP_WRITE_BIT = 2, MAP_PERSISTENT_BIT = 0x40;
constexpr GLenum PACK_SWAP_BYTES = 0xD00, PACK_LSB_FIRST = 0xD01, PACK_ROW_LENGTH = 0xD02;
constexpr GLenum PACK_SKIP_ROWS = 0xD03, PACK_SKIP_PIXELS = 0xD04, PACK_ALIGNMENT = 0xD05;
constexpr GLenum PACK_SKIP_IMAGES = 0x806B, PACK_IMAGE_HEIGHT = 0x806C;
constexpr GLenum PACK_INVERT_MESA = 0x8758;
constexpr GLenum RED_SCALE = 0xD14, RED_BIAS = 0xD15, GREEN_SCALE = 0xD18, GREEN_BIAS = 0xD19;
constexpr GLenum BLUE_SCALE = 0xD1A, BLUE_BIAS = 0xD1B, ALPHA_SCALE = 0xD1C, ALPHA_BIAS = 0xD1D;
constexpr GLenum DEPTH_SCALE = 0xD1E, DEPTH_BIAS = 0xD1F, MAP_COLOR = 0xD10;
constexpr GLenum SYNC_GPU_COMMANDS_COMPLETE = 0x9117, ALREADY_SIGNALED = 0x911A;
constexpr GLenum CONDITION_SATISFIED = 0x911C, WAIT_FAILED = 0x911D;
constexpr GLenum CLAMP_READ_COLOR = 0x891C;
constexpr GLenum ACTIVE_UNIFORMS = 0x8B86, ACTIVE_UNIFORM_MAX_LENGTH = 0x8B87;
constexpr GLenum ACTIVE_UNIFORM_BLOCKS = 0x8A36, UNIFORM_BLOCK_BINDING = 0x8A3F;
constexpr GLenum UNIFORM_TYPE = 0x8A37, UNIFORM_BLOCK_INDEX = 0x8A3A, UNIFORM_OFFSET = 0x8A3B;
constexpr GLenum UNIFORM_IS_ROW_MAJOR = 0x8A3E, FLOAT_MAT4 = 0x8B5C;

}  // namespace realmaster::opengl::gl
