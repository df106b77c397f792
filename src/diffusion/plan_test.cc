#include "diffusion/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace velatura::diffusion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const Shape kShape{1, 4, 4, 4};

std::string message_of(const SamplingRequest& request) {
  try {
    make_plan(request);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "(no error)";
}

// Knows the answer.
class Oracle : public Denoiser {
 public:
  explicit Oracle(Tensor answer) : answer_(std::move(answer)) {}
  Tensor denoise(const Tensor&, double sigma, double timestep) override {
    calls_.push_back({sigma, timestep, 0, false});
    return answer_;
  }
  std::vector<Evaluation> calls_;

 private:
  Tensor answer_;
};

// The exact model of pictures that are normal with this deviation: the probability flow has a
// closed solution.
class GaussianDenoiser : public Denoiser {
 public:
  static constexpr double kVariance = 0.25;
  Tensor denoise(const Tensor& x, double sigma, double) override {
    return combine({{kVariance / (kVariance + sigma * sigma), x}});
  }
  static double exact_factor(double from, double to) {
    return std::sqrt((kVariance + to * to) / (kVariance + from * from));
  }
};

double relative_difference(const Tensor& a, const Tensor& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.floats().size(); ++i) {
    difference += std::pow(static_cast<double>(a.floats()[i]) - b.floats()[i], 2);
    norm += std::pow(static_cast<double>(b.floats()[i]), 2);
  }
  return std::sqrt(difference / norm);
}

// A state of the size of sigma is rounded to float32 and then counts in one of the size of the next
// sigma.
double rounding_tolerance(const SamplingPlan& plan) {
  double steepest = 16;
  for (int i = 0; i < plan.course.steps(); ++i) {
    if (plan.course.sigma(i + 1) > 0)
      steepest = std::max(steepest, plan.course.sigma(i) / plan.course.sigma(i + 1));
  }
  return steepest * std::numeric_limits<float>::epsilon();
}

TEST(Plan, EverySamplerOnEveryListReachesWhatTheModelKnows) {
  BatchNoise draws(1);
  const Tensor answer = draws.draw(kShape), plain = draws.draw(kShape);
  for (const std::string& sampler : sampler_names()) {
    for (const std::string& schedule : schedule_names()) {
      for (int steps : {1, 2, 3, 7, 16}) {
        SCOPED_TRACE(sampler + " " + schedule + " " + std::to_string(steps));
        const SamplingPlan plan =
            make_plan({.sampler = sampler, .schedule = schedule, .steps = steps});
        Oracle oracle(answer);
        BatchNoise noise(2);
        int reports = 0, done = 0;
        const Tensor result = run_sampling(
            plan, oracle, noise, start_from_noise(plan, plain),
            {.progress =
                 [&](const SamplingProgress& progress) {
                   EXPECT_EQ(progress.evaluation, ++reports);
                   EXPECT_EQ(progress.step,
                             plan.evaluations[static_cast<std::size_t>(reports - 1)].step);
                   done += progress.step_done ? 1 : 0;
                 },
             .stop = {}});
        // What was promised before is what happened.
        ASSERT_EQ(oracle.calls_.size(), plan.evaluations.size());
        for (std::size_t i = 0; i < oracle.calls_.size(); ++i) {
          EXPECT_EQ(oracle.calls_[i].sigma, plan.evaluations[i].sigma);
          EXPECT_EQ(oracle.calls_[i].timestep, plan.evaluations[i].timestep);
        }
        EXPECT_EQ(reports, static_cast<int>(plan.evaluations.size()));
        EXPECT_EQ(done, plan.steps);
        if (plan.course.sigmas.back() == 0 && sampler != "dpm_fast" && sampler != "lcm") {
          EXPECT_LE(relative_difference(result, answer), rounding_tolerance(plan));
        }
      }
    }
  }
}

