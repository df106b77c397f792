#include "lora/bind/bind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/mixed_adapters.h"
#include "tests/support/toy_adapters.h"
#include "velatura/error.h"

namespace velatura::lora {
namespace {

using testing::add_pair;
using ::testing::HasSubstr;
using testing::MemorySource;
using testing::MixedModel;
using testing::scalar;
using testing::ToyModel;
using testing::uniform_tensor;

const std::string kQuery = "unet." + ToyModel::kQuery;
const std::string kOutput = "unet." + ToyModel::kOutput;

const TensorFate& fate_of(const BoundAdapter& adapter, const std::string& tensor) {
  for (const TensorFate& fate : adapter.report.tensors) {
    if (fate.name == tensor) return fate;
  }
  throw std::out_of_range(tensor);
}

MemorySource query_pair(std::int64_t rank = 4) {
  MemorySource source;
  add_pair(source, kQuery, rank, ToyModel::kOut, ToyModel::kIn);
  return source;
}

float scale_of(MemorySource source) {
  return ToyModel().bind(std::move(source))->modules.at(0).delta->thin()->scale;
}

/// The error of binding; a test fails where there is none.
Error error_of(MemorySource source) {
  try {
    ToyModel().bind(std::move(source));
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorKind::internal, ""};
}

TEST(Bind, AccountsForEveryTensorInFileOrder) {
  MemorySource source = query_pair();
  source.add(kQuery + ".alpha", scalar(4)).add("unet.elsewhere.to_q.alpha", scalar(4));
  source.add("something", scalar(1)).add(kOutput + ".alpha", scalar(1));
  const auto adapter = ToyModel().bind(source);
  ASSERT_EQ(adapter->report.tensors.size(), source.tensors().size());
  for (std::size_t i = 0; i < source.tensors().size(); ++i)
    EXPECT_EQ(adapter->report.tensors[i].name, source.tensors()[i].name);
  EXPECT_EQ(fate_of(*adapter, kQuery + ".alpha").fate, Fate::bound);
  EXPECT_EQ(fate_of(*adapter, kQuery + ".alpha").targets,
            std::vector<std::string>{"unet." + ToyModel::kQuery + ".weight"});
  EXPECT_EQ(fate_of(*adapter, "something").fate, Fate::refused);
  EXPECT_EQ(fate_of(*adapter, "unet.elsewhere.to_q.alpha").fate, Fate::refused);
  EXPECT_EQ(fate_of(*adapter, kOutput + ".alpha").fate, Fate::ignored);
  EXPECT_EQ(adapter->report.bound_modules(), 1);
  EXPECT_THAT(adapter->report.summary(), HasSubstr("1 modules of unet, LoRA, rank 4 (diffusers)"));
  EXPECT_THAT(adapter->report.summary(), HasSubstr("3 of 6 tensors bound, 1 ignored, 2 refused"));
}

TEST(Bind, AlphaRules) {
  EXPECT_EQ(scale_of(query_pair()), 1) << "absent: α is r";
  EXPECT_EQ(scale_of(query_pair().add(kQuery + ".alpha", scalar(2))), 0.5f);
  EXPECT_EQ(scale_of(query_pair().add(kQuery + ".alpha", Tensor::from(std::vector{2.0f}, {1}))),
            0.5f);
  EXPECT_EQ(scale_of(query_pair().add(kQuery + ".alpha", from_f32(scalar(13), DType::bf16))),
            3.25f);
  EXPECT_EQ(
      scale_of(query_pair().add(kQuery + ".alpha", scalar(2)).add(kQuery + ".scale", scalar(3))), 3)
      << "scale overrides α/r";
  EXPECT_EQ(
      scale_of(query_pair().add(kQuery + ".alpha", scalar(2)).add(kQuery + ".scalar", scalar(3))),
      1.5f)
      << "scalar multiplies";
}

TEST(Bind, ScalingOutsideTheTensors) {
  const char* metadata = R"({"unet.lora_alpha": 8, "unet.alpha_pattern": {"to_k": 1}})";
  EXPECT_EQ(scale_of(query_pair().set_metadata("lora_adapter_metadata", metadata)), 2);
  EXPECT_EQ(scale_of(query_pair()
                         .add(kQuery + ".alpha", scalar(4))
                         .set_metadata("lora_adapter_metadata", metadata)),
            1)
      << "a stored alpha wins";
  EXPECT_EQ(scale_of(query_pair().set_metadata("lora_adapter_metadata",
                                               R"({"text_encoder.lora_alpha": 8})")),
            1)
      << "another component's";
  EXPECT_EQ(scale_of(query_pair().set_metadata("alpha", "16")), 4);
  EXPECT_EQ(scale_of(query_pair().add(kOutput + ".alpha", scalar(4)).set_metadata("alpha", "16")),
            1)
      << "the header's alpha counts only where no tensor has one";
}

TEST(Bind, StoredAlphaOfZeroHasNoEffectAndIsNoted) {
  const auto adapter = ToyModel().bind(query_pair().add(kQuery + ".alpha", scalar(0)));
  EXPECT_TRUE(adapter->modules.at(0).delta->is_zero());
  EXPECT_EQ(fate_of(*adapter, kQuery + ".alpha").fate, Fate::note);
}

TEST(Bind, ZeroUpMatrixIsNoted) {
  MemorySource source;
  source.add(kQuery + ".lora_A.weight", uniform_tensor({2, ToyModel::kIn}, DType::f16, 1));
  source.add(kQuery + ".lora_B.weight", Tensor::zeros({ToyModel::kOut, 2}, DType::f16));
  const auto adapter = ToyModel().bind(source);
  EXPECT_TRUE(adapter->modules.at(0).delta->is_zero());
  EXPECT_EQ(adapter->report.count(Fate::note), 2);
}

TEST(Bind, HalfPairsAreReported) {
  MemorySource source = query_pair();
  source.add(kOutput + ".lora_down.weight", uniform_tensor({2, 6}, DType::f32, 1));
  source.add(kOutput + ".alpha", scalar(1));
  const auto adapter = ToyModel().bind(source);
  const TensorFate& half = fate_of(*adapter, kOutput + ".lora_down.weight");
  EXPECT_EQ(half.fate, Fate::refused);
  EXPECT_THAT(half.reason, HasSubstr("partner is missing"));
  EXPECT_EQ(fate_of(*adapter, kOutput + ".alpha").fate, Fate::ignored);
  EXPECT_EQ(adapter->report.bound_modules(), 1);
}

TEST(Bind, WrongShapesAreReportedWithBothShapes) {
  const auto refused = [](const Shape& down, const Shape& up) {
    MemorySource source;
    add_pair(source, "unet." + ToyModel::kPointwise, 2, ToyModel::kOut, ToyModel::kIn);
    source.add(kQuery + ".lora_down.weight", uniform_tensor(down, DType::f32, 1));
    source.add(kQuery + ".lora_up.weight", uniform_tensor(up, DType::f32, 2));
    const auto adapter = ToyModel().bind(source);
    EXPECT_EQ(adapter->report.bound_modules(), 1);
    return fate_of(*adapter, kQuery + ".lora_up.weight").reason;
  };
  EXPECT_THAT(refused({4, 7}, {8, 4}), HasSubstr("down [4, 7] and up [8, 4]"));
  EXPECT_THAT(refused({4, 6}, {9, 4}), HasSubstr("do not fit the weight [8, 6]"));
  EXPECT_THAT(refused({4, 6}, {8, 8}), HasSubstr("do not fit")) << "up of twice the rank";
  EXPECT_THAT(refused({0, 6}, {8, 0}), HasSubstr("r of 1 or more"));
  EXPECT_THAT(refused({24}, {32}), HasSubstr("do not fit"));
  EXPECT_THAT(refused({4, 0}, {0, 4}), HasSubstr("do not fit"));
}

TEST(Bind, NotFiniteValuesAreRefusedByTensor) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    for (const float value : {NAN, INFINITY, -INFINITY}) {
      MemorySource source = query_pair();
      Tensor up = uniform_tensor({ToyModel::kOut, 2}, DType::f32, 3);
      up.mutable_data<float>()[5] = value;
      source.add(kOutput + ".lora_A.weight", uniform_tensor({2, ToyModel::kIn}, type, 2));
      source.add(kOutput + ".lora_B.weight", from_f32(up, type));
      const auto adapter = ToyModel().bind(source);
      EXPECT_EQ(adapter->report.bound_modules(), 1);
      EXPECT_THAT(fate_of(*adapter, kOutput + ".lora_B.weight").reason,
                  HasSubstr("\"" + kOutput + ".lora_B.weight\" holds NaN or infinity"));
    }
  }
  const Error error = error_of(query_pair().add(kQuery + ".alpha", scalar(NAN)));
  EXPECT_EQ(error.kind(), ErrorKind::mismatch);
  EXPECT_THAT(error.what(), HasSubstr(".alpha\" is nan"));
}

