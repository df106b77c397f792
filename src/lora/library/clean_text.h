// Texts from other people's files, made fit to show and to store: valid UTF-8, no control
// characters, bounded. Not here: what the texts mean.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::lora::library {

/// `text` in one line: blanks at the ends are gone, runs of blanks and control characters within
/// become one space, bytes that are no UTF-8 become U+FFFD, and what exceeds `max_bytes` is cut at
/// a character with "…" for the rest. Reads little more of `text` than it keeps.
std::string clean_line(std::string_view text, std::size_t max_bytes);

/// The same, but lines stay: line ends become \n, at most one empty line in a row.
std::string clean_lines(std::string_view text, std::size_t max_bytes);

/// Text of HTML as the hubs' descriptions have it: tags are gone, paragraphs and breaks end lines,
/// the five named entities and numeric ones are characters. Text without a tag stays as it is.
std::string text_of_html(std::string_view html);

/// Blanks and control characters at both ends are gone.
std::string_view stripped(std::string_view text);
/// At `separator`, each part stripped, empty ones dropped.
std::vector<std::string_view> split_list(std::string_view text, char separator);

/// Lower case, letters and digits alone: "SD 1.5" and "sd_15" meet. Bytes beyond ASCII stay.
std::string squeezed(std::string_view text);

}  // namespace velatura::lora::library
