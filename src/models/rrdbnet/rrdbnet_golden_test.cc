// RRDBNet against the reference implementation: golden/esrgan/NAME with the weights NAME_new, in
// the current naming.
#include "models/rrdbnet/rrdbnet.h"

#include <gtest/gtest.h>

#include "nn/model.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/runs.h"

namespace velatura::models::rrdbnet {
namespace {

using testing::GoldenCase;

/// About 80 units of f32's epsilon; see the UNet's test for the derivation.
constexpr double kTolerance = 1e-5;

void check_case(const GoldenCase& golden, const weights::Scope& scope) {
  const nn::Model<RrdbNet> net(RrdbNetConfig::detect(scope.source()), scope);
  EXPECT_EQ(scope.unused(), std::vector<std::string>{});
  for (const auto& table : testing::test_backends()) {
    SCOPED_TRACE(table->name());
    testing::TestRun test(*table);
    const Tensor actual = net->forward(test.run, golden.get("in.image"));
    EXPECT_EQ(actual.shape(), golden.get("out.image").shape());
    EXPECT_TRUE(testing::close(actual, golden.get("out.image"), kTolerance));
  }
}

TEST(RrdbNetGolden, F32) {
  testing::for_each_golden("esrgan", [](const auto& folder) {
    int cases = 0;
    for (const auto& file : testing::safetensors_in(folder)) {
      const auto weights_file = folder / (file.stem().string() + "_new.safetensors");
      if (!std::filesystem::exists(weights_file)) continue;
      SCOPED_TRACE(file.filename().string());
      const GoldenCase golden = GoldenCase::open(file);
      const auto source = weights::open_source(weights_file);
      ++cases;
      if (source->find("conv_first.weight")->shape[1] == golden.get("in.image").size(1)) {
        check_case(golden, weights::Scope(source));
      } else {
        EXPECT_THROW(RrdbNetConfig::detect(*source), Error) << "takes unshuffled pictures";
      }
    }
    EXPECT_GT(cases, 0) << "no case in " << folder;
  });
}

}  // namespace
}  // namespace velatura::models::rrdbnet