TEST(Plan, DeterministicSamplersConvergeToTheFlow) {
  BatchNoise draws(1);
  const Tensor plain = draws.draw(kShape);
  for (const char* sampler : {"euler", "heun", "dpm2", "lms", "dpmpp_2m", "dpmpp_2s", "dpm_fast",
                              "ddim", "plms", "unipc", "deis"}) {
    SCOPED_TRACE(sampler);
    double errors[2];
    for (int i = 0; i < 2; ++i) {
      const SamplingPlan plan =
          make_plan({.sampler = sampler, .schedule = "kl_optimal", .steps = i == 0 ? 24 : 96});
      GaussianDenoiser denoiser;
      BatchNoise noise(2);
      const Tensor start = start_from_noise(plan, plain);
      const double factor =
          GaussianDenoiser::exact_factor(plan.course.sigma(0), plan.course.sigmas.back());
      errors[i] = relative_difference(run_sampling(plan, denoiser, noise, start),
                                      combine({{factor, start}}));
    }
    EXPECT_LT(errors[1], errors[0] / 3);  // first order gains four times
    EXPECT_LT(errors[1], 0.02);
  }
}

TEST(Plan, AutomaticFollowsTheSampler) {
  const std::pair<const char*, const char*> rows[] = {{"dpmpp_2m", "karras"},
                                                      {"dpmpp_sde", "karras"},
                                                      {"dpmpp_2s_a", "karras"},
                                                      {"dpm2", "karras"},
                                                      {"dpm2_a", "karras"},
                                                      {"dpmpp_2m_sde", "exponential"},
                                                      {"dpmpp_3m_sde", "exponential"},
                                                      {"euler", "normal"},
                                                      {"euler_a", "normal"},
                                                      {"heun", "normal"},
                                                      {"lms", "normal"},
                                                      {"dpm_fast", "normal"},
                                                      {"ddim", "leading"},
                                                      {"ddpm", "leading"},
                                                      {"plms", "leading"},
                                                      {"unipc", "leading"},
                                                      {"deis", "leading"},
                                                      {"lcm", "leading"},
                                                      {"dpmpp_2s", "linspace"}};
  for (const auto& [sampler, schedule] : rows)
    EXPECT_EQ(make_plan({.sampler = sampler}).schedule, schedule) << sampler;
  EXPECT_EQ(std::size(rows), sampler_names().size());
}

TEST(Plan, SomeSamplersLeaveOutTheLastShortStepOfWebLists) {
  const std::vector<double> longer =
      make_plan({.sampler = "euler", .schedule = "karras", .steps = 9}).course.sigmas;
  for (const char* sampler : {"dpm2", "dpm2_a", "dpmpp_3m_sde"}) {
    const std::vector<double> sigmas =
        make_plan({.sampler = sampler, .schedule = "karras", .steps = 8}).course.sigmas;
    ASSERT_EQ(sigmas.size(), 9u);
    EXPECT_TRUE(std::equal(sigmas.begin(), sigmas.end() - 1, longer.begin()));
    EXPECT_EQ(sigmas.back(), 0.0);
    const SamplingPlan spaced = make_plan({.sampler = sampler, .schedule = "trailing", .steps = 8});
    EXPECT_EQ(spaced.course.sigmas, make_plan({.schedule = "trailing", .steps = 8}).course.sigmas);
  }
}

TEST(Plan, CountsEvaluationsBeforeRunning) {
  const auto evaluations = [](const char* sampler, int steps) {
    return make_plan({.sampler = sampler, .schedule = "leading", .steps = steps})
        .evaluations.size();
  };
  EXPECT_EQ(evaluations("euler", 10), 10u);
  EXPECT_EQ(evaluations("heun", 10), 19u);
  EXPECT_EQ(evaluations("dpm2_a", 10), 19u);
  EXPECT_EQ(evaluations("plms", 10), 11u);
  EXPECT_EQ(evaluations("plms", 1), 1u);
  for (int steps : {1, 2, 3, 4, 5, 6, 7})
    EXPECT_EQ(evaluations("dpm_fast", steps), static_cast<std::size_t>(steps));
}

TEST(Plan, StrengthRunsTheLastSteps) {
  const SamplingPlan whole = make_plan({.schedule = "leading", .steps = 10});
  for (const auto& [strength, ran] :
       {std::pair{0.25, 2}, {0.6, 6}, {0.1, 1}, {0.99, 9}, {1.0, 10}}) {
    const SamplingPlan part = make_plan({.schedule = "leading", .steps = 10, .strength = strength});
    EXPECT_EQ(part.steps, ran) << strength;
    EXPECT_TRUE(std::equal(part.course.sigmas.rbegin(), part.course.sigmas.rend(),
                           whole.course.sigmas.rbegin()));
    EXPECT_EQ(part.course.skipped, 10 - ran);
  }
  BatchNoise draws(4);
  const Tensor latents = draws.draw(kShape), noise = draws.draw(kShape);
  const SamplingPlan part = make_plan({.steps = 10, .strength = 0.5});
  const Tensor start = start_from_latents(part, latents, noise);
  EXPECT_FLOAT_EQ(start.floats()[0], static_cast<float>(latents.floats()[0] +
                                                        part.course.sigma(0) * noise.floats()[0]));
}

