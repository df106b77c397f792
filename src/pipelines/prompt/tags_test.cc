#include "pipelines/prompt/tags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

using ::testing::HasSubstr;

AdapterTag only(std::string_view prompt) {
  TaggedPrompt read = read_tags(prompt);
  EXPECT_EQ(read.adapters.size(), 1u) << prompt;
  return read.adapters.empty() ? AdapterTag{} : read.adapters[0];
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
  EXPECT_EQ(read.adapters[0].name, "ink");
  EXPECT_EQ(read.adapters[1].name, "sub/clay");
  EXPECT_EQ(read.adapters[1].text, "<lyco:sub/clay>");
  EXPECT_EQ(read.adapters[2].name, "ink");
}

TEST(Tags, Strengths) {
  EXPECT_EQ(only("<lora:a>").text_encoder, std::nullopt);
  EXPECT_EQ(only("<lora:a>").denoiser, std::nullopt);
  EXPECT_EQ(only("<lora:a:0.8>").text_encoder, 0.8);
  EXPECT_EQ(only("<lora:a:0.8>").denoiser, 0.8);
  EXPECT_EQ(only("<lora:a:0:1>").text_encoder, 0.0);
  EXPECT_EQ(only("<lora:a:0:1>").denoiser, 1.0);
  EXPECT_EQ(only("<lora:a:te=0.3:unet=-0.9>").text_encoder, 0.3);
  EXPECT_EQ(only("<lora:a:te=0.3:unet=-0.9>").denoiser, -0.9);
  EXPECT_EQ(only("<lora:a:te=0.3>").denoiser, 0.3);
  EXPECT_EQ(only("<lora:a:unet=0.3>").text_encoder, std::nullopt);
  EXPECT_EQ(only("<lora:a:1:2:te=3>").text_encoder, 3.0);  // the named wins
  EXPECT_EQ(only("<lora:a:1:2:te=3>").denoiser, 2.0);
  EXPECT_EQ(only("<lora:a: +1e2 >").denoiser, 100.0);
  EXPECT_EQ(only("<LoRA:a:-12.5>").denoiser, -12.5);
}

TEST(Tags, Modules) {
  EXPECT_EQ(only("<lora:a:0.7:module=unet>").text_encoder, 0.0);
  EXPECT_EQ(only("<lora:a:0.7:module=unet>").denoiser, 0.7);
  EXPECT_EQ(only("<lora:a:module=TE>").text_encoder, std::nullopt);
  EXPECT_EQ(only("<lora:a:module=TE>").denoiser, 0.0);
  expect_error("<lora:a:module=vae>", ErrorKind::invalid_argument, "vae");
}

TEST(Tags, DynamicRank) {
  EXPECT_EQ(only("<lora:a>").dynamic_rank, std::nullopt);
  EXPECT_EQ(only("<lora:a:0.5:dyn=4>").dynamic_rank, 4);
  EXPECT_EQ(only("<lora:a:0.5:0.5:8>").dynamic_rank, 8);
  for (const char* tag : {"<lora:a:dyn=0>", "<lora:a:dyn=-1>", "<lora:a:dyn=x>", "<lora:a:dyn=1.5>",
                          "<lora:a:dyn=>", "<lora:a:dyn=99999999999>"}) {
    expect_error(tag, ErrorKind::invalid_argument, "dyn");
  }
}

TEST(Tags, WhatOthersReadIsRecordedByName) {
  const AdapterTag tag = only("<lora:a:1:1:LBW=OUTALL:start=3:step=2-5:x= 0.5 :custom=a=b>");
  EXPECT_EQ(
      tag.other,
      (std::map<std::string, std::string>{
          {"lbw", "OUTALL"}, {"start", "3"}, {"step", "2-5"}, {"x", "0.5"}, {"custom", "a=b"}}));
  EXPECT_EQ(only("<lora:a:0@0,1@0.5:hr=1>").other.at("schedule"), "0@0,1@0.5");
  EXPECT_EQ(only("<lora:a:1:OUTALL>").other.at("lbw"), "OUTALL");
  EXPECT_EQ(only("<lora:a:1:1,0,1>").other.at("lbw"), "1,0,1");
  EXPECT_EQ(only("<lora:a:1:1,0,1>").denoiser, 1.0);
}

TEST(Tags, MalformedNumbersAreErrors) {
  for (const char* tag :
       {"<lora:a:b>", "<lora:a:>", "<lora:a:1,5>", "<lora:a:nan>", "<lora:a:inf>", "<lora:a:1e999>",
        "<lora:a:0.5x>", "<lora:a:te=>", "<lora:a:unet=zwei>", "<lora:a:1:b>", "<lora:a:--1>"}) {
    expect_error(tag, ErrorKind::invalid_argument, tag);
  }
  expect_error("<lora:a:1:1:1:1>", ErrorKind::invalid_argument, "parts");
}

TEST(Tags, UnknownAndBrokenTagsAreErrors) {
  expect_error("x <hypernet:foo:1>", ErrorKind::unsupported, "hypernet");
  expect_error("x <lroa:foo:1>", ErrorKind::unsupported, "lroa");
  expect_error("<lora:>", ErrorKind::invalid_argument, "names no adapter");
  expect_error("<lora: :1>", ErrorKind::invalid_argument, "names no adapter");
  expect_error("<lora:te=1>", ErrorKind::invalid_argument, "names no adapter");
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
