// golden/kdiffusion: traces of k-diffusion's samplers on a synthetic model whose formula is in
// `meta`: denoised = x - sigma * (0.9 * tanh(x / sqrt(sigma^2 + 1)) + 0.1 * target).
#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/plan.h"
#include "tests/support/goldens.h"
#include "tests/support/scheduler_case.h"

namespace velatura::diffusion {
namespace {

using testing::GoldenCase;

constexpr double kTolerance = 1e-5;  // as in schedulers_golden_test.cc

// Files are called sampler_<k-diffusion's name>_<schedule>; ours shorten two words of the name.
const samplers::Sampler* sampler_of(const std::string& stem) {
  const samplers::Sampler* longest = nullptr;
  for (const samplers::Sampler& sampler : samplers::all()) {
    std::string name(sampler.name);
    if (name.ends_with("_a")) name += "ncestral";
    if (name.starts_with("dpm2")) name.insert(3, "_");
    const bool named = (stem + "_").starts_with("sampler_" + name + "_");
    if (named && (longest == nullptr || sampler.name.size() > longest->name.size()))
      longest = &sampler;
  }
  return longest;
}

// A plan with the case's own list: what make_plan does for a web UI's list, minus the name.
SamplingPlan plan_of(const samplers::Sampler& sampler, const Tensor& sigmas) {
  SamplingPlan plan;
  plan.sampler = &sampler;
  plan.noise = std::make_shared<const NoiseSchedule>(NoiseScheduleConfig{});
  plan.course.noise = plan.noise.get();
  plan.course.sigmas.assign(sigmas.floats().begin(), sigmas.floats().end());
  for (std::size_t i = 0; i + 1 < plan.course.sigmas.size(); ++i) {
    plan.course.timesteps.push_back(plan.noise->timestep_of(plan.course.sigmas[i]));
  }
  return plan;
}

class SyntheticDenoiser : public Denoiser {
 public:
  explicit SyntheticDenoiser(Tensor target) : target_(std::move(target)) {}
  Tensor denoise(const Tensor& x, double sigma, double) override {
    const double scale = 1 / std::sqrt(sigma * sigma + 1);
    Tensor denoised = Tensor::allocate(x.shape(), DType::f32);
    for (std::size_t i = 0; i < x.floats().size(); ++i) {
      const double value = x.floats()[i];
      denoised.mutable_floats()[i] = static_cast<float>(
          value - sigma * (0.9 * std::tanh(value * scale) + 0.1 * target_.floats()[i]));
    }
    return denoised;
  }

 private:
  Tensor target_;
};

void check_case(const GoldenCase& golden, const samplers::Sampler& sampler) {
  const SamplingPlan plan = plan_of(sampler, golden.get("in.sigmas"));
  const Tensor start = golden.get("in.start");
  SyntheticDenoiser denoiser(golden.get("in.target"));
  // The case's generator drew the start noise first.
  BatchNoise noise(testing::seed_in(golden.meta["noise"]));
  const Tensor start_noise = noise.draw(start.shape());
  EXPECT_TRUE(testing::close(combine({{plan.course.sigma(0), start_noise}}), start, 1e-6));

  const Tensor trace = golden.has("out.trace") ? golden.get("out.trace") : Tensor();
  std::int64_t entry = 0;
  const auto compare = [&](const Tensor& x) {  // the state before each step
    if (!trace.defined() || entry >= trace.size(0)) return;
    SCOPED_TRACE(::testing::Message() << "before step " << entry);
    EXPECT_TRUE(testing::close(x, trace.slice(entry, entry + 1), kTolerance));
    ++entry;
  };
  compare(start);
  const Tensor last = run_sampling(plan, denoiser, noise, start,
                                   {.progress =
                                        [&](const SamplingProgress& progress) {
                                          if (progress.step_done) compare(progress.latents);
                                        },
                                    .stop = {}});
  if (trace.defined()) {
    EXPECT_EQ(entry, trace.size(0));
  }
  EXPECT_TRUE(testing::close(last, golden.get("out.final"), kTolerance));
}

TEST(KdiffusionGolden, Traces) {
  testing::for_each_golden("kdiffusion", [](const std::filesystem::path& folder) {
    int cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string stem = entry.path().stem().string();
      if (entry.path().extension() != ".safetensors" || !stem.starts_with("sampler_")) continue;
      SCOPED_TRACE(stem);
      const samplers::Sampler* sampler = sampler_of(stem);
      ASSERT_NE(sampler, nullptr);
      check_case(GoldenCase::open(entry.path()), *sampler);
      ++cases;
    }
    EXPECT_GT(cases, 0) << "no case in " << folder;
  });
}

}  // namespace
}  // namespace velatura::diffusion
