#include "velatura/request_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "velatura/error.h"

namespace velatura {
namespace {

TEST(ParseLora, NumbersOfTheDenoiserFirst) {
  EXPECT_EQ(parse_lora("ink").weight, std::nullopt);
  EXPECT_EQ(parse_lora("ink:0.5").weight, 0.5);
  EXPECT_EQ(parse_lora("ink:0.5:0").text_weight, 0.0);
  EXPECT_EQ(parse_lora("ink:0.5:0").weight, 0.5);
}

TEST(ParseLora, AColonMayBelongToThePath) {
  EXPECT_EQ(parse_lora("a:b/ink.safetensors:0.5").name, "a:b/ink.safetensors");
  EXPECT_EQ(parse_lora("a:b/ink.safetensors:0.5").weight, 0.5);
  EXPECT_EQ(parse_lora("odd:name").name, "odd:name");
  EXPECT_EQ(parse_lora("a=b/ink:lbw=INS").name, "a=b/ink");
  for (const char* text : {"", ":0.5", "ink:", "ink:0.5:", "ink:nan", "ink:0.5:x"}) {
    if (std::string(text) == "ink:0.5:x") {
      EXPECT_EQ(parse_lora(text).blocks, "x");  // a preset's name
    } else {
      EXPECT_THROW(parse_lora(text), Error) << text;
    }
  }
}

TEST(RequestFields, AdaptersSurviveJson) {
  GenerateRequest request;
  request.loras = {parse_lora("ink:0@0,1@0.5:lbw=OUTALL:step=2-9"),
                   parse_lora("sub/clay:0.3:0:mask=left.png:feather=3:dyn=2")};
  request.lora_masks = {{.name = "blob", .mask = "x:y.png", .feather = 1.5}};
  request.picture_loras = {{parse_lora("ink:1"), parse_lora("clay")}, {}};
  request.lora_order = LoraOrder::denoiser_first;
  const GenerateRequest back = request_from_json(to_json(request));
  EXPECT_EQ(back.loras, request.loras);
  EXPECT_EQ(back.lora_masks, request.lora_masks);
  EXPECT_EQ(back.picture_loras, request.picture_loras);
  EXPECT_EQ(back.lora_order, request.lora_order);
}

TEST(RequestFields, RepeatableOnesCanBeCleared) {
  for (const RequestField& field : request_fields()) {
    EXPECT_EQ(field.repeatable, field.clear != nullptr) << field.name;
    EXPECT_TRUE(field.get(GenerateRequest{}).empty()) << field.name;
  }
}

TEST(RequestFields, MasksNeedANameAndAFile) {
  for (const char* text :
       {R"({"lora-mask": "ink"})", R"({"lora-mask": "=x.png"})", R"({"lora-mask": "ink="})",
        R"({"lora-mask": "ink=x.png:-1"})", R"({"lora-order": "both"})"})
    EXPECT_THROW(request_from_json(text), Error) << text;
}

}  // namespace
}  // namespace velatura
