// UNet2DConditionModel against diffusers: every file of golden/sd15 that has a sample and a text to
// denoise by.
#include "models/unet/unet.h"

#include <gtest/gtest.h>

#include <functional>
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

/// Calls `run` with the model of a folder and its first case.
void with_first_case(const std::filesystem::path& folder,
                     const std::function<void(const UNet&, const GoldenCase&)>& run) {
  const UNetConfig config =
      UNetConfig::from_json(testing::read_text(folder / "model/unet/config.json"));
  const nn::Model<UNet> unet(config,
                             weights::Scope(testing::folder_weights(folder / "model/unet")));
  for (const auto& file : testing::safetensors_in(folder)) {
    const GoldenCase golden = GoldenCase::open(file);
    if (golden.has("in.sample") && golden.has("in.encoder_hidden_states"))
      return run(*unet, golden);
  }
  ADD_FAILURE() << "no UNet case in " << folder;
}

TEST(UNetGolden, EachSampleMayHaveItsOwnTimestep) {
  testing::for_each_golden("sd15", [](const auto& folder) {
    with_first_case(folder, [](const UNet& unet, const GoldenCase& golden) {
      const Tensor sample = golden.get("in.sample").slice(0, 1),
                   text = golden.get("in.encoder_hidden_states").slice(0, 1);
      for (const auto& table : testing::test_backends()) {
        testing::TestRun test(*table);
        const auto twice = [&](const Tensor& one) {
          const std::int64_t rows = one.size(1), columns = one.count() / rows;
          Tensor both = Tensor::allocate({2, rows, columns}, DType::f32);
          for (int half = 0; half < 2; ++half) {
            std::copy_n(one.data<float>(), one.count(),
                        both.mutable_data<float>() + half * one.count());
          }
          return both;
        };
        const Tensor samples =
            twice(sample).reshaped({2, sample.size(1), sample.size(2), sample.size(3)});
        const Tensor both = unet.forward(test.run, samples, std::array{7.5f, 900.0f}, twice(text));
        for (int i = 0; i < 2; ++i) {
          const Tensor alone =
              unet.forward(test.run, sample, std::array{i == 0 ? 7.5f : 900.0f}, text);
          EXPECT_TRUE(testing::close(both.slice(i, i + 1), alone, kTolerance))
              << table->name() << " sample " << i;
        }
      }
    });
  });
}

TEST(UNetGolden, StopsBetweenBlocks) {
  testing::for_each_golden("sd15", [](const auto& folder) {
    with_first_case(folder, [](const UNet& unet, const GoldenCase& golden) {
      const auto table = backend::reference::make_reference_backend();
      testing::TestRun test(*table);
      StopSource source;
      test.run.stop = source.get_token();
      int outputs = 0;
      test.run.tap = [&](std::string_view, const Tensor&) {
        ++outputs;
        source.request_stop();
      };
      try {
        unet.forward(test.run, golden.get("in.sample"), std::array{1.0f},
                     golden.get("in.encoder_hidden_states"));
        ADD_FAILURE() << "ran to its end";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::cancelled);
      }
      EXPECT_EQ(outputs, 1);
    });
  });
}

TEST(UNetGolden, WrongArgumentsAreNamed) {
  testing::for_each_golden("sd15", [](const auto& folder) {
    with_first_case(folder, [](const UNet& unet, const GoldenCase& golden) {
      const auto table = backend::reference::make_reference_backend();
      testing::TestRun test(*table);
      const Tensor sample = golden.get("in.sample"), text = golden.get("in.encoder_hidden_states");
      const std::int64_t width = text.size(2);
      const std::array timestep = {1.0f};
      const std::vector<float> too_many(static_cast<std::size_t>(sample.size(0)) + 1, 1.0f);
      EXPECT_THROW(unet.forward(test.run, sample, timestep,
                                Tensor::zeros({sample.size(0), 3, width + 1}, DType::f32)),
                   Error);
      EXPECT_THROW(unet.forward(test.run, sample, timestep,
                                Tensor::zeros({sample.size(0) + 1, 3, width}, DType::f32)),
                   Error);
      EXPECT_THROW(unet.forward(test.run, sample, too_many, text), Error);
      EXPECT_THROW(unet.forward(test.run, Tensor::zeros({1, sample.size(1) + 1, 4, 4}, DType::f32),
                                timestep, text),
                   Error);
    });
  });
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
