#include "pipelines/prompt/adapter_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

using ::testing::HasSubstr;

LoraRequest read(std::string_view text, LoraOrder order = LoraOrder::text_first) {
  const auto items = split_items(text);
  return read_items(items.front(), std::span(items).subspan(1),
                    {.order = order, .names_files = true}, text);
}

void expect_error(std::string_view text, std::string_view part) {
  try {
    read(text);
    ADD_FAILURE() << "nothing was thrown for " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument) << text;
    EXPECT_THAT(error.what(), HasSubstr(std::string(part))) << text;
  }
}

TEST(AdapterItems, StrengthsAsWebUisReadThem) {
  struct Row {
    const char* text;
    std::optional<double> denoiser, encoders;
  };
  for (const Row& row : {Row{"a", {}, {}},
                         {"a:0.8", 0.8, 0.8},
                         {"a:0", 0.0, 0.0},
                         {"a:0:1", 1.0, 0.0},
                         {"a:te=0.3:unet=-0.9", -0.9, 0.3},
                         {"a:te=0.3", 0.3, 0.3},
                         {"a:1:2:te=3", 2.0, 3.0},
                         {"a:1:unet=2", 2.0, 1.0},
                         {"a: +1e2 ", 100.0, 100.0},
                         {"a:0.7:module=unet", 0.7, 0.0},
                         {"a:module=unet", {}, 0.0},
                         {"a:0.7:module=TE", 0.0, 0.7},
                         {"a:auto:0.5", 0.5, {}}}) {
    const LoraRequest lora = read(row.text);
    EXPECT_EQ(lora.weight, row.denoiser) << row.text;
    EXPECT_EQ(lora.text_weight, row.encoders) << row.text;
  }
  // The denoiser's alone leaves the text encoder at what the file recommends.
  EXPECT_TRUE(read("a:unet=0.3").text_as_recommended);
  EXPECT_TRUE(read("a:module=te").text_as_recommended);
  EXPECT_FALSE(read("a:0.3").text_as_recommended);
  EXPECT_EQ(read("a:te2=0.25").encoder_weights[1], 0.25);
}

TEST(AdapterItems, TheDenoiserFirst) {
  const auto swarm = [](std::string_view text) { return read(text, LoraOrder::denoiser_first); };
  EXPECT_EQ(swarm("a:0.8").weight, 0.8);
  EXPECT_EQ(swarm("a:0.8").text_weight, std::nullopt);
  EXPECT_EQ(swarm("a:0.8:0.1").text_weight, 0.1);
  EXPECT_EQ(swarm("a:0.8:0.1:unet=0.3").weight, 0.3);
  EXPECT_EQ(swarm("a:0.8:unet=0.3").text_weight, 0.8);
  EXPECT_EQ(swarm("a:0.8:te=0.3").weight, 0.8);
}

TEST(AdapterItems, Points) {
  const LoraRequest lora = read("a:1@0.5, 0@0");
  EXPECT_EQ(lora.curve, (LoraCurve{.by_sigma = false, .points = {{0, 0}, {0.5, 1}}}));
  EXPECT_EQ(lora.weight, std::nullopt);
  EXPECT_EQ(lora.text_weight, std::nullopt);
  EXPECT_TRUE(read("a:0@s14.6,1@S2").curve.by_sigma);
  EXPECT_EQ(read("a:0.4:0@0,1@1").text_weight, 0.4);
  EXPECT_EQ(read("a:unet=0@0,1@1").curve.points.size(), 2u);
  EXPECT_TRUE(read("a:unet=0@0,1@1").text_as_recommended);
  EXPECT_EQ(read("a:0@0,1@1:te=0.4").text_weight, 0.4);
  EXPECT_EQ(read("a:0@0,1@1:te=0.4").curve.points.size(), 2u);
  EXPECT_EQ(read("a:0@0,1@1:0.4", LoraOrder::denoiser_first).text_weight, 0.4);
  EXPECT_THROW(read("a:0.4:0@0,1@1", LoraOrder::denoiser_first), Error);
  expect_error("a:0@0,1@s3", "choose one");
  expect_error("a:0@0,1@0", "two points");
  expect_error("a:0@-0.1", "outside the run");
  expect_error("a:0@1.5", "outside the run");
  expect_error("a:0@0,1", "strength@position");
  expect_error("a:@0", "finite");
  expect_error("a:0@0,1@1:0.5", "one number");
  expect_error("a:te=0@0,1@1:unet=1", "one number");
}

