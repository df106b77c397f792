// Adapters against the formulas of lora-formats.md (float64) and diffusers' loaders: outputs of the
// models with each case's adapters, what a file's modules do to a probe vector, and a whole
// picture; live and fused, on both backends.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "lora/apply/adapter_set.h"
#include "pipelines/conditioning.h"
#include "pipelines/load_model.h"
#include "pipelines/text_to_image.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/runs.h"

namespace velatura::pipelines {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::GoldenCase;

// The goldens' own float32 forward differs from the float64 one by up to 2e-5, and ours as much.
constexpr double kOutputTolerance = 1e-4;
// A product of f16 factors in float64 against ours in float32: a sum of up to some 1,000 terms.
constexpr double kProbeTolerance = 1e-5;

using Bound = std::shared_ptr<const lora::BoundAdapter>;

/// A case's files on the model, by the stem that `apply` names them by.
struct Adapters {
  std::map<std::string, Bound> by_stem;
  std::string refusal;  ///< why this version cannot apply the case; empty where it can
};

bool must_be_applied(const std::string& name) {
  for (const char* prefix : {"kohya", "peft", "processor", "raw_peft"}) {
    if (name.starts_with(prefix)) return true;
  }
  return name == "layer" || name == "stack_lora" || name == "pipeline";
}

void check_account(const lora::BoundAdapter& adapter) {
  std::vector<std::string> expected, actual;
  for (const auto& info : adapter.file->source().tensors()) expected.push_back(info.name);
  for (const auto& fate : adapter.report.tensors) actual.push_back(fate.name);
  EXPECT_EQ(actual, expected) << "every tensor once, in file order";
  EXPECT_EQ(std::set(actual.begin(), actual.end()).size(), actual.size());
}

Adapters bind_all(const fs::path& folder, const json& golden, const DiffusionModel& model) {
  Adapters adapters;
  for (const std::string file : golden.at("files")) {
    const std::string stem = file.substr(0, file.rfind('.'));
    if (!fs::exists(folder / file)) {
      adapters.refusal = file + " is not in this root";
      return adapters;
    }
    try {
      const Bound bound =
          lora::bind(lora::AdapterFile::open(folder / file), model.components, *model.names);
      check_account(*bound);
      for (const lora::TensorFate& fate : bound->report.tensors) {
        if (fate.fate == lora::Fate::refused && adapters.refusal.empty())
          adapters.refusal = fate.name + ": " + fate.reason;
      }
      adapters.by_stem[stem] = bound;
    } catch (const Error& error) {
      adapters.refusal = error.what();
    }
  }
  return adapters;
}

std::vector<lora::AdapterUse> uses_of(const json& strengths, const Adapters& adapters) {
  std::vector<lora::AdapterUse> uses;
  for (const auto& [stem, of] : strengths.items()) {
    uses.push_back({.adapter = adapters.by_stem.at(stem),
                    .denoiser = of.value("unet", 0.0f),
                    .text = of.value("te", 0.0f)});
  }
  return uses;
}

class LoraCase {
 public:
  LoraCase(const fs::path& folder, const json& golden, const DiffusionModel& model)
      : base_(GoldenCase::open(folder / "base.safetensors")),
        expect_(GoldenCase::open(folder / "expect" /
                                 (golden.at("name").get<std::string>() + ".safetensors"))),
        golden_(golden),
        model_(model),
        adapters_(bind_all(folder, golden, model)) {}

  const std::string& refusal() const { return adapters_.refusal; }

  void check_modules() const {
    if (!golden_.contains("modules")) return;
    for (const auto& [stem, count] : golden_["modules"].items())
      EXPECT_EQ(adapters_.by_stem.at(stem)->report.bound_modules(), count.get<int>()) << stem;
  }

  void check_probes() const {
    int probes = 0;
    for (const auto& [stem, adapter] : adapters_.by_stem) {
      for (const lora::BoundModule& module : adapter->modules) {
        const lora::Component& component =
            model_.components[static_cast<std::size_t>(module.target.component)];
        const std::string name = "probe." + stem + "." + component.name + "." +
                                 component.tree->layer(module.target.layer).path + ".weight";
        if (!expect_.has(name)) continue;
        ++probes;
        EXPECT_TRUE(
            testing::close(probed(module.delta->weight_change({}, 1, 0)), expect_.get(name), kProbeTolerance))
            << name;
      }
    }
    EXPECT_EQ(probes, static_cast<int>(expect_.names("probe.").size()));
  }

  void check_outputs(ops::OpTable& table, lora::Mode mode) const {
    for (std::size_t k = 0; k < golden_.at("apply").size(); ++k) {
      const lora::AdapterSet set(model_.components, uses_of(golden_["apply"][k], adapters_), mode);
      const std::string unet = fmt::format("out.unet.{}", k), te = fmt::format("out.te.{}", k);
      testing::TestRun test(table);
      if (expect_.has(unet)) {
        test.run.patches = set.patches(DiffusionModel::kUNetComponent);
        EXPECT_TRUE(testing::close(run_unet(test.run), expect_.get(unet), kOutputTolerance))
            << unet;
      }
      if (expect_.has(te)) {
        test.run.patches = set.patches(DiffusionModel::kTextComponent);
        const Tensor out =
            (*model_.text_encoder)->forward(test.run, {.ids = base_.get("in.te.input_ids")});
        EXPECT_TRUE(testing::close(out, expect_.get(te), kOutputTolerance)) << te;
      }
      EXPECT_TRUE(expect_.has(unet) || expect_.has(te))
          << "nothing to compare entry " << k << " with";
    }
  }

