#include "lora/tools/json_text.h"

#include <algorithm>

namespace velatura::lora::tools {

namespace {

constexpr std::size_t kIndent = 2;

std::string dumped(const JsonText::Json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool is_plain(char letter) {
  return letter >= ' ' && letter <= '~' && letter != '"' && letter != '\\';
}

}  // namespace

void JsonText::begin_item() {
  if (std::exchange(is_behind_key_, false) || has_items_.empty()) return;
  text_ += has_items_.back() ? ",\n" : "\n";
  has_items_.back() = true;
  text_.append(kIndent * has_items_.size(), ' ');
}

void JsonText::append_quoted(std::string_view value) {
  if (!std::ranges::all_of(value, is_plain)) {
    text_ += dumped(Json(std::string(value)), -1);
    return;
  }
  text_ += '"';
  text_ += value;
  text_ += '"';
}

void JsonText::begin(char bracket) {
  begin_item();
  text_ += bracket;
  has_items_.push_back(false);
}

void JsonText::end(char bracket) {
  const bool has_items = has_items_.back();
  has_items_.pop_back();
  if (has_items) {
    text_ += '\n';
    text_.append(kIndent * has_items_.size(), ' ');
  }
  text_ += bracket;
}

void JsonText::key(std::string_view name) {
  begin_item();
  append_quoted(name);
  text_ += ": ";
  is_behind_key_ = true;
}

void JsonText::string(std::string_view value) {
  begin_item();
  append_quoted(value);
}

void JsonText::value(const Json& value) {
  begin_item();
  // No line ends but those between items: within strings they are escaped.
  for (const char letter : dumped(value, static_cast<int>(kIndent))) {
    text_ += letter;
    if (letter == '\n') text_.append(kIndent * has_items_.size(), ' ');
  }
}

void JsonText::field(std::string_view name, const Json& small) {
  key(name);
  value(small);
}

void JsonText::text(std::string_view name, std::string_view value) {
  key(name);
  string(value);
}

}  // namespace velatura::lora::tools
