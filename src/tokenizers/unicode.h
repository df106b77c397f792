// The little Unicode that tokenizers and prompt readers need: well-formed UTF-8, normal form C,
// lower case, and the classes white space and word. Not here: regular expressions (PCRE2, inside
// each tokenizer).
//
// Pure functions. Those that take "valid" text expect what sanitise_utf8 returned.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace velatura::tokenizers {

/// `text` with every ill-formed byte sequence replaced by U+FFFD, one for each maximal part of a
/// character, as Python's and browsers' decoders do. Surrogates and overlong forms are ill-formed.
std::string sanitise_utf8(std::string_view text);

/// The character of valid `text` that begins at byte `position`; moves `position` behind it.
char32_t next_character(std::string_view text, std::size_t& position);

/// Normal form C (canonical composition) of valid `text`.
std::string compose(std::string_view text);

/// Valid `text` in lower case, character by character (so a capital sigma at a word's end becomes
/// σ, as in the reference tokenizers, not ς).
std::string to_lower(std::string_view text);

/// Unicode's White_Space property.
bool is_space(char32_t character);

/// A letter, a number or the low line: what regular expressions call \w.
bool is_word(char32_t character);

}  // namespace velatura::tokenizers