TEST(Bind, TheSamePartTwice) {
  const Tensor down = uniform_tensor({2, ToyModel::kIn}, DType::f32, 1),
               other = uniform_tensor({2, ToyModel::kIn}, DType::f32, 9);
  for (const bool is_copy : {true, false}) {
    MemorySource source;
    source.add(kQuery + ".lora_down.weight", down);
    source.add(kQuery + ".lora_up.weight", uniform_tensor({ToyModel::kOut, 2}, DType::f32, 2));
    source.add(kQuery + ".lora_A.weight", is_copy ? down.clone() : other);
    const auto adapter = ToyModel().bind(source);
    EXPECT_EQ(fate_of(*adapter, kQuery + ".lora_A.weight").fate,
              is_copy ? Fate::ignored : Fate::refused);
    EXPECT_TRUE(
        testing::bit_identical(adapter->modules.at(0).delta->thin()->down->original(), down))
        << "the first is used";
  }
}

TEST(Bind, TheSameLayerUnderTwoNames) {
  const std::string flat = "lora_unet_" + flatten(ToyModel::kQuery);
  for (const bool is_copy : {true, false}) {
    MemorySource source = query_pair();
    add_pair(source, flat, 4, ToyModel::kOut, ToyModel::kIn, is_copy ? 1 : 7);
    const auto adapter = ToyModel().bind(source);
    const TensorFate& fate = fate_of(*adapter, flat + ".lora_up.weight");
    EXPECT_EQ(fate.fate, is_copy ? Fate::ignored : Fate::refused);
    EXPECT_THAT(fate.reason, HasSubstr(is_copy ? "exact copy" : "defined twice"));
    EXPECT_EQ(adapter->report.bound_modules(), 1);
  }
}

