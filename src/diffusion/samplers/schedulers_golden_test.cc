// golden/schedulers: diffusers' lists for every step count stored, and a whole trace on a synthetic
// model. The formula of the model is in `meta`: eps = 0.9 * tanh(scaled input) + 0.1 * target.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "diffusion/plan.h"
#include "tests/support/goldens.h"
#include "tests/support/scheduler_case.h"

namespace velatura::diffusion {
namespace {

using testing::GoldenCase;

constexpr double kListTolerance = 1e-5;
// The reference steps in float32 and forms x + (next - sigma) * (x - denoised) / sigma, whose terms
// are of sigma's size and whose result is of next's: an error of epsilon * sigma / next, 2e-5 after
// the first step of a zero-SNR list. We sum in float64 and round once a step.
double trace_tolerance(const SamplingPlan& plan) {
  double steepest = 1;
  for (int i = 0; i < plan.course.steps(); ++i) {
    if (plan.course.sigma(i + 1) > 0)
      steepest = std::max(steepest, plan.course.sigma(i) / plan.course.sigma(i + 1));
  }
  return std::max(1e-5, std::numeric_limits<float>::epsilon() * steepest);
}

Tensor model_output(const Tensor& input, const Tensor& target) {
  Tensor output = Tensor::allocate(input.shape(), DType::f32);
  for (std::size_t i = 0; i < output.floats().size(); ++i) {
    output.mutable_floats()[i] = 0.9f * std::tanh(input.floats()[i]) + 0.1f * target.floats()[i];
  }
  return output;
}

// diffusers stores the sigma of every evaluation, in the arrays its two-stage schedulers index:
// Heun s0 s1 s1 … 0 (2n values), KDPM2 s0 s1 s1 … 0 0 0 (2n + 2). Other schedulers store the list.
std::vector<double> stored_sigmas(const SamplingPlan& plan, std::int64_t count) {
  const std::vector<double>& list = plan.course.sigmas;
  const std::size_t steps = list.size() - 1;
  const auto stored = static_cast<std::size_t>(count);
  if (stored == list.size() && plan.evaluations.size() == steps) return list;
  std::vector<double> repeated = {list[0]};
  for (std::size_t i = 1; i < list.size(); ++i) repeated.insert(repeated.end(), 2, list[i]);
  if (stored == 2 * steps) repeated.pop_back();
  if (stored == 2 * steps + 2) repeated.push_back(list.back());
  return repeated;
}

Tensor tensor_of(const std::vector<double>& values) {
  const std::vector<float> floats(values.begin(), values.end());
  return Tensor::from(floats, {static_cast<std::int64_t>(floats.size())});
}

bool all_whole(const Tensor& values) {
  return std::all_of(values.floats().begin(), values.floats().end(),
                     [](float v) { return v == std::nearbyint(v); });
}

int check_lists(const GoldenCase& golden) {
  int checked = 0;
  for (const std::string& name : golden.names("out.")) {
    const bool sigmas = name.starts_with("out.sigmas."),
               timesteps = name.starts_with("out.timesteps.");
    if (!sigmas && !timesteps) continue;
    SCOPED_TRACE(name);
    ++checked;
    const int steps = std::stoi(name.substr(name.rfind('.') + 1));
    const SamplingPlan plan = make_plan(
        testing::scheduler_request(golden.meta["scheduler"], golden.meta["config"], steps));
    const Tensor expected = to_f32(golden.get(name));
    if (sigmas) {
      EXPECT_TRUE(testing::close(tensor_of(stored_sigmas(plan, expected.count())), expected,
                                 kListTolerance));
      continue;
    }
    std::vector<double> visited;
    for (const Evaluation& evaluation : plan.evaluations) visited.push_back(evaluation.timestep);
    const Tensor actual = tensor_of(visited);
    EXPECT_TRUE(testing::close(actual, expected, kListTolerance));
    if (!all_whole(expected) || actual.count() != expected.count()) continue;
    for (std::int64_t i = 0; i < expected.count(); ++i) {
      EXPECT_EQ(actual.data<float>()[i], expected.data<float>()[i]) << "timestep " << i;
    }
  }
  return checked;
}

void check_trace(const GoldenCase& golden) {
  const SamplingPlan plan = make_plan(testing::scheduler_request(
      golden.meta["scheduler"], golden.meta["config"], golden.meta["trace_steps"]));
  const Tensor target = golden.get("in.target");
  const Tensor trace = golden.get("out.trace");
  const Tensor start = golden.get("in.start").reshaped(target.shape());
  ASSERT_EQ(trace.size(0), static_cast<std::int64_t>(plan.evaluations.size()) + 1);
  EXPECT_TRUE(testing::close(start, trace.slice(0, 1), 0.0));

  ScaledDenoiser denoiser(plan.noise->config().prediction,
                          [&](const Tensor& input, double) { return model_output(input, target); });
  const double tolerance = trace_tolerance(plan);
  BatchNoise noise(testing::seed_in(golden.meta["generator"]));
  // The reference's start is noise times its init_noise_sigma; ours is noise times start_scale.
  const double theirs = golden.meta["init_noise_sigma"];
  const Tensor plain = combine({{1 / theirs, start}});
  int entry = 0;
  const Tensor last = run_sampling(
      plan, denoiser, noise, start_from_noise(plan, plain),
      {.progress =
           [&](const SamplingProgress& progress) {
             ++entry;
             SCOPED_TRACE(::testing::Message() << "after evaluation " << entry);
             EXPECT_EQ(progress.evaluation, entry);
             EXPECT_TRUE(testing::close(to_reference_space(plan, progress.latents, progress.sigma),
                                        trace.slice(entry, entry + 1), tolerance));
           },
       .stop = {}});
  EXPECT_EQ(entry, static_cast<int>(plan.evaluations.size()));
  EXPECT_TRUE(testing::close(last, trace.slice(entry, entry + 1), tolerance));
}

TEST(SchedulersGolden, ListsAndTraces) {
  testing::for_each_golden("schedulers", [](const std::filesystem::path& folder) {
    int cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string stem = entry.path().stem().string();
      if (entry.path().extension() != ".safetensors" || stem.starts_with("flow_")) continue;
      SCOPED_TRACE(stem);
      const GoldenCase golden = GoldenCase::open(entry.path());
      EXPECT_GT(check_lists(golden), 0);
      check_trace(golden);
      ++cases;
    }
    EXPECT_GT(cases, 0) << "no case in " << folder;
  });
}

}  // namespace
}  // namespace velatura::diffusion
