// The account of files made here, each with one thing wrong.
#include "lora/tools/check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "lora/library/summary.h"
#include "lora/tools/block_map.h"
#include "lora/tools/check_text.h"
#include "tests/support/toy_adapters.h"

namespace velatura::lora::tools {
namespace {

using testing::MemorySource;
using testing::ToyModel;

constexpr std::int64_t kOut = ToyModel::kOut, kIn = ToyModel::kIn, kText = ToyModel::kText;
const std::string kFlatQuery =
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
const std::string kFlatOutput =
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0";

class Check : public ::testing::Test {
 protected:
  Account check(MemorySource source, bool look_at_values = true) {
    auto names = std::make_shared<ModelNames>();
    names->family = "sd15";
    names->title = "toy";
    names->components = model_.components();
    names->index = std::make_shared<const NameIndex>(names->components);
    auto file = AdapterFile::from_source(std::make_shared<const MemorySource>(std::move(source)),
                                         "toy.safetensors");
    return account_for(std::move(file), std::move(names), look_at_values);
  }

  static const Finding* find(const Account& account, std::string_view code) {
    for (const Finding& finding : account.findings) {
      if (finding.code == code) return &finding;
    }
    return nullptr;
  }
  static const ProgramVerdict& program(const Account& account, std::string_view name) {
    for (const ProgramVerdict& verdict : account.programs) {
      if (verdict.program == name) return verdict;
    }
    ADD_FAILURE() << name;
    return account.programs.front();
  }

