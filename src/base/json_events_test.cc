#include "base/json_events.h"

#include <gtest/gtest.h>

#include <string>

#include "base/utf8.h"

namespace velatura {

namespace {

/// Writes down what it is told.
class Log : public JsonEvents {
 public:
  void null() override { text += "null "; }
  void boolean(bool value) override { text += value ? "true " : "false "; }
  void whole_number(std::uint64_t value) override { text += std::to_string(value) + " "; }
  void other_number(std::string_view number) override { text.append(number) += "! "; }
  void string(const std::string& value) override { text += "'" + value + "' "; }
  void begin_object() override { text += "{ "; }
  void key(const std::string& name) override { text += name + ": "; }
  void end_object() override { text += "} "; }
  void begin_array() override { text += "[ "; }
  void end_array() override { text += "] "; }
  std::string text;
};

std::string events(std::string_view json) {
  Log log;
  const std::size_t stopped = read_json(json, log);
  return stopped == kWholeJson ? log.text : "stopped at " + std::to_string(stopped);
}

TEST(JsonEvents, TellsWhatIsThere) {
  EXPECT_EQ(events(R"( {"a": [1, -2, 0.5e-3, true], "b": {}, "c": null, "d": []} )"),
            "{ a: [ 1 -2! 0.5e-3! true ] b: { } c: null d: [ ] } ");
  EXPECT_EQ(events("18446744073709551615"), "18446744073709551615 ");
  EXPECT_EQ(events("18446744073709551616"), "18446744073709551616! ");
  EXPECT_EQ(events("0"), "0 ");
  EXPECT_EQ(events(R"("\u00e4\ud83d\ude00\n\"\\\/ü")"), "'ä😀\n\"\\/ü' ");
}

TEST(JsonEvents, RefusesWhatIsNoJson) {
  for (const char* wrong : {"",
                            " ",
                            "{",
                            "}",
                            "[1,]",
                            "[1 2]",
                            "{\"a\"}",
                            "{\"a\":}",
                            "{\"a\":1,}",
                            "{a:1}",
                            "01",
                            "1.",
                            ".5",
                            "-",
                            "+1",
                            "1e",
                            "nul",
                            "tru",
                            "\"",
                            "\"\\x\"",
                            "\"\\u12\"",
                            "\"\\ud800\"",
                            "\"\\udc00\"",
                            "\"\\ud800\\u0041\"",
                            "\"a\nb\"",
                            "\"\xff\"",
                            "\"\xed\xa0\x80\"",
                            "1 2",
                            "{\"a\":1}x",
                            "[1}",
                            "NaN",
                            "'a'",
                            "// x",
                            "\"\\u00g0\"",
                            "\"\\u-001\""}) {
    EXPECT_EQ(events(wrong).substr(0, 10), "stopped at") << wrong;
  }
  EXPECT_EQ(events("{\"a\":1,x"), "stopped at 7");
}

/// Strings are looked at eight characters at once: whatever ends that, wherever it stands.
TEST(JsonEvents, FindsTheEndOfAStringAtEveryPlace) {
  for (std::size_t length = 0; length < 40; ++length) {
    const std::string plain(length, '~');
    EXPECT_EQ(events('"' + plain + '"'), "'" + plain + "' ");
    for (std::size_t at = 0; at < length; ++at) {
      const auto with = [&](std::string_view piece) {
        return '"' + plain.substr(0, at) + std::string(piece) + plain.substr(at) + '"';
      };
      EXPECT_EQ(events(with("\\\"")), "'" + plain.substr(0, at) + '"' + plain.substr(at) + "' ");
      EXPECT_EQ(events(with("ä")), "'" + plain.substr(0, at) + "ä" + plain.substr(at) + "' ");
      EXPECT_EQ(events(with("!")), "'" + plain.substr(0, at) + "!" + plain.substr(at) + "' ");
      const std::string stopped = "stopped at " + std::to_string(1 + at);
      for (const char* wrong : {"\n", "\x01", "\x1f"}) EXPECT_EQ(events(with(wrong)), stopped);
      for (const char* wrong : {"\xff", "\x80"})
        EXPECT_EQ(events(with(wrong)).substr(0, 10), "stopped at");
      EXPECT_EQ(events(with("\"")).substr(0, 10), "stopped at");
    }
    EXPECT_EQ(events('"' + plain).substr(0, 10), "stopped at");
  }
}

TEST(JsonEvents, NestingIsBounded) {
  EXPECT_EQ(events(std::string(1 << 20, '[')), "stopped at 65");
  EXPECT_EQ(events(std::string(60, '[') + std::string(60, ']')).substr(0, 4), "[ [ ");
}

TEST(Utf8, TakesWellFormedCharactersOnly) {
  EXPECT_TRUE(is_utf8("aäa\u20ac\U0001f600\U0010ffff"));
  for (const char* wrong : {"\x80", "\xc0\x80", "\xc2", "\xe0\x80\x80", "\xed\xa0\x80",
                            "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5", "a\xff"})
    EXPECT_FALSE(is_utf8(wrong)) << wrong;
  std::string text;
  for (const std::uint32_t code : {0x41U, 0xe4U, 0x20acU, 0x1f600U}) append_utf8(text, code);
  EXPECT_EQ(text, "Aä€😀");
}

}  // namespace

}  // namespace velatura
