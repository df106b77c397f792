// Small questions about words and text, asked in many rooms. Not here: parsing of prompts or files.
#pragma once

#include <cstddef>
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

/// JSON as Python writes it, made into JSON: bare NaN, Infinity and -Infinity (diffusers' scheduler
/// configurations have them) become null. Text inside strings stays.
std::string json_without_infinities(std::string_view text);

}  // namespace velatura
