// The readers behind codec.h, one a format. Each gets bytes that begin with its format's signature,
// and throws through refuse(). Vendor types stay in their .cc files.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "image/codec.h"

namespace velatura::image {

Picture decode_png(std::span<const std::byte> bytes, std::string_view name,
                   const ReadLimits& limits);
Picture decode_jpeg(std::span<const std::byte> bytes, std::string_view name,
                    const ReadLimits& limits);
Picture decode_webp(std::span<const std::byte> bytes, std::string_view name,
                    const ReadLimits& limits);

/// Throws bad_file: "cannot read picture `name`: `reason`".
[[noreturn]] void refuse(std::string_view name, std::string_view reason);

/// Refuses sizes that are zero or over the limits, before anything of that size is allocated.
void check_size(std::string_view name, std::int64_t width, std::int64_t height,
                const ReadLimits& limits);

/// An Image of that size with its pixels allocated.
Image make_image(std::int64_t width, std::int64_t height, int channels);

}  // namespace velatura::image
