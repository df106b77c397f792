#include "image/infotext.h"

#include <gtest/gtest.h>

#include "image/text_encoding.h"

namespace velatura::image {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

Infotext example() {
  return {"a <lora:ink:0.8> cat,\n  oil (painting:1.2)",
          "blurry, ugly",
          {{"Steps", "20"},
           {"Sampler", "Euler a"},
           {"Schedule type", "Karras"},
           {"CFG scale", "7"},
           {"Seed", "42"},
           {"Size", "512x512"},
           {"Model hash", "45a21ea00a"},
           {"Model", "v1-5"},
           {"Lora hashes", "ink: 0123456789ab, clay: ba9876543210"},
           {"Version", "velatura 0.1.0"}}};
}

TEST(Infotext, WritesWhatWebUisWrite) {
  EXPECT_EQ(
      write_infotext(example()),
      "a <lora:ink:0.8> cat,\n  oil (painting:1.2)\n"
      "Negative prompt: blurry, ugly\n"
      "Steps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 512x512, "
      "Model hash: 45a21ea00a, Model: v1-5, "
      "Lora hashes: \"ink: 0123456789ab, clay: ba9876543210\", Version: velatura 0.1.0");
  EXPECT_EQ(write_infotext({"cat", "", {{"Steps", "1"}, {"Seed", "2"}}}), "cat\nSteps: 1, Seed: 2");
}

TEST(Infotext, RoundTrips) {
  EXPECT_EQ(parse_infotext(write_infotext(example())), example());
  Infotext hard = example();
  hard.prompt = "猫, style: oil, mood: dark\nSteps: are not fields here";
  for (const char* value : {"", " outer ", "\"quoted\"", "\"", "a\"b", "back\\slash",
                            "C:\\dir\\, x", "line\nbreak", "tab\tin", "[1, 2]", "{\"a\": [\"}\"]}",
                            "[open, {", "猫: 🎨", ",", ":", "a,\\", "x\r\ny"}) {
    hard.fields.emplace_back("Extra", value);
  }
  EXPECT_EQ(parse_infotext(write_infotext(hard)), hard);
  hard.negative.clear();
  EXPECT_EQ(parse_infotext(write_infotext(hard)), hard);
  hard.prompt.clear();
  EXPECT_EQ(parse_infotext(write_infotext(hard)), hard);
}

TEST(Infotext, ReadsWebUis) {
  // sd-webui 1.10.1
  const Infotext webui = parse_infotext(
      "general, masterpiece, best quality, amazing quality, \n1girl, solo, hatsune miku, テスト\n\n"
      "Negative prompt: bad quality, worst quality, worst detail, sketch, censor, \n\n"
      "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 3888671826, "
      "Size: 1024x1024, "
      "Model hash: 45a21ea00a, Model: waiIllustriousSDXL_v160, Denoising strength: 0.3, Hires "
      "upscale: 1.5, "
      "Hires steps: 10, Hires upscaler: R-ESRGAN 4x+ Anime6B, Version: v1.10.1");
  EXPECT_EQ(
      webui.prompt,
      "general, masterpiece, best quality, amazing quality, \n1girl, solo, hatsune miku, テスト");
  EXPECT_EQ(webui.negative, "bad quality, worst quality, worst detail, sketch, censor,");
  EXPECT_EQ(webui.fields, (Fields{{"Steps", "20"},
                                  {"Sampler", "DPM++ 2M"},
                                  {"Schedule type", "Karras"},
                                  {"CFG scale", "5.5"},
                                  {"Seed", "3888671826"},
                                  {"Size", "1024x1024"},
                                  {"Model hash", "45a21ea00a"},
                                  {"Model", "waiIllustriousSDXL_v160"},
                                  {"Denoising strength", "0.3"},
                                  {"Hires upscale", "1.5"},
                                  {"Hires steps", "10"},
                                  {"Hires upscaler", "R-ESRGAN 4x+ Anime6B"},
                                  {"Version", "v1.10.1"}}));
  // Civitai: JSON without quoting, which web UIs themselves read in pieces
  const Infotext civitai = parse_infotext(
      "1girl\nNegative prompt: bad\nSteps: 25, Seed: 1, Clip skip: 2, Created Date: "
      "2026-01-04T01:27:21.2717070Z, "
      "Civitai resources: [{\"type\":\"checkpoint\",\"modelName\":\"a, b: c\"}], Civitai metadata: "
      "{}");
  EXPECT_EQ(*civitai.find("Civitai resources"),
            "[{\"type\":\"checkpoint\",\"modelName\":\"a, b: c\"}]");
  EXPECT_EQ(*civitai.find("Created Date"), "2026-01-04T01:27:21.2717070Z");
  EXPECT_EQ(*civitai.find("Civitai metadata"), "{}");
  // StabilityMatrix: Windows line ends
  const Infotext windows = parse_infotext(
      "cat, \r\ndog\r\n\nNegative prompt: bad, \r\n\nSteps: 20, CFG scale: 5, Seed: 3");
  EXPECT_EQ(windows.prompt, "cat, \ndog");
  EXPECT_EQ(windows.negative, "bad,");
  EXPECT_EQ(*windows.find("Seed"), "3");
}

TEST(Infotext, KeepsPromptsWithoutFields) {
  const Infotext infotext = parse_infotext("a cat, style: oil, mood: dark");
  EXPECT_EQ(infotext.prompt, "a cat, style: oil, mood: dark");
  EXPECT_TRUE(infotext.fields.empty());
  EXPECT_EQ(parse_infotext("").prompt, "");
  EXPECT_EQ(parse_infotext("Negative prompt: x\ny").negative, "x\ny");
  EXPECT_EQ(parse_infotext("Steps: 1, Steps: 2, Steps: 3").find("Steps")[0], "3");
  EXPECT_EQ(parse_infotext("").find("Steps"), nullptr);
}

TEST(Infotext, TakesHostileLinesInLinearTime) {
  const std::size_t size = 4'000'000;
  for (const std::string& unit :
       {std::string("a"), std::string("aa:"), std::string("aa:[,"), std::string("aa:\","),
        std::string("aa:[]x,"), std::string("\\\""), std::string("{\"")}) {
    std::string line;
    while (line.size() < size) line += unit;
    parse_infotext(line);  // the test's time limit is the check
    parse_infotext(line + std::string(1000, ']'));
  }
}

TEST(Infotext, ReadsSizesAndHashes) {
  EXPECT_EQ(parse_size("512x768"), std::pair(512, 768));
  for (const char* text :
       {"", "512", "x", "512x", "x5", "0x5", "-1x5", "512x768x", "99999999999x1", " 5x5"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
  const Fields hashes = {{"ink", "0123456789ab"}, {"a: b", "ba9876543210"}};
  EXPECT_EQ(join_hashes(hashes), "ink: 0123456789ab, a: b: ba9876543210");
  EXPECT_EQ(split_hashes(join_hashes(hashes)), hashes);
  EXPECT_EQ(split_hashes("x, y: , : z, , ok:1"), (Fields{{"ok", "1"}}));
}

TEST(TextEncoding, ConvertsAndChecks) {
  EXPECT_TRUE(is_utf8("aé猫🎨"));
  for (const char* bad : {"\xff", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                          "\xc3", "\xe3\x81", "a\x80"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
  EXPECT_EQ(latin1_to_utf8("caf\xe9"), "café");
  EXPECT_EQ(utf8_to_latin1("café"), "caf\xe9");
  EXPECT_EQ(utf8_to_latin1("猫"), std::nullopt);
  EXPECT_EQ(utf16_to_utf8(std::string_view("\xd8\x3c\xdf\xa8", 4), true), "🎨");
  EXPECT_EQ(utf16_to_utf8(std::string_view("\x3c\xd8\xa8\xdf", 4), false), "🎨");
  EXPECT_EQ(utf16_to_utf8(std::string_view("\xd8\x3c\0a\xdf\xa8\0", 7), true),
            "\xef\xbf\xbd"
            "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace velatura::image
