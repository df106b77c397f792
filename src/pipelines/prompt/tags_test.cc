#include "pipelines/prompt/tags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

using ::testing::HasSubstr;

LoraRequest only(std::string_view prompt) {
  TaggedPrompt read = read_tags(prompt);
  EXPECT_EQ(read.adapters.size(), 1u) << prompt;
  return read.adapters.empty() ? LoraRequest{} : read.adapters[0].lora;
}

void expect_error(std::string_view prompt, ErrorKind kind, std::string_view part) {
  try {
    read_tags(prompt);
    ADD_FAILURE() << "nothing was thrown for " << prompt;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << prompt;
    EXPECT_THAT(error.what(), HasSubstr(std::string(part))) << prompt;
  }
}

TEST(Tags, AreTakenOutInOrder) {
  const TaggedPrompt read = read_tags("a cat <lora:ink:0.5>, <lyco:sub/clay>hat<lora:ink>");
  EXPECT_EQ(read.prompt, "a cat , hat");
  ASSERT_EQ(read.adapters.size(), 3u);
  EXPECT_EQ(read.adapters[0].lora.name, "ink");
  EXPECT_EQ(read.adapters[1].lora.name, "sub/clay");
  EXPECT_EQ(read.adapters[1].text, "<lyco:sub/clay>");
  EXPECT_EQ(read.adapters[2].lora.name, "ink");
}

TEST(Tags, CommentsGoFirst) {
  const TaggedPrompt read = read_tags("# all of it\ncat # <lora:ink> a hat\ndog<lora:clay>#");
  EXPECT_EQ(read.prompt, "\ncat \ndog");
  ASSERT_EQ(read.adapters.size(), 1u);
  EXPECT_EQ(read.adapters[0].lora.name, "clay");
  EXPECT_EQ(strip_comments("a #"), "a ");
  EXPECT_EQ(strip_comments(""), "");
}

TEST(Tags, TheOtherOrder) {
  const TaggedPrompt read =
      read_tags("<lora:a:0.8:0.2><lora:b:0.5><lora:c>", LoraOrder::denoiser_first);
  EXPECT_EQ(read.adapters[0].lora.weight, 0.8);
  EXPECT_EQ(read.adapters[0].lora.text_weight, 0.2);
  EXPECT_EQ(read.adapters[1].lora.weight, 0.5);
  EXPECT_EQ(read.adapters[1].lora.text_weight, std::nullopt);  // as the denoiser's
  EXPECT_EQ(read.adapters[2].lora.weight, std::nullopt);
}

TEST(Tags, UnknownAndBrokenTagsAreErrors) {
  expect_error("x <hypernet:foo:1>", ErrorKind::unsupported, "hypernet");
  expect_error("x <lroa:foo:1>", ErrorKind::unsupported, "lroa");
  expect_error("<lora:>", ErrorKind::invalid_argument, "names no adapter");
  expect_error("<lora: :1>", ErrorKind::invalid_argument, "names no adapter");
  expect_error("<lora:te=1>", ErrorKind::invalid_argument, "names no adapter");
  EXPECT_EQ(only("<lora:v=1:0.5>").name, "v=1");
  expect_error("<lora:a:sclae=2>", ErrorKind::invalid_argument, "nearest: ");
  expect_error("a > b <lora:foo", ErrorKind::invalid_argument, "not closed");
}

TEST(Tags, OtherAngleBracketsAreText) {
  for (const char* text : {"", "a < b > c", "<birb-style> on a tree", "<", "<:>", "<<", "i <3 you",
                           "<a:b", "<lora>", "\xff<\x01>", "x -> y: z"}) {
    const TaggedPrompt read = read_tags(text);
    EXPECT_EQ(read.prompt, text);
    EXPECT_TRUE(read.adapters.empty());
    EXPECT_FALSE(read.has_trigger);
  }
}

TEST(Tags, LongPrompts) {
  std::string prompt;
  for (int i = 0; i < 10000; ++i) prompt += "word <lora:a:0.1>< <x ";
  EXPECT_EQ(read_tags(prompt).adapters.size(), 10000u);
}

TEST(Trigger, IsFoundAndFilled) {
  const TaggedPrompt read = read_tags("a <Trigger> cat<lora:a>");
  EXPECT_TRUE(read.has_trigger);
  EXPECT_EQ(read.prompt, "a <Trigger> cat");
  const std::vector<std::string> words = {"ink wash", "sks"};
  EXPECT_EQ(insert_triggers(read.prompt, words), "a ink wash, sks cat");
  EXPECT_EQ(insert_triggers("<trigger><trigger>", {}), "");
  EXPECT_EQ(insert_triggers("none", words), "none");
}

}  // namespace
}  // namespace velatura::pipelines::prompt