  ToyModel model_;
};

MemorySource two_pairs() {
  MemorySource source;
  testing::add_pair(source, kFlatQuery, 2, kOut, kIn);
  testing::add_pair(source, kFlatOutput, 2, kOut, kIn, 3);
  return source;
}

TEST_F(Check, PlainFileIsClean) {
  const Account account = check(two_pairs());
  EXPECT_TRUE(account.is_clean()) << to_text(account, true);
  const auto json = nlohmann::json::parse(to_json(account));
  EXPECT_EQ(json["family"], "sd15");
  EXPECT_EQ(json["modules"], 2);
  EXPECT_EQ(json["dialect"], nlohmann::json::array({"kohya"}));
  ASSERT_EQ(json["tensors"].size(), 4u);
  EXPECT_EQ(json["tensors"][0]["target"][0], "unet." + ToyModel::kQuery + ".weight");
  EXPECT_EQ(json["tensors"][0]["fate"], "bound");
  EXPECT_EQ(program(account, "ComfyUI").summary(), "loads all");
}

TEST_F(Check, BrokenValueIsNamed) {
  MemorySource source = two_pairs();
  Tensor up = testing::uniform_tensor({kText, 2}, DType::f32, 9);
  up.mutable_floats()[3] = std::numeric_limits<float>::quiet_NaN();
  up.mutable_floats()[4] = std::numeric_limits<float>::infinity();
  const std::string module = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";
  source.add(module + ".lora_down.weight", testing::uniform_tensor({2, kText}, DType::f32, 8));
  source.add(module + ".lora_up.weight", up);
  const Account account = check(source);
  const Finding* finding = find(account, "not-finite");
  ASSERT_NE(finding, nullptr);
  EXPECT_EQ(finding->names, std::vector<std::string>{module + ".lora_up.weight"});
  EXPECT_NE(finding->text.find("2 of its values"), std::string::npos) << finding->text;
  EXPECT_FALSE(account.is_clean());
  EXPECT_EQ(account.report.bound_modules(), 2);
}

TEST_F(Check, DeadModulesAndAFileWithoutEffect) {
  MemorySource source;
  testing::add_pair(source, kFlatQuery, 2, kOut, kIn);
  source.add(kFlatOutput + ".lora_down.weight", testing::uniform_tensor({2, kIn}, DType::f32, 5));
  source.add(kFlatOutput + ".lora_up.weight", Tensor::zeros({kOut, 2}, DType::f32));
  const Account some = check(source);
  ASSERT_NE(find(some, "dead-modules"), nullptr);
  EXPECT_EQ(find(some, "dead-modules")->names, std::vector<std::string>{kFlatOutput});

  MemorySource none;
  none.add(kFlatOutput + ".lora_down.weight", testing::uniform_tensor({2, kIn}, DType::f32, 5));
  none.add(kFlatOutput + ".lora_up.weight", Tensor::zeros({kOut, 2}, DType::f32));
  EXPECT_NE(find(check(none), "no-effect"), nullptr);
  Account unread = check(none, false);
  forget_zeros(unread);
  EXPECT_TRUE(unread.is_clean());
  EXPECT_EQ(unread.modules.front().fate, Fate::bound);
}

TEST_F(Check, DoubledModuleAndHalfPair) {
  MemorySource source = two_pairs();
  const std::string dotted = "unet." + ToyModel::kQuery;
  source.add(dotted + ".lora_A.weight", testing::uniform_tensor({2, kIn}, DType::f32, 11));
  source.add(dotted + ".lora_B.weight", testing::uniform_tensor({kOut, 2}, DType::f32, 12));
  const std::string half = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
  source.add(half + ".lora_down.weight", testing::uniform_tensor({2, kText}, DType::f32, 13));
  const Account account = check(source);
  ASSERT_NE(find(account, "doubled"), nullptr);
  EXPECT_EQ(find(account, "doubled")->names, std::vector<std::string>{dotted});
  ASSERT_NE(find(account, "half-pairs"), nullptr);
  EXPECT_EQ(find(account, "half-pairs")->names, std::vector<std::string>{half});
}

TEST_F(Check, StrangeAlphas) {
  MemorySource source = two_pairs();
  source.add(kFlatQuery + ".alpha", testing::scalar(0));
  source.add(kFlatOutput + ".alpha", testing::scalar(1e6f));
  const Account account = check(source);
  ASSERT_NE(find(account, "alpha-zero"), nullptr);
  EXPECT_EQ(find(account, "alpha-zero")->names, std::vector<std::string>{kFlatQuery});
  ASSERT_NE(find(account, "alpha-large"), nullptr);
  EXPECT_EQ(find(account, "dead-modules"), nullptr);
  EXPECT_FALSE(program(account, "kohya").remarks.empty());
}

TEST_F(Check, FullKroneckerMatricesHaveAPlaceholderAlphaOrTheirTrainersOwn) {
  const auto file = [](float alpha) {
    MemorySource source;
    source.add(kFlatQuery + ".lokr_w1", testing::uniform_tensor({2, 2}, DType::f32, 1));
    source.add(kFlatQuery + ".lokr_w2",
               testing::uniform_tensor({kOut / 2, kIn / 2}, DType::f32, 2));
    source.add(kFlatQuery + ".alpha", testing::scalar(alpha));
    return source;
  };
  EXPECT_NE(find(check(file(1e10f)), "alpha-dummy"), nullptr);
  MemorySource stated = file(1);
  stated.set_metadata("ss_network_dim", "32").set_metadata("ss_network_alpha", "1");
  const Account account = check(stated);
  ASSERT_NE(find(account, "lokr-scale"), nullptr);
  EXPECT_NE(find(account, "lokr-scale")->text.find("0.03125"), std::string::npos);
  EXPECT_EQ(program(account, "diffusers").loaded, 0);
}

TEST_F(Check, RankIsThatOfTheTensorsInEveryKind) {
  const auto one = [](const std::vector<std::pair<std::string, Shape>>& tensors) {
    MemorySource source;
    for (const auto& [suffix, shape] : tensors)
      source.add(kFlatQuery + suffix, testing::uniform_tensor(shape, DType::f32, 3));
    return source;
  };
  constexpr std::int64_t kRank = 3;
  const std::vector<std::pair<std::int64_t, MemorySource>> files = {
      {kRank, one({{".lora_a", {kIn, kRank}}, {".lora_b", {kRank, kOut}}})},
      {kRank, one({{".a1.weight", {kIn, kRank}},
                   {".a2.weight", {kRank, kIn}},
                   {".b1.weight", {kOut, kRank}},
                   {".b2.weight", {kRank, kIn}}})},
      {kRank, one({{".a1.weight", {kRank, kIn}},
                   {".a2.weight", {kIn, kRank}},
                   {".b1.weight", {kRank, kIn}},
                   {".b2.weight", {kOut, kRank}}})},
      {kOut / 2, one({{".oft_blocks", {kOut / 2, 2, 2}}})},
      {kOut / 2, one({{".oft_blocks", {2, kOut / 2, 2, 2}}})},
      {kOut / 2, one({{".oft_diag", {kOut / 2, 2, 2}}})},
      {kIn / 2, one({{".oft_R.weight", {kIn / 2, 1}}})},
      {2, one({{".lokr_w1", {2, 2}}, {".lokr_w2_a", {4, 2}}, {".lokr_w2_b", {2, 3}}})}};
  for (const auto& [rank, source] : files) {
    SCOPED_TRACE(source.tensors().front().name);
    const Account account = check(source);
    ASSERT_EQ(account.bound->modules.size(), 1u) << to_text(account, true);
    EXPECT_EQ(account.modules.front().rank, rank);
    EXPECT_EQ(account.bound->modules.front().delta->rank(), rank);
    LibraryEntry entry;
    library::summarise(*account.source, entry);
    EXPECT_EQ(entry.common_rank, rank);
    EXPECT_EQ(nlohmann::json::parse(to_json(account))["module_list"][0]["rank"], rank);
  }
}

TEST_F(Check, WhatTrainingLeftBehindIsNoHalfOfAPair) {
  MemorySource source = two_pairs();
  source.add("_aux.head.lora_down.weight", testing::uniform_tensor({5, kIn}, DType::f32, 5));
  testing::add_pair(source, "_aux.tail", 7, kOut, kIn);
  const Account account = check(source);
  for (const TensorFate& fate : account.report.tensors)
    EXPECT_EQ(fate.fate, fate.name.starts_with("_aux.") ? Fate::ignored : Fate::bound) << fate.name;
  for (const char* code : {"half-pairs", "mixed-ranks", "dead-modules"})
    EXPECT_EQ(find(account, code), nullptr) << code;
}

TEST_F(Check, SubnormalUpMatrix) {
  MemorySource source;
  source.add(kFlatQuery + ".lora_down.weight", testing::uniform_tensor({2, kIn}, DType::f16, 5));
  Tensor up = testing::uniform_tensor({kOut, 2}, DType::f32, 6);
  for (float& value : up.mutable_floats()) value *= 1e-6f;
  source.add(kFlatQuery + ".lora_up.weight", from_f32(up, DType::f16));
  EXPECT_NE(find(check(source), "subnormal"), nullptr);
  EXPECT_EQ(find(check(source, /*look_at_values=*/false), "subnormal"), nullptr);
}

TEST_F(Check, HeaderAgainstTensors) {
  MemorySource source = two_pairs();
  source.set_metadata("ss_base_model_version", "sdxl_base_v1-0")
      .set_metadata("ss_network_dim", "16")
      .set_metadata("sshs_model_hash",
                    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
      .set_metadata("ss_clip_skip", "2")
      .set_metadata("modelspec.prediction_type", "v");
  const Account account = check(source);
  for (const char* code : {"wrong-metadata", "wrong-dim", "empty-hash", "demand"})
    EXPECT_NE(find(account, code), nullptr) << code;
}

TEST_F(Check, RefusedFilesAreTold) {
  MemorySource source;
  testing::add_pair(source, "lora_unet_nothing_like_it", 2, kOut, kIn);
  const Account account = check(source);
  EXPECT_NE(account.refusal, "");
  EXPECT_EQ(account.report.bound_modules(), 0);
  ASSERT_EQ(account.report.tensors.size(), 2u);
  for (const TensorFate& fate : account.report.tensors) {
    EXPECT_EQ(fate.fate, Fate::refused);
    EXPECT_NE(fate.reason, "");
  }
  EXPECT_TRUE(account.programs.empty());
}

TEST_F(Check, ComfyLosesDottedAttention) {
  MemorySource source;
  const std::string dotted = "unet." + ToyModel::kQuery;
  source.add(dotted + ".lora_A.weight", testing::uniform_tensor({2, kIn}, DType::f32, 11));
  source.add(dotted + ".lora_B.weight", testing::uniform_tensor({kOut, 2}, DType::f32, 12));
  const Account account = check(source);
  EXPECT_EQ(program(account, "ComfyUI").loaded, 0);
  EXPECT_EQ(program(account, "A1111").loaded, 0);
  EXPECT_EQ(program(account, "diffusers").summary(), "loads all");
  for (const ProgramVerdict& verdict : account.programs) {
    for (const ProgramRemark& remark : verdict.remarks) {
      EXPECT_NE(remark.reason, "");
      EXPECT_NE(remark.source, "");
    }
  }
}

TEST_F(Check, TextIsCleanOfControlCharacters) {
  MemorySource source = two_pairs();
  testing::add_pair(source, "evil\x1b[31m\nname", 2, kOut, kIn);
  const std::string text = to_text(check(source), /*verbose=*/true);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST_F(Check, NormsThroughFactorsAreThoseOfTheDenseChange) {
  MemorySource source;
  testing::add_pair(source, kFlatQuery, 3, kOut, kIn);
  source.add(kFlatQuery + ".alpha", testing::scalar(2));
  source.add(kFlatOutput + ".lokr_w1", testing::uniform_tensor({2, 2}, DType::f32, 1));
  source.add(kFlatOutput + ".lokr_w2", testing::uniform_tensor({kOut / 2, kIn / 2}, DType::f32, 2));
  testing::add_pair(source, "lora_unet_down_blocks_0_resnets_0_conv1", 2, kOut, kIn * 9, 7);
  const Account account = check(source);
  ASSERT_EQ(account.bound->modules.size(), 3u) << to_text(account, true);
  const Pristine base = []() -> Tensor { throw std::logic_error("not asked for"); };
  for (const BoundModule& module : account.bound->modules) {
    const Tensor change = module.delta->weight_change(base, 1, 0);
    double expected = 0;
    for (const float value : change.floats()) expected += static_cast<double>(value) * value;
    EXPECT_NEAR(squared_norm(*module.delta, base), expected, 1e-5 * expected);
  }
  const BlockMap map = block_map(*account.bound, account.names->components);
  EXPECT_TRUE(map.is_relative);
  int layers = 0;
  for (const BlockNorm& block : map.blocks) {
    layers += block.layers;
    EXPECT_GT(block.norm(), 0);
    EXPECT_GT(block.relative(), 0);
  }
  EXPECT_EQ(layers, 3);
}

}  // namespace
}  // namespace velatura::lora::tools
