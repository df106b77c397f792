// UNet2DConditionModel against diffusers: every file of golden/sd15 that has a sample and a text to
// denoise by.
#include "models/unet/unet.h"

#include <gtest/gtest.h>

#include <map>

#include "nn/model.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/runs.h"

namespace velatura::models::unet {
namespace {

using testing::GoldenCase;

/// About 80 units of f32's epsilon: each output passes some 60 products of up to 1,152 terms, whose
/// errors add like a random walk (√1152 · ε / 2 ≈ 2e-6 for one at worst), and norms bring them back
/// to scale.
constexpr double kTolerance = 1e-5;

std::string tap_prefix() {
  return "out.tap.";
}

void check_case(const nn::Model<UNet>& unet, const GoldenCase& golden, ops::OpTable& table,
                DType compute) {
  const double tolerance =
      compute == DType::f32 ? kTolerance : testing::bf16_tolerance(unet.tree());
  const std::string prefix = "out.sample.t";
  testing::TestRun test(table, compute);
  std::vector<std::pair<float, Tensor>> outputs;
  std::vector<std::map<std::string, Tensor>> tapped;
  for (const std::string& name : golden.names(prefix)) {
    const float timestep = std::stof(name.substr(prefix.size()));
    std::map<std::string, Tensor>& taps = tapped.emplace_back();
    test.run.tap = [&](std::string_view path, const Tensor& x) {
      taps[std::string(path)] = testing::as_nchw(test, x);
    };
    const Tensor actual = unet->forward(test.run, golden.get("in.sample"), std::array{timestep},
                                        golden.get("in.encoder_hidden_states"));
    EXPECT_EQ(actual.shape(), golden.get(name).shape());
    EXPECT_TRUE(testing::close(actual, golden.get(name), tolerance)) << name;
  }
  EXPECT_FALSE(tapped.empty()) << "no output to compare with";
  if (compute != DType::f32) return;
  // The case does not say which timestep its inner values belong to: one of them.
  for (const std::string& name : golden.names(tap_prefix())) {
    const std::string path = name.substr(tap_prefix().size());
    double best = INFINITY;
    for (const auto& taps : tapped) {
      ASSERT_TRUE(taps.contains(path)) << path << " is not tapped";
      best = std::min(best, testing::relative_error(taps.at(path), golden.get(name)));
    }
    EXPECT_LE(best, tolerance) << name;
  }
}

void check_folder(const std::filesystem::path& folder, DType compute) {
  int cases = 0;
  const UNetConfig config =
      UNetConfig::from_json(testing::read_text(folder / "model/unet/config.json"));
  const nn::Model<UNet> unet(config,
                             weights::Scope(testing::folder_weights(folder / "model/unet")));
  for (const auto& file : testing::safetensors_in(folder)) {
    const GoldenCase golden = GoldenCase::open(file);
    if (!golden.has("in.sample") || !golden.has("in.encoder_hidden_states")) continue;
    ++cases;
    for (const auto& table : testing::test_backends()) {
      if (compute == DType::bf16 && table->name() == "cpu" && !backend::cpu::cpu_features().avx512)
        continue;
      SCOPED_TRACE(std::string(table->name()) + " " + file.filename().string());
      check_case(unet, golden, *table, compute);
    }
  }
  EXPECT_GT(cases, 0) << "no UNet case in " << folder;
}

TEST(UNetGolden, F32) {
  testing::for_each_golden("sd15", [](const auto& folder) { check_folder(folder, DType::f32); });
}

TEST(UNetGolden, Bf16) {
  testing::for_each_golden("sd15", [](const auto& folder) { check_folder(folder, DType::bf16); });
}

TEST(UNetGolden, UsesEveryTensorOfTheFile) {
  testing::for_each_golden("sd15", [](const auto& folder) {
    const weights::Scope scope(testing::folder_weights(folder / "model/unet"));
    const nn::Model<UNet> unet(
        UNetConfig::from_json(testing::read_text(folder / "model/unet/config.json")), scope);
    EXPECT_EQ(scope.unused(), std::vector<std::string>{});
  });
}

}  // namespace
}  // namespace velatura::models::unet
