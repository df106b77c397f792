// AutoencoderTiny against diffusers: golden/taesd.
#include "models/autoencoder_tiny/autoencoder_tiny.h"

#include <gtest/gtest.h>

#include "nn/model.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/runs.h"

namespace velatura::models::autoencoder_tiny {
namespace {

using testing::GoldenCase;

/// About 80 units of f32's epsilon; see the UNet's test for the derivation.
constexpr double kTolerance = 1e-5;

void check_folder(const std::filesystem::path& folder, DType compute) {
  int cases = 0;
  const auto source = testing::folder_weights(folder / "model");
  const auto config =
      AutoencoderTinyConfig::from_json(testing::read_text(folder / "model/config.json"));
  EXPECT_EQ(AutoencoderTinyConfig::detect(*source), config);
  const weights::Scope scope(source);
  const nn::Model<AutoencoderTiny> codec(config, scope);
  EXPECT_EQ(scope.unused(), std::vector<std::string>{});
  const double tolerance =
      compute == DType::f32 ? kTolerance : testing::bf16_tolerance(codec.tree());
  for (const auto& file : testing::safetensors_in(folder)) {
    const GoldenCase golden = GoldenCase::open(file);
    ++cases;
    for (const auto& table : testing::test_backends()) {
      if (compute == DType::bf16 && table->name() == "cpu" && !backend::cpu::cpu_features().avx512)
        continue;
      SCOPED_TRACE(std::string(table->name()) + " " + file.filename().string());
      testing::TestRun test(*table, compute);
      EXPECT_TRUE(testing::close(codec->decode(test.run, golden.get("in.latent")),
                                 golden.get("out.decoded"), tolerance));
      EXPECT_TRUE(testing::close(codec->encode(test.run, golden.get("in.image")),
                                 golden.get("out.encoded"), tolerance));
    }
  }
  EXPECT_GT(cases, 0) << "no case in " << folder;
}

TEST(AutoencoderTinyGolden, F32) {
  testing::for_each_golden("taesd", [](const auto& folder) { check_folder(folder, DType::f32); });
}

TEST(AutoencoderTinyGolden, Bf16) {
  testing::for_each_golden("taesd", [](const auto& folder) { check_folder(folder, DType::bf16); });
}

}  // namespace
}  // namespace velatura::models::autoencoder_tiny
