// Adapters of every family against the formulas of lora-formats.md (float64): every tensor finds
// its place on the toy model's names, and does to a probe vector what the formula says. No forward
// pass is run here (lora_golden_test.cc does).
#include "tests/support/lora_cases.h"

namespace velatura::pipelines {
namespace {

namespace fs = std::filesystem;

// A product of f16 factors in float64 against ours in float32: a sum of up to some 1,000 terms.
constexpr double kProbeTolerance = 1e-5;

void check_family(const std::string& family) {
  testing::for_each_golden("lora/" + family, [](const fs::path& folder) {
    const auto model = testing::CaseModel::of(folder);
    testing::for_each_lora_case(folder, model.components, *model.names,
                                [&](const testing::LoraCase& golden) {
                                  golden.expect_bound();
                                  if (golden.is_picture()) return;
                                  if (golden.needs_base() && !model.has_weights) return;
                                  golden.expect_probes(kProbeTolerance);
                                });
  });
}

TEST(LoraNamesGolden, Sd15) {
  check_family("sd15");
}
TEST(LoraNamesGolden, Sdxl) {
  check_family("sdxl");
}
TEST(LoraNamesGolden, Flux) {
  check_family("flux");
}
TEST(LoraNamesGolden, ZImage) {
  check_family("zimage");
}

}  // namespace
}  // namespace velatura::pipelines
