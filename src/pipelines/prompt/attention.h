// The emphasis syntax of web UIs: ( ) [ ] (x:1.2), escapes and BREAK. Not here: tokens and chunks
// (chunks.h), adapter tags, which are taken out before (tags.h), and prompt editing by step
// ([a:b:0.5]), which reads as plain brackets.
//
// Source: parse_prompt_attention of AUTOMATIC1111's modules/prompt_parser.py 1.10, whose results
// this equals, including what happens to unbalanced brackets and to BREAK inside brackets (it
// becomes a word: its mark, the weight −1, is multiplied away).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace velatura::pipelines::prompt {

/// A stretch of text with one weight; neighbours differ in weight.
struct Fragment {
  std::string text;
  double weight = 1.0;

  bool is_break() const { return text == "BREAK" && weight == -1.0; }
  bool operator==(const Fragment&) const = default;
};

/// Never empty: the empty prompt is one empty fragment. `(` multiplies by 1.1 and `[` by 1/1.1 up
/// to its partner or the end, `(x:w)` by w; `\` makes the next bracket or `\` plain text. A number
/// that is none, as in (x:1.2.3), is text. Any bytes are allowed (ill-formed UTF-8 becomes U+FFFD).
/// Throws invalid_argument when a weight is not finite.
std::vector<Fragment> parse_attention(std::string_view prompt);

}  // namespace velatura::pipelines::prompt