TEST(Plan, RefusesWhatMakesNoSense) {
  EXPECT_THAT(message_of({.sampler = "eular"}),
              AllOf(HasSubstr("'eular'"), HasSubstr("euler, euler_a")));
  EXPECT_THAT(message_of({.schedule = "karas"}), AllOf(HasSubstr("'karas'"), HasSubstr("karras")));
  EXPECT_THAT(message_of({.schedule = "leading+"}), HasSubstr("'leading+'"));
  for (int steps : {0, -1, 2'000'000'000})
    EXPECT_THAT(message_of({.steps = steps}), HasSubstr("steps"));
  for (double strength : {0.0, -0.5, 1.5, std::nan("")}) {
    EXPECT_THAT(message_of({.strength = strength}), HasSubstr("strength"));
  }
  EXPECT_THAT(message_of({.steps = 2, .strength = 0.3}), HasSubstr("leaves no step"));
  EXPECT_THAT(message_of({.schedule = "leading", .steps = 1001}), HasSubstr("at most 1000"));
  EXPECT_THAT(message_of({.sampler = "lcm", .schedule = "leading", .steps = 51}),
              HasSubstr("at most 50"));
  EXPECT_THAT(message_of({.schedule = "align_your_steps", .align_your_steps = {}}),
              HasSubstr("align_your_steps"));
}

TEST(Plan, StopsBeforeTheNextEvaluation) {
  const SamplingPlan plan = make_plan({.steps = 8});
  Oracle oracle(Tensor::zeros(kShape, DType::f32));
  BatchNoise noise(1);
  StopSource source;
  const SamplingHooks hooks{.progress =
                                [&](const SamplingProgress& progress) {
                                  if (progress.evaluation == 3) source.request_stop();
                                },
                            .stop = source.get_token()};
  try {
    run_sampling(plan, oracle, noise, Tensor::zeros(kShape, DType::f32), hooks);
    FAIL() << "was not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
  EXPECT_EQ(oracle.calls_.size(), 3u);
}

TEST(Plan, APictureOfABatchEqualsThePictureAlone) {
  for (const std::string& sampler : sampler_names()) {
    SCOPED_TRACE(sampler);
    const SamplingPlan plan = make_plan({.sampler = sampler, .steps = 6});
    GaussianDenoiser denoiser;
    PictureNoise batch(10, 3), alone(11, 1);
    const Tensor many =
        run_sampling(plan, denoiser, batch, start_from_noise(plan, batch.draw({3, 4, 4, 4})));
    const Tensor one =
        run_sampling(plan, denoiser, alone, start_from_noise(plan, alone.draw(kShape)));
    EXPECT_EQ(relative_difference(many.slice(1, 2), one), 0.0);
  }
}

TEST(Plan, PureNoiseIsFiniteForEverySampler) {
  SamplingRequest request;
  request.noise.prediction = Prediction::v;
  request.noise.rescale_betas_zero_snr = true;
  BatchNoise draws(1);
  const Tensor plain = draws.draw(kShape);
  for (const std::string& sampler : sampler_names()) {
    for (const char* schedule : {"normal", "karras", "trailing"}) {
      SCOPED_TRACE(sampler + " " + schedule);
      request.sampler = sampler;
      request.schedule = schedule;
      const SamplingPlan plan = make_plan(request);
      ScaledDenoiser denoiser(Prediction::v, [](const Tensor& input, double) { return input; });
      BatchNoise noise(2);
      const Tensor result = run_sampling(plan, denoiser, noise, start_from_noise(plan, plain));
      for (float value : result.floats()) ASSERT_TRUE(std::isfinite(value));
    }
  }
}

}  // namespace
}  // namespace velatura::diffusion