TEST(AdapterItems, StepsAndRanks) {
  EXPECT_EQ(read("a:start=3").first_step, 3);
  EXPECT_EQ(read("a:stop=5").last_step, 5);
  EXPECT_EQ(read("a:step=3-8").first_step, 3);
  EXPECT_EQ(read("a:step=3-8").last_step, 8);
  EXPECT_EQ(read("a:step=-8").first_step, 1);
  EXPECT_EQ(read("a:start=0").first_step, 1);
  expect_error("a:step=8-3", "never");
  expect_error("a:step=8", "3-8");
  expect_error("a:stop=0", "never");
  EXPECT_EQ(read("a:0.5:dyn=4").ranks, 4);
  EXPECT_EQ(read("a:0.5:0.5:8").ranks, 8);
  EXPECT_EQ(read("a:0.5:0.5:8:dyn=4").ranks, 4);
  for (const char* text :
       {"a:dyn=0", "a:dyn=-1", "a:dyn=x", "a:dyn=1.5", "a:dyn=", "a:dyn=99999999999"})
    expect_error(text, "dyn");
}

TEST(AdapterItems, BlockWeightsInAnyForm) {
  EXPECT_EQ(read("a:1:1:lbw=OUTALL").blocks, "OUTALL");
  EXPECT_EQ(read("a:1:OUTALL").blocks, "OUTALL");
  EXPECT_EQ(read("a:1:OUTALL").weight, 1.0);
  EXPECT_EQ(read("a:1:0.5:1,0,R").blocks, "1,0,R");
  EXPECT_EQ(read("a:1:0.5:1,0,R").weight, 0.5);
  EXPECT_EQ(read("a:lbw=*attn1*=0.5").blocks, "*attn1*=0.5");
  EXPECT_EQ(read("a:LBWE=IN05-OUT05;attn;0.5:x= 0.5 ").elements, "IN05-OUT05;attn;0.5");
  EXPECT_EQ(read("a:x= 0.5 ").x, 0.5);
  expect_error("a:1:OUTALL:lbw=INS", "twice");
  expect_error("a:lbw=", "empty");
}

TEST(AdapterItems, MasksWhereFilesMayBeNamed) {
  const LoraRequest lora = read("a:mask=left.png:feather=4");
  EXPECT_EQ(lora.mask, "left.png");
  EXPECT_EQ(lora.feather, 4);
  expect_error("a:feather=4", "not there");
  expect_error("a:mask=x.png:feather=-1", "0 or more");
  const auto items = split_items("a:mask=left.png");
  EXPECT_THROW(read_items("a", std::span(items).subspan(1), {}, "<lora:a:mask=left.png>"), Error);
}

TEST(AdapterItems, MalformedOnesAreErrors) {
  for (const char* text : {"a:b", "a:", "a:1,5", "a:nan", "a:inf", "a:1e999", "a:0.5x",
                           "a:te=", "a:unet=zwei", "a:--1", "a:hr=much", "a:1:1e999"})
    expect_error(text, text);
  expect_error("a:1:1:1:1", "parts");
  expect_error("a:te=1:te=2", "twice");
  expect_error("a:ubet=1", "nearest: unet");
  expect_error("a:module=vae", "vae");
}

TEST(AdapterItems, WrittenAndReadAgain) {
  for (const LoraOrder order : {LoraOrder::text_first, LoraOrder::denoiser_first}) {
    for (const char* text :
         {"a", "a:0.5", "a:0.5:0.25", "a:unet=0.3", "a:module=unet", "a:module=te:0.2",
          "a:0@0,1@0.5", "a:0.5:0@s14.5,1@s2", "a:te=0.1:dyn=4:lbw=INS:lbwe=OUT00;attn;0:x=0.5",
          "a:1:step=2-5:hr=0.5:te1=0.1:te2=2:mask=m.png:feather=2.5", "a:unet=0@0,1@1"}) {
      const ItemRules rules{.order = order, .names_files = true};
      const LoraRequest lora = read(text);
      const std::string written = write_items(lora, rules);
      const auto items = split_items(written);
      EXPECT_EQ(read_items(items.front(), std::span(items).subspan(1), rules, written), lora)
          << text << " as " << written;
    }
  }
  EXPECT_EQ(write_items(read("a:0.5"), {}), "a:0.5");
  EXPECT_EQ(write_items(read("a:0.5:1"), {}), "a:0.5:1");
}

}  // namespace
}  // namespace velatura::pipelines::prompt
