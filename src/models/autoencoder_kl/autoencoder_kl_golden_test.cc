// AutoencoderKL against diffusers: every file of golden/sd15 that has a latent and its decoded
// picture.
#include "models/autoencoder_kl/autoencoder_kl.h"

#include <gtest/gtest.h>

#include "nn/model.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/runs.h"

namespace velatura::models::autoencoder_kl {
namespace {

using testing::GoldenCase;

/// About 80 units of f32's epsilon; see the UNet's test for the derivation.
constexpr double kTolerance = 1e-5;

void check_folder(const std::filesystem::path& folder, DType compute) {
  int cases = 0;
  const weights::Scope scope(testing::folder_weights(folder / "model/vae"));
  const nn::Model<AutoencoderKl> codec(
      AutoencoderKlConfig::from_json(testing::read_text(folder / "model/vae/config.json")), scope);
  EXPECT_EQ(scope.unused(), std::vector<std::string>{});
  const double tolerance =
      compute == DType::f32 ? kTolerance : testing::bf16_tolerance(codec.tree());
  for (const auto& file : testing::safetensors_in(folder)) {
    const GoldenCase golden = GoldenCase::open(file);
    if (!golden.has("in.latent") || !golden.has("out.decoded")) continue;
    ++cases;
    for (const auto& table : testing::test_backends()) {
      if (compute == DType::bf16 && table->name() == "cpu" && !backend::cpu::cpu_features().avx512)
        continue;
      SCOPED_TRACE(std::string(table->name()) + " " + file.filename().string());
      testing::TestRun test(*table, compute);
      EXPECT_TRUE(testing::close(codec->decode(test.run, golden.get("in.latent")),
                                 golden.get("out.decoded"), tolerance));
      const Posterior posterior = codec->encode(test.run, golden.get("in.image"));
      EXPECT_TRUE(testing::close(posterior.mean, golden.get("out.mean"), tolerance));
      EXPECT_TRUE(testing::close(posterior.logvar, golden.get("out.logvar"), tolerance));
    }
  }
  EXPECT_GT(cases, 0) << "no codec case in " << folder;
}

TEST(AutoencoderKlGolden, F32) {
  testing::for_each_golden("sd15", [](const auto& folder) { check_folder(folder, DType::f32); });
}

TEST(AutoencoderKlGolden, Bf16) {
  testing::for_each_golden("sd15", [](const auto& folder) { check_folder(folder, DType::bf16); });
}

}  // namespace
}  // namespace velatura::models::autoencoder_kl
