// Pictures that show what an adapter does: files beside it and pictures within its header. Bytes
// only; nobody decodes them here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "velatura/library.h"

namespace velatura::lora::library {

/// Larger pictures are passed over, in files and in headers, as other programs do.
inline constexpr std::size_t kLargestPreview = std::size_t{8} << 20;

/// "image/png", "image/jpeg", "image/webp", "image/gif" by the first bytes; empty for anything
/// else.
std::string_view media_type_of(std::span<const std::byte> bytes);

/// RFC 4648, with or without padding; white space is passed over. nullopt for any other character,
/// and for more than kLargestPreview bytes.
std::optional<std::vector<std::byte>> decode_base64(std::string_view text);

/// The picture of a header's value: a "data:image/…;base64,…" address, or a JSON list whose first
/// entry is one or is bare base64.
std::optional<LibraryPreview> preview_in_value(std::string_view value);

std::optional<LibraryPreview> preview_in_file(const std::filesystem::path& path);

}  // namespace velatura::lora::library
