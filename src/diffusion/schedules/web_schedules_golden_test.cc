// golden/kdiffusion/schedule_<name>: the web UIs' lists, by name, for every step count stored.
#include <gtest/gtest.h>

#include "diffusion/plan.h"
#include "tests/support/goldens.h"

namespace velatura::diffusion {
namespace {

using testing::GoldenCase;

constexpr double kTolerance = 1e-5;

int check_case(const GoldenCase& golden, const std::string& stem) {
  std::string schedule = stem.substr(std::string("schedule_").size());
  SamplingRequest request;
  if (schedule.ends_with("_sdxl")) {
    request.align_your_steps.assign(schedules::kAlignYourStepsSdxl.begin(),
                                    schedules::kAlignYourStepsSdxl.end());
  }
  if (schedule.starts_with("align_your_steps_")) schedule = "align_your_steps";
  request.schedule = schedule;
  int checked = 0;
  for (const std::string& name : golden.names("out.sigmas.")) {
    SCOPED_TRACE(name);
    request.steps = std::stoi(name.substr(name.rfind('.') + 1));
    const SamplingPlan plan = make_plan(request);
    const std::vector<float> sigmas(plan.course.sigmas.begin(), plan.course.sigmas.end());
    const Tensor expected = golden.get(name);
    if (static_cast<std::int64_t>(sigmas.size()) != expected.count()) {
      ADD_FAILURE() << sigmas.size() << " sigmas, expected " << expected.count();
      continue;
    }
    for (std::size_t i = 0; i < sigmas.size(); ++i) {  // small ones too: each by itself
      EXPECT_NEAR(sigmas[i], expected.floats()[i], kTolerance * expected.floats()[i]) << i;
    }
    ++checked;
  }
  return checked;
}

TEST(WebSchedulesGolden, Lists) {
  testing::for_each_golden("kdiffusion", [](const std::filesystem::path& folder) {
    int cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string stem = entry.path().stem().string();
      if (entry.path().extension() != ".safetensors" || !stem.starts_with("schedule_")) continue;
      SCOPED_TRACE(stem);
      EXPECT_GT(check_case(GoldenCase::open(entry.path()), stem), 0);
      ++cases;
    }
    EXPECT_GT(cases, 0) << "no case in " << folder;
  });
}

}  // namespace
}  // namespace velatura::diffusion