/// A weight and a bias of one layer are two things, whatever each is called (lora-formats §2.9).
TEST(Bind, WeightAndBiasUnderTwoNames) {
  const std::string flat = "lora_unet_" + flatten(MixedModel::kConv);
  const std::string dotted = "unet." + MixedModel::kConv;
  const MixedModel model;
  const auto change = [](std::uint64_t seed) {
    return uniform_tensor({MixedModel::kChannels}, DType::f32, seed);
  };
  const Tensor weight =
      uniform_tensor({MixedModel::kChannels, MixedModel::kChannels, 3, 3}, DType::f32, 4);
  for (const bool bias_first : {true, false}) {
    MemorySource source;
    if (bias_first) source.add(dotted + ".diff_b", change(3));
    source.add(flat + ".diff", weight);
    if (!bias_first) source.add(dotted + ".diff_b", change(3));
    const auto adapter = model.bind(source, "toy");
    EXPECT_EQ(fate_of(*adapter, flat + ".diff").fate, Fate::bound);
    EXPECT_EQ(fate_of(*adapter, dotted + ".diff_b").fate, Fate::bound);
    EXPECT_EQ(adapter->modules.size(), 2U);
  }
  MemorySource source;  // the bias twice, the weight once
  source.add(dotted + ".diff_b", change(3)).add(flat + ".diff", weight);
  source.add(flat + ".diff_b", change(5));
  const auto adapter = model.bind(source, "toy");
  EXPECT_EQ(fate_of(*adapter, dotted + ".diff_b").fate, Fate::bound);
  EXPECT_EQ(fate_of(*adapter, flat + ".diff").fate, Fate::bound);
  EXPECT_EQ(fate_of(*adapter, flat + ".diff_b").fate, Fate::refused);
  EXPECT_THAT(fate_of(*adapter, flat + ".diff_b").reason, HasSubstr("defined twice"));
}

