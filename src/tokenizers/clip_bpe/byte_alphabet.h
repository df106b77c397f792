// The printable character that stands for each byte in the files of byte-level tokenizers (GPT-2,
// CLIP, Qwen).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace velatura::tokenizers {

/// The bytes in the order in which a vocabulary counts them: printable Latin-1 first, then the
/// rest. `index` is in [0, 256).
unsigned char alphabet_byte(int index);

/// The UTF-8 of the character that stands for `byte`: itself where printable, else U+0100 and up in
/// order.
std::string alphabet_character(unsigned char byte);

/// The bytes that `text` (characters of the alphabet) stands for; nothing when a character is not
/// of it.
std::optional<std::string> alphabet_to_bytes(std::string_view text);

}  // namespace velatura::tokenizers
