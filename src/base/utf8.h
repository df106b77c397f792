// What UTF-8 is. Not here: Unicode properties (tokenizers/unicode.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace velatura {

/// Length of the UTF-8 character at the start of `text`; 0 where there is none: a stray byte, an
/// overlong form, a surrogate, a value beyond U+10FFFF, nothing at all (Unicode, table 3-7).
std::size_t utf8_character_length(std::string_view text);

bool is_utf8(std::string_view text);

/// Appends the character `code`, which must be at most U+10FFFF and no surrogate.
void append_utf8(std::string& text, std::uint32_t code);

}  // namespace velatura