TEST(Bind, ASecondNameCountsWhereTheFirstDoesNotFit) {
  MemorySource source;
  add_pair(source, "lora_unet_" + flatten(ToyModel::kQuery), 4, 3, 3);
  add_pair(source, kQuery, 4, ToyModel::kOut, ToyModel::kIn);
  EXPECT_EQ(ToyModel().bind(source)->report.bound_modules(), 1);
}

TEST(Bind, EveryOrientationGivesTheSameDelta) {
  const Tensor down = uniform_tensor({2, 6}, DType::f16, 1),
               up = uniform_tensor({8, 2}, DType::f16, 2);
  const auto turned = [](const Tensor& matrix) {
    Tensor result = Tensor::allocate({matrix.size(1), matrix.size(0)}, matrix.dtype());
    for (std::int64_t r = 0; r < matrix.size(0); ++r) {
      for (std::int64_t c = 0; c < matrix.size(1); ++c) {
        result.mutable_data<std::uint16_t>()[c * matrix.size(0) + r] =
            matrix.data<std::uint16_t>()[r * matrix.size(1) + c];
      }
    }
    return result;
  };
  const auto delta = [](const Tensor& a, const Tensor& b) {
    MemorySource source;
    source.add(kQuery + ".lora_A.weight", a).add(kQuery + ".lora_B.weight", b);
    return ToyModel().bind(source)->modules.at(0).delta->weight_change({}, 1, 0);
  };
  const Tensor expected = delta(down, up);
  EXPECT_TRUE(testing::bit_identical(delta(turned(down), up), expected));
  EXPECT_TRUE(testing::bit_identical(delta(down, turned(up)), expected));
  EXPECT_TRUE(testing::bit_identical(delta(turned(down), turned(up)), expected));
}

TEST(Bind, AxesOfKernelsMayBeFolded) {
  const auto binds = [](const std::string& layer, const Shape& down, const Shape& up) {
    MemorySource source;
    source.add("unet." + layer + ".lora_A.weight", uniform_tensor(down, DType::f32, 1));
    source.add("unet." + layer + ".lora_B.weight", uniform_tensor(up, DType::f32, 2));
    const ToyModel model;
    const auto adapter = model.bind(source);
    return adapter->modules.at(0).delta->weight_change({}, 1, 0).shape() ==
           model.layer(layer).weight->shape();
  };
  EXPECT_TRUE(binds(ToyModel::kConv, {2, 6, 3, 3}, {8, 2, 1, 1}));
  EXPECT_TRUE(binds(ToyModel::kConv, {2, 54}, {8, 2}));
  EXPECT_TRUE(binds(ToyModel::kPointwise, {2, 6}, {8, 2}));
  EXPECT_TRUE(binds(ToyModel::kPointwise, {2, 6, 1, 1}, {8, 2, 1, 1}));
  EXPECT_TRUE(binds(ToyModel::kQuery, {2, 6, 1, 1}, {8, 2, 1, 1}));
}

TEST(Bind, NormsTakeNoPair) {
  MemorySource source = query_pair();
  add_pair(source, "unet." + ToyModel::kNorm, 2, 6, 6);
  const auto adapter = ToyModel().bind(source);
  EXPECT_THAT(fate_of(*adapter, "unet." + ToyModel::kNorm + ".lora_up.weight").reason,
              HasSubstr("neither a linear layer's nor a convolution's"));
}

