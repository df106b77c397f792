// Bytes of metadata to UTF-8 and back: Latin-1, UTF-16, and telling what a text of unknown encoding
// is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace velatura::image {

/// Well-formed UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes);

std::string latin1_to_utf8(std::string_view bytes);
/// nullopt when a character lies above U+00FF or `text` is not UTF-8.
std::optional<std::string> utf8_to_latin1(std::string_view text);

/// Lone surrogates become U+FFFD; an odd last byte is dropped.
std::string utf16_to_utf8(std::string_view bytes, bool big_endian);

/// UTF-8 where the bytes are that, else Latin-1: several programs write UTF-8 where a standard says
/// Latin-1.
std::string guess_to_utf8(std::string_view bytes);

}  // namespace velatura::image
