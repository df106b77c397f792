// JSON written piece by piece, byte for byte as the JSON library's dump(2): a list of a million
// tensors as values takes a gigabyte. Not here: reading.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::lora::tools {

/// One document. Bytes of strings that are no UTF-8 become U+FFFD.
class JsonText {
 public:
  using Json = nlohmann::ordered_json;

  /// '{' or '[', and what closes it.
  void begin(char bracket);
  void end(char bracket);
  void key(std::string_view name);
  void string(std::string_view value);
  /// A small one, whole.
  void value(const Json& value);
  /// Of an object: a key and its value.
  void field(std::string_view name, const Json& small);
  void text(std::string_view name, std::string_view value);
  template <typename Strings>
  void strings(std::string_view name, const Strings& texts) {
    key(name);
    begin('[');
    for (std::string_view text : texts) string(text);
    end(']');
  }

  std::string take() { return std::move(text_); }

 private:
  void begin_item();
  void append_quoted(std::string_view value);

  std::string text_;
  std::vector<bool> has_items_;  ///< of every open bracket
  bool is_behind_key_ = false;
};

}  // namespace velatura::lora::tools
