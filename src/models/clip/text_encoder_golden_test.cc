// CLIPTextModel against transformers, and the hidden states of web UIs' chunked, weighted prompts:
// golden/sd15.
#include "models/clip/text_encoder.h"

#include <gtest/gtest.h>

#include <numeric>

#include "nn/model.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/runs.h"

namespace velatura::models::clip {
namespace {

using testing::GoldenCase;

/// About 80 units of f32's epsilon; see the UNet's test for the derivation.
constexpr double kTolerance = 1e-5;

struct Loaded {
  explicit Loaded(const std::filesystem::path& folder)
      : scope(testing::folder_weights(folder / "model/text_encoder")),
        encoder(ClipTextConfig::from_json(
                    testing::read_text(folder / "model/text_encoder/config.json")),
                scope) {
    EXPECT_EQ(scope.unused(), std::vector<std::string>{});
  }
  weights::Scope scope;
  nn::Model<TextEncoder> encoder;
};

void check_hidden_states(const nn::Model<TextEncoder>& model, const GoldenCase& golden,
                         testing::TestRun& test) {
  const bool exact = test.ops.compute() == DType::f32;
  const TextEncoder& encoder = *model;
  const double tolerance = exact ? kTolerance : testing::bf16_tolerance(model.tree());
  const Tokens tokens{.ids = golden.get("in.input_ids")};
  const std::vector<Tensor> states = encoder.hidden_states(test.run, tokens);
  for (std::size_t layer = 0; layer < states.size(); ++layer) {
    const std::string name = "out.hidden." + std::to_string(layer);
    if (golden.has(name)) {
      EXPECT_TRUE(testing::close(states[layer], golden.get(name), tolerance)) << name;
    }
  }
  const Tensor last = encoder.forward(test.run, tokens);
  EXPECT_TRUE(testing::close(last, golden.get("out.last_hidden_state"), tolerance));
  if (golden.has("out.pooled")) {
    EXPECT_TRUE(
        testing::close(encoder.pooled(last, tokens.ids), golden.get("out.pooled"), tolerance));
  }
}

/// The rule in the case's meta: weights multiply the hidden states, then each chunk is scaled back
/// to its old mean.
Tensor emphasised(Tensor states, const Tensor& weights) {
  const std::int64_t chunks = states.size(0), length = states.size(1), width = states.size(2);
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::span<float> values = states.mutable_floats().subspan(
        static_cast<std::size_t>(chunk * length * width), static_cast<std::size_t>(length * width));
    const double before = std::accumulate(values.begin(), values.end(), 0.0);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] *= weights.data<float>()[chunk * length + static_cast<std::int64_t>(i) / width];
    }
    const double after = std::accumulate(values.begin(), values.end(), 0.0);
    for (float& value : values) value *= static_cast<float>(before / after);
  }
  return states;
}

void check_prompts(const TextEncoder& encoder, const GoldenCase& golden, testing::TestRun& test) {
  const std::string prefix = "in.tokens.", skipping = "out.cond_skip";
  for (const std::string& name : golden.names(prefix)) {
    const std::string id = name.substr(prefix.size());
    const Tensor weights = golden.get("in.weights." + id);
    for (const std::string& output : golden.names("out.cond")) {
      if (!output.ends_with("." + id)) continue;
      // "out.cond.ID", or "out.cond_skipS.ID" with web UIs' clip skip S: S − 1 layers less.
      const int skipped =
          output.starts_with(skipping) ? std::stoi(output.substr(skipping.size())) - 1 : 0;
      const Tensor states = encoder.forward(test.run, {.ids = golden.get(name)}, skipped);
      EXPECT_TRUE(
          testing::close(emphasised(states.clone(), weights), golden.get(output), kTolerance))
          << output;
    }
  }
}

void check_folder(const std::filesystem::path& folder, DType compute) {
  int cases = 0;
  const Loaded loaded(folder);
  for (const auto& file : testing::safetensors_in(folder)) {
    const GoldenCase golden = GoldenCase::open(file);
    const bool plain = golden.has("in.input_ids") && golden.has("out.last_hidden_state");
    const bool prompts = !golden.names("in.tokens.").empty() && compute == DType::f32;
    if (plain) ++cases;
    for (const auto& table : testing::test_backends()) {
      if (compute == DType::bf16 && table->name() == "cpu" && !backend::cpu::cpu_features().avx512)
        continue;
      SCOPED_TRACE(std::string(table->name()) + " " + file.filename().string());
      testing::TestRun test(*table, compute);
      if (plain) check_hidden_states(loaded.encoder, golden, test);
      if (prompts) check_prompts(*loaded.encoder, golden, test);
    }
  }
  EXPECT_GT(cases, 0) << "no text encoder case in " << folder;
}

TEST(TextEncoderGolden, F32) {
  testing::for_each_golden("sd15", [](const auto& folder) { check_folder(folder, DType::f32); });
}

TEST(TextEncoderGolden, Bf16) {
  testing::for_each_golden("sd15", [](const auto& folder) { check_folder(folder, DType::bf16); });
}

/// Rows of the table injected in place of other tokens must give what those tokens give, bit for
/// bit.
TEST(TextEncoderGolden, InjectedVectorsStandForTokens) {
  testing::for_each_golden("sd15", [](const auto& folder) {
    const Loaded loaded(folder);
    const Tensor table =
        to_f32(loaded.scope.source().load("text_model.embeddings.token_embedding.weight"));
    for (const auto& file : testing::safetensors_in(folder)) {
      const GoldenCase golden = GoldenCase::open(file);
      if (!golden.has("in.input_ids") || !golden.has("out.last_hidden_state")) continue;
      const Tensor ids = golden.get("in.input_ids");
      const std::int64_t sequence = ids.size(0) - 1, length = ids.size(1), count = 3, position = 2,
                         width = table.size(1);
      Tensor changed = ids.clone(), vectors = Tensor::allocate({count, width}, DType::f32);
      for (std::int64_t i = 0; i < count; ++i) {
        std::int64_t& id = changed.mutable_data<std::int64_t>()[sequence * length + position + i];
        std::copy_n(table.data<float>() + id * width, width,
                    vectors.mutable_data<float>() + i * width);
        id = 0;
      }
      const std::array injected = {
          InjectedVectors{.sequence = sequence, .position = position, .vectors = vectors}};
      for (const auto& backend : testing::test_backends()) {
        testing::TestRun test(*backend);
        const Tensor plain = loaded.encoder->forward(test.run, {.ids = ids});
        const Tensor same =
            loaded.encoder->forward(test.run, {.ids = changed, .injected = injected});
        EXPECT_EQ(testing::relative_error(same, plain), 0);
        const Tensor other = loaded.encoder->forward(test.run, {.ids = changed});
        EXPECT_GT(testing::relative_error(other, plain), 1e-3);
      }
    }
  });
}

}  // namespace
}  // namespace velatura::models::clip
