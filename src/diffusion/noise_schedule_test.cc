#include "diffusion/noise_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace velatura::diffusion {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(NoiseSchedule, TimestepAndSigmaAreInverse) {
  for (const char* betas : {"linear", "scaled_linear", "squaredcos_cap_v2"}) {
    NoiseScheduleConfig config;
    config.beta_schedule = betas;
    const NoiseSchedule noise(config);
    for (double timestep : {0.0, 0.5, 17.25, 500.0, 998.5, 999.0}) {
      EXPECT_NEAR(noise.timestep_of(noise.web_sigma_at(timestep)), timestep, 2e-3)
          << betas << " " << timestep;
    }
    EXPECT_EQ(noise.timestep_of(0), 0);
    EXPECT_EQ(noise.timestep_of(1e9), 999);
    EXPECT_EQ(noise.sigma_at(-3), noise.sigma_min());
    EXPECT_EQ(noise.sigma_at(2000), noise.sigma_max());
  }
}

TEST(NoiseSchedule, ZeroTerminalSnrEndsInNoiseAlone) {
  NoiseScheduleConfig config;
  config.rescale_betas_zero_snr = true;
  const NoiseSchedule rescaled(config), plain{NoiseScheduleConfig{}};
  EXPECT_NEAR(rescaled.sigma_max(), 4096.0, 0.01);
  EXPECT_NEAR(rescaled.sigma_min(), plain.sigma_min(), 1e-4 * plain.sigma_min());
  EXPECT_TRUE(std::is_sorted(rescaled.sigmas().begin(), rescaled.sigmas().end()));
}

TEST(NoiseSchedule, TrainedBetasReplaceTheFormula) {
  NoiseScheduleConfig config;
  config.trained_betas = {0.1, 0.2, 0.3};
  const NoiseSchedule noise(config);
  EXPECT_EQ(noise.size(), 3);
  EXPECT_NEAR(noise.sigma_max(), std::sqrt(1 / (0.9 * 0.8 * 0.7) - 1), 1e-6);
}

TEST(NoiseSchedule, RefusesBetasThatMakeNoSchedule) {
  NoiseScheduleConfig config;
  config.beta_schedule = "cosine";
  EXPECT_THAT(message_of([&] { NoiseSchedule{config}; }), ::testing::HasSubstr("'cosine'"));
  config = {.trained_betas = {0.1, 1.5}};
  EXPECT_THAT(message_of([&] { NoiseSchedule{config}; }), ::testing::HasSubstr("1.5"));
  config = {.num_train_timesteps = -4};
  EXPECT_THAT(message_of([&] { NoiseSchedule{config}; }),
              ::testing::HasSubstr("training timesteps"));
  config = {.beta_start = std::nan("")};
  EXPECT_THAT(message_of([&] { NoiseSchedule{config}; }), ::testing::HasSubstr("beta"));
}

TEST(NoiseScheduleConfig, ReadsASchedulerFileAndKeepsDefaults) {
  const NoiseScheduleConfig config = parse_noise_schedule_config(
      R"({"_class_name": "DPMSolverMultistepScheduler", "beta_end": 0.02, "beta_schedule": "linear",
          "lambda_min_clipped": -Infinity, "prediction_type": "v_prediction", "trained_betas": null})",
      "scheduler_config.json");
  EXPECT_EQ(config.beta_end, 0.02);
  EXPECT_EQ(config.beta_schedule, "linear");
  EXPECT_EQ(config.prediction, Prediction::v);
  EXPECT_EQ(config.beta_start, NoiseScheduleConfig{}.beta_start);
}

TEST(NoiseScheduleConfig, NamesTheWrongKeyAndTheFile) {
  for (const char* text : {R"({"beta_start": "x"})", R"({"num_train_timesteps": 1e99})",
                           R"({"num_train_timesteps": 0})", R"({"steps_offset": -1})",
                           R"({"rescale_betas_zero_snr": 1})", R"({"trained_betas": [1, "2"]})",
                           R"({"prediction_type": "flow"})"}) {
    const std::string key = std::string(text).substr(2, std::string(text).find('"', 2) - 2);
    EXPECT_THAT(message_of([&] { parse_noise_schedule_config(text, "here.json"); }),
                ::testing::AllOf(::testing::HasSubstr("here.json"), ::testing::HasSubstr(key)));
  }
  EXPECT_THAT(message_of([] { parse_noise_schedule_config("[", "here.json"); }),
              ::testing::HasSubstr("JSON"));
}

}  // namespace
}  // namespace velatura::diffusion