TEST(Bind, TrainingLeftoversAndUnloadedEncodersAreNoErrors) {
  MemorySource source = query_pair();
  source.add("_aux.step", scalar(1)).add("_aux.to_q.alpha", scalar(1));
  add_pair(source, "lora_te3_encoder_block_0_layer_0_SelfAttention_q", 2, 8, 8);
  add_pair(source, "text_encoder.text_projection", 2, 8, 8);
  const auto adapter = ToyModel().bind(source);
  EXPECT_EQ(fate_of(*adapter, "_aux.step").fate, Fate::ignored);
  EXPECT_EQ(fate_of(*adapter, "_aux.to_q.alpha").fate, Fate::ignored);
  const TensorFate& unloaded =
      fate_of(*adapter, "lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight");
  EXPECT_EQ(unloaded.fate, Fate::note);
  EXPECT_THAT(unloaded.reason, HasSubstr("not loaded"));
  const TensorFate& lacking = fate_of(*adapter, "text_encoder.text_projection.lora_up.weight");
  EXPECT_EQ(lacking.fate, Fate::note);
  EXPECT_THAT(lacking.reason, HasSubstr("projection"));
}

TEST(Bind, BundledEmbeddingsAreHandedOut) {
  MemorySource source = query_pair();
  const Tensor vectors = uniform_tensor({2, ToyModel::kText}, DType::f32, 5);
  source.add("bundle_emb.my.face.string_to_param.*", vectors);
  source.add("bundle_emb.hat.clip_l", vectors).add("bundle_emb.hat.clip_g", vectors);
  source.add("<s1>", vectors).set_metadata("<s1>", "<embed>");
  const auto adapter = ToyModel().bind(source);
  const auto& embeddings = adapter->file->embeddings();
  ASSERT_EQ(embeddings.size(), 3u);
  EXPECT_EQ(embeddings[0].name, "<s1>");
  EXPECT_EQ(embeddings[1].name, "hat");
  EXPECT_EQ(embeddings[1].tensors.size(), 2u);
  EXPECT_EQ(embeddings[1].tensors.at("clip_g"), "bundle_emb.hat.clip_g");
  EXPECT_EQ(embeddings[2].name, "my.face");
  EXPECT_EQ(fate_of(*adapter, "bundle_emb.my.face.string_to_param.*").reason,
            "textual inversion \"my.face\"");
  EXPECT_EQ(adapter->report.bound_modules(), 1);
}

TEST(Bind, NothingBoundNamesTheNearest) {
  MemorySource source;
  add_pair(source, kQuery + "q", 2, ToyModel::kOut, ToyModel::kIn);
  const Error error = error_of(source);
  EXPECT_EQ(error.kind(), ErrorKind::mismatch);
  EXPECT_THAT(error.what(), HasSubstr("nearest known: \"" + kQuery + "\""));
  EXPECT_EQ(error_of(MemorySource()).kind(), ErrorKind::bad_file);
}

TEST(Bind, IntegersAreNoMatrices) {
  MemorySource source = query_pair();
  source.add(kOutput + ".lora_A.weight", Tensor::zeros({2, ToyModel::kIn}, DType::i64));
  source.add(kOutput + ".lora_B.weight", Tensor::zeros({ToyModel::kOut, 2}, DType::i64));
  const auto adapter = ToyModel().bind(source);
  EXPECT_THAT(fate_of(*adapter, kOutput + ".lora_A.weight").reason, HasSubstr("floating type"));
}

TEST(Bind, ContentHashIsOfContentAlone) {
  const ToyModel model;
  const auto hash = [&](MemorySource source, const char* name) {
    return model.bind(std::move(source), name)->file->content_hash();
  };
  EXPECT_EQ(hash(query_pair(), "a"), hash(query_pair(), "b"));
  EXPECT_NE(hash(query_pair(4), "a"), hash(query_pair(2), "a"));
  EXPECT_NE(hash(query_pair(), "a"), hash(query_pair().set_metadata("alpha", "16"), "a"))
      << "the header's alpha changes what the tensors mean";
  EXPECT_EQ(hash(query_pair(), "a"), hash(query_pair().set_metadata("name", "x"), "a"));
}

TEST(Bind, AMillionTensorsTakeLinearTime) {
  MemorySource source = query_pair();
  for (int i = 0; i < 1'000'000; ++i) source.add("m" + std::to_string(i) + ".alpha", scalar(1));
  const auto adapter = ToyModel().bind(std::move(source));
  EXPECT_EQ(adapter->report.tensors.size(), 1'000'002u);
  EXPECT_EQ(adapter->report.bound_modules(), 1);
}

}  // namespace
}  // namespace velatura::lora