  /// `out.latents` of every step and `out.image`; the prompt's words stand in the file.
  void check_picture(ops::OpTable& table, lora::Mode mode) const {
    const json& meta = expect_.meta;
    const lora::AdapterSet set(model_.components, uses_of(golden_.at("apply").at(0), adapters_),
                               mode);
    testing::TestRun test(table);
    test.run.patches = set.patches(DiffusionModel::kTextComponent);
    const Conditioning text = encode_text(test.run, model_,
                                          {.prompt = meta.at("prompt"),
                                           .negative = meta.at("negative"),
                                           .reading = prompt::PromptReading::raw});
    const diffusion::SamplingPlan plan = diffusion::make_plan({.sampler = "euler",
                                                               .schedule = "leading",
                                                               .steps = meta.at("steps"),
                                                               .strength = 1.0,
                                                               .noise = model_.noise});
    ASSERT_EQ(meta.at("sampler"), "euler, leading");
    const Tensor expected = expect_.get("out.latents");
    std::int64_t step = 0;
    BatchHooks hooks;
    hooks.progress = [&](const diffusion::SamplingProgress& progress) {
      const Tensor latents = diffusion::to_reference_space(plan, progress.latents, progress.sigma);
      ASSERT_LT(step, expected.size(0));
      EXPECT_TRUE(testing::close(latents, expected.slice(step, step + 1), kOutputTolerance))
          << "after step " << step;
      ++step;
    };
    const BatchContext batch{.model = model_, .ops = test.ops, .adapters = &set};
    const Tensor latents = sample_latents(batch,
                                          {.width = meta.at("size").at(1),
                                           .height = meta.at("size").at(0),
                                           .seed = meta.at("seed"),
                                           .cfg = meta.at("guidance")},
                                          text, plan, hooks);
    EXPECT_EQ(step, expected.size(0));
    EXPECT_TRUE(testing::close(decode_pictures(batch, latents), expect_.get("out.image"),
                               kOutputTolerance));
  }

  bool is_picture() const { return expect_.has("out.image"); }

 private:
  /// flat(ΔW) · the probe vector of its width, in float64.
  Tensor probed(const Tensor& delta) const {
    const std::int64_t out = delta.size(0), columns = delta.count() / out;
    const Tensor probe = to_f32(base_.get(fmt::format("probe_in.{}", columns)));
    Tensor result = Tensor::allocate({out}, DType::f32);
    for (std::int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (std::int64_t i = 0; i < columns; ++i) {
        sum += static_cast<double>(delta.data<float>()[o * columns + i]) * probe.data<float>()[i];
      }
      result.mutable_data<float>()[o] = static_cast<float>(sum);
    }
    return result;
  }

  Tensor run_unet(nn::Run& run) const {
    const Tensor step = to_f32(base_.get("in.unet.timestep"));
    return (*model_.unet)
        ->forward(run, base_.get("in.unet.sample"), step.floats(),
                  base_.get("in.unet.encoder_hidden_states"));
  }

  GoldenCase base_, expect_;
  json golden_;
  const DiffusionModel& model_;
  Adapters adapters_;
};

/// Calls `check` with every case of a folder that this version can apply: binding itself tells.
void for_each_case(const fs::path& folder, const std::function<void(const LoraCase&)>& check) {
  const auto model =
      load_model({.model = folder.parent_path().parent_path() / folder.filename() / "model"});
  const json cases = json::parse(testing::read_text(folder / "cases.json")).at("cases");
  int applied = 0;
  for (const json& golden : cases) {
    const std::string name = golden.at("name");
    SCOPED_TRACE(name);
    if (!fs::exists(folder / "expect" / (name + ".safetensors"))) {
      fmt::print("skipped: {}: its expectation is not in {}\n", name, folder.string());
      continue;
    }
    const LoraCase lora_case(folder, golden, *model);
    if (!lora_case.refusal().empty()) {
      EXPECT_FALSE(must_be_applied(name)) << lora_case.refusal();
      fmt::print("skipped: {}: {}\n", name, lora_case.refusal());
      continue;
    }
    ++applied;
    check(lora_case);
  }
  EXPECT_GT(applied, 0) << "no case of " << folder << " was applied";
}

/// One test a backend and mode, so that each has a time limit of its own.
void run_on(std::string_view backend, lora::Mode mode) {
  const auto tables = testing::test_backends();
  const auto table = std::ranges::find(tables, backend, [](const auto& t) { return t->name(); });
  if (table == tables.end()) GTEST_SKIP() << backend << " was not asked for";
  testing::for_each_golden("lora/sd15", [&](const fs::path& folder) {
    for_each_case(folder, [&](const LoraCase& golden) {
      golden.is_picture() ? golden.check_picture(**table, mode)
                          : golden.check_outputs(**table, mode);
    });
  });
}

TEST(LoraGolden, ModulesAndProbes) {
  testing::for_each_golden("lora/sd15", [](const fs::path& folder) {
    for_each_case(folder, [](const LoraCase& golden) {
      golden.check_modules();
      if (!golden.is_picture()) golden.check_probes();
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
