// Small questions about words and text, asked in many rooms. Not here: parsing of prompts or files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace velatura {

/// Levenshtein distance in bytes: insertions, deletions and substitutions cost 1.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// At most `count` of `known`, the nearest to `wanted` first; equal distances keep the order of
/// `known`. Upper and lower case count as equal. For messages: "no sampler 'eular'; nearest: euler,
/// …".
std::vector<std::string> nearest_names(std::string_view wanted, std::span<const std::string> known,
                                       std::size_t count = 3);

/// Without the blanks of ASCII at both ends.
std::string_view trimmed(std::string_view text);
/// ASCII letters in lower case; other bytes stay.
std::string lowered(std::string_view text);

/// A file's size for people, three digits or so: "34.8 kB", "1.5 MB", "144 MB", "6.94 GB".
std::string size_text(std::uint64_t bytes);

/// A name from a file, for a message that may be said of a million others: what exceeds `max_bytes`
/// is cut at a character, with "…" for the rest. Names that people give have some hundred bytes; in
/// a file made to do harm one takes a hundred megabytes.
std::string shortened(std::string_view text, std::size_t max_bytes = 300);

/// JSON as Python writes it, made into JSON: bare NaN, Infinity and -Infinity (diffusers' scheduler
/// configurations have them) become null. Text inside strings stays.
std::string json_without_infinities(std::string_view text);

}  // namespace velatura
