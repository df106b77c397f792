#include "lora/tools/json_text.h"

#include <gtest/gtest.h>

namespace velatura::lora::tools {
namespace {

using Json = nlohmann::ordered_json;

TEST(JsonText, IsWhatTheLibraryWrites) {
  const std::vector<std::string> texts = {"plain", "\"quoted\"\\", "line\nend\x01\x7f", "größer",
                                          "\xff\xc3"};
  const Json nested = {{"a", {1, 2.5, nullptr}}, {"b", Json::object()}, {"c\n", {{"d", "\n"}}}};
  Json whole;
  whole["number"] = 1e-7;
  whole["texts"] = texts;
  whole["none"] = Json::array();
  whole["nested"] = nested;
  whole["list"] = {{{"name", texts[1]}, {"empty", Json::array()}}, Json::object(), nested};

  JsonText json;
  json.begin('{');
  json.field("number", 1e-7);
  json.strings("texts", texts);
  json.strings("none", std::vector<std::string>());
  json.field("nested", nested);
  json.key("list");
  json.begin('[');
  json.begin('{');
  json.text("name", texts[1]);
  json.strings("empty", std::vector<std::string>());
  json.end('}');
  json.begin('{');
  json.end('}');
  json.value(nested);
  json.end(']');
  json.end('}');
  EXPECT_EQ(json.take(), whole.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace
}  // namespace velatura::lora::tools
