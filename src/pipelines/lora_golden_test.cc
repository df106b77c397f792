// Adapters against the formulas of lora-formats.md (float64) and diffusers' loaders: outputs of the
// models with each case's adapters and a whole picture; live and fused, on both backends. What a
// file's modules do to a probe vector is lora_names_golden_test.cc's.
#include <algorithm>

#include "lora/apply/adapter_set.h"
#include "pipelines/conditioning.h"
#include "pipelines/load_model.h"
#include "pipelines/text_to_image.h"
#include "tests/support/backends.h"
#include "tests/support/lora_cases.h"
#include "tests/support/runs.h"

namespace velatura::pipelines {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The goldens' own float32 forward differs from the float64 one by up to 2e-5, and ours as much.
constexpr double kOutputTolerance = 1e-4;

std::vector<lora::AdapterUse> uses_of(const testing::LoraCase& golden, std::size_t k) {
  std::vector<lora::AdapterUse> uses;
  for (const auto& [stem, of] : golden.golden.at("apply").at(k).items()) {
    uses.push_back({.adapter = golden.adapters.at(stem),
                    .denoiser = of.value("unet", 0.0f),
                    .text = of.value("te", 0.0f)});
  }
  return uses;
}

Tensor run_unet(nn::Run& run, const DiffusionModel& model, const testing::LoraCase& golden) {
  const Tensor step = to_f32(golden.base.get("in.unet.timestep"));
  return (*model.unet)
      ->forward(run, golden.base.get("in.unet.sample"), step.floats(),
                golden.base.get("in.unet.encoder_hidden_states"));
}

void check_outputs(const testing::LoraCase& golden, const DiffusionModel& model,
                   ops::OpTable& table, lora::Mode mode) {
  for (std::size_t k = 0; k < golden.golden.at("apply").size(); ++k) {
    const lora::AdapterSet set(model.components, uses_of(golden, k), mode);
    const std::string unet = fmt::format("out.unet.{}", k), te = fmt::format("out.te.{}", k);
    testing::TestRun test(table);
    if (golden.expect.has(unet)) {
      test.run.patches = set.patches(DiffusionModel::kUNetComponent);
      EXPECT_TRUE(testing::close(run_unet(test.run, model, golden), golden.expect.get(unet),
                                 kOutputTolerance))
          << unet;
    }
    if (golden.expect.has(te)) {
      test.run.patches = set.patches(DiffusionModel::kTextComponent);
      const Tensor out =
          (*model.text_encoder)->forward(test.run, {.ids = golden.base.get("in.te.input_ids")});
      EXPECT_TRUE(testing::close(out, golden.expect.get(te), kOutputTolerance)) << te;
    }
    EXPECT_TRUE(golden.expect.has(unet) || golden.expect.has(te))
        << "nothing to compare entry " << k << " with";
  }
}

/// `out.latents` of every step and `out.image`; the prompt's words stand in the file.
void check_picture(const testing::LoraCase& golden, const DiffusionModel& model,
                   ops::OpTable& table, lora::Mode mode) {
  const json& meta = golden.expect.meta;
  lora::AdapterSet set(model.components, uses_of(golden, 0), mode);
  testing::TestRun test(table);
  test.run.patches = set.patches(DiffusionModel::kTextComponent);
  const Conditioning text = encode_text(test.run, model,
                                        {.prompt = meta.at("prompt"),
                                         .negative = meta.at("negative"),
                                         .reading = prompt::PromptReading::raw});
  const diffusion::SamplingPlan plan = diffusion::make_plan({.sampler = "euler",
                                                             .schedule = "leading",
                                                             .steps = meta.at("steps"),
                                                             .strength = 1.0,
                                                             .noise = model.noise});
  ASSERT_EQ(meta.at("sampler"), "euler, leading");
  const Tensor expected = golden.expect.get("out.latents");
  std::int64_t step = 0;
  BatchHooks hooks;
  hooks.progress = [&](const diffusion::SamplingProgress& progress) {
    const Tensor latents = diffusion::to_reference_space(plan, progress.latents, progress.sigma);
    ASSERT_LT(step, expected.size(0));
    EXPECT_TRUE(testing::close(latents, expected.slice(step, step + 1), kOutputTolerance))
        << "after step " << step;
    ++step;
  };
  const BatchContext batch{.model = model, .ops = test.ops, .adapters = {&set}};
  const Tensor latents = sample_latents(batch,
                                        {.width = meta.at("size").at(1),
                                         .height = meta.at("size").at(0),
                                         .seed = meta.at("seed"),
                                         .cfg = meta.at("guidance")},
                                        text, plan, hooks);
  EXPECT_EQ(step, expected.size(0));
  EXPECT_TRUE(testing::close(decode_pictures(batch, latents), golden.expect.get("out.image"),
                             kOutputTolerance));
}

/// One test a backend and mode, so that each has a time limit of its own.
void run_on(std::string_view backend, lora::Mode mode) {
  const auto tables = testing::test_backends();
  const auto table = std::ranges::find(tables, backend, [](const auto& t) { return t->name(); });
  if (table == tables.end()) GTEST_SKIP() << backend << " was not asked for";
  testing::for_each_golden("lora/sd15", [&](const fs::path& folder) {
    const auto model =
        load_model({.model = folder.parent_path().parent_path() / folder.filename() / "model"});
    testing::for_each_lora_case(folder, model->components, *model->names,
                                [&](const testing::LoraCase& golden) {
                                  if (golden.is_picture()) {
                                    check_picture(golden, *model, **table, mode);
                                  } else {
                                    check_outputs(golden, *model, **table, mode);
                                  }
                                });
  });
}

TEST(LoraGolden, LiveOnReference) {
  run_on("reference", lora::Mode::live);
}
TEST(LoraGolden, FusedOnReference) {
  run_on("reference", lora::Mode::fused);
}
TEST(LoraGolden, LiveOnCpu) {
  run_on("cpu", lora::Mode::live);
}
TEST(LoraGolden, FusedOnCpu) {
  run_on("cpu", lora::Mode::fused);
}

}  // namespace
}  // namespace velatura::pipelines
