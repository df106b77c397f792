// Whole pictures against diffusers: every sampler's latents after each step, the decoded picture,
// image to image, batches, guidance variants. f32, on both backends.

#include <map>

#include "backend/cpu/cpu.h"
#include "backend/reference/reference.h"
#include "pipelines/conditioning.h"
#include "pipelines/load_model.h"
#include "pipelines/text_to_image.h"
#include "tests/support/goldens.h"

namespace velatura::pipelines {
namespace {

namespace fs = std::filesystem;
using testing::GoldenCase;

// The largest error that the goldens' own float32 run may have against ours after all steps.
constexpr double kTolerance = 1e-4;

struct Backend {
  std::string name;
  std::unique_ptr<ops::OpTable> table;
};

std::vector<Backend> backends() {
  std::vector<Backend> all;
  all.push_back({"reference", backend::reference::make_reference_backend()});
  all.push_back({"cpu", backend::cpu::make_cpu_backend()});
  return all;
}

/// The names that a case's `meta` gives to our sampler and list: from its own words, or from its
/// scheduler's class.
struct Named {
  std::string sampler, schedule;
};

Named named_by_class(const nlohmann::json& scheduler) {
  static const std::map<std::string, std::string> kSamplers = {
      {"EulerDiscreteScheduler", "euler"},
      {"EulerAncestralDiscreteScheduler", "euler_a"},
      {"HeunDiscreteScheduler", "heun"},
      {"KDPM2DiscreteScheduler", "dpm2"},
      {"KDPM2AncestralDiscreteScheduler", "dpm2_a"},
      {"LMSDiscreteScheduler", "lms"},
      {"DPMSolverSinglestepScheduler", "dpmpp_2s"},
      {"DDIMScheduler", "ddim"},
      {"DDPMScheduler", "ddpm"},
      {"PNDMScheduler", "plms"},
      {"UniPCMultistepScheduler", "unipc"},
      {"DEISMultistepScheduler", "deis"},
      {"LCMScheduler", "lcm"}};
  const nlohmann::json& config = scheduler.at("config");
  const auto flag = [&](const char* key) { return config.contains(key) && config[key] == true; };
  Named named;
  const std::string type = scheduler.at("scheduler");
  if (type == "DPMSolverMultistepScheduler") {
    named.sampler = config.at("algorithm_type") == "sde-dpmsolver++" ? "dpmpp_2m_sde" : "dpmpp_2m";
  } else {
    named.sampler = kSamplers.at(type);
  }
  named.schedule =
      named.sampler == "dpmpp_2s" ? "linspace" : config.value("timestep_spacing", "leading");
  if (flag("use_karras_sigmas")) named.schedule += "+karras";
  if (flag("use_exponential_sigmas")) named.schedule += "+exponential";
  if (flag("use_beta_sigmas")) named.schedule += "+beta";
  return named;
}

/// "euler_ancestral, leading" → euler_a, leading; "…, beta sigmas" transforms the list.
Named named_by_words(const std::string& words) {
  const std::size_t comma = words.find(',');
  Named named{words.substr(0, comma), "leading"};
  for (const char* spacing : {"trailing", "linspace"}) {
    if (words.find(spacing) != std::string::npos) named.schedule = spacing;
  }
  for (const char* transform : {"karras", "exponential", "beta"}) {
    if (words.find(std::string(transform) + " sigmas") != std::string::npos)
      named.schedule += std::string("+") + transform;
  }
  if (named.sampler == "euler_ancestral") named.sampler = "euler_a";
  return named;
}

/// The value of `key`, `fallback` where it is absent or null.
template <typename T>
T value_or(const nlohmann::json& meta, const char* key, T fallback) {
  return meta.contains(key) && !meta[key].is_null() ? meta[key].get<T>() : fallback;
}

/// "diffusers clip_skip=1: …" → 1; absent → 0.
int skipped_layers(const nlohmann::json& meta) {
  if (!meta.contains("clip_skip")) return 0;
  const std::string text = meta["clip_skip"];
  return std::stoi(text.substr(text.find('=') + 1));
}

class PipelineCase {
 public:
  PipelineCase(const fs::path& folder, const fs::path& file, const DiffusionModel& model)
      : golden_(GoldenCase::open(file)), model_(model), noise_(model.noise) {
    const std::string stem = file.stem().string();
    named_ = {"euler", "leading"};
    if (golden_.meta.contains("sampler")) {
      named_ = named_by_words(golden_.meta["sampler"]);
    } else if (stem.starts_with("pipeline_")) {
      const std::string name = golden_.meta.value("scheduler", stem.substr(9));
      const fs::path scheduler = folder.parent_path() / "schedulers" / (name + ".safetensors");
      if (fs::exists(scheduler)) {
        const GoldenCase config = GoldenCase::open(scheduler);
        named_ = named_by_class(config.meta);
        noise_ = diffusion::parse_noise_schedule_config(config.meta.at("config").dump(),
                                                        scheduler.string());
      }
    }
    if (stem.find("v_prediction") != std::string::npos)
      noise_.prediction = diffusion::Prediction::v;
  }

  void run(ops::OpTable& table) {
    const nlohmann::json& meta = golden_.meta;
    Workspace workspace;
    ops::Context context(table, workspace, DType::f32);
    DiffusionModel model = model_;
    model.noise = noise_;
    nn::Run text_run{.ops = context};
    TextRequest words{.prompt = meta.at("prompt"),
                      .negative = value_or<std::string>(meta, "negative", ""),
                      .reading = prompt::PromptReading::raw};
    Conditioning text = encode_text(text_run, model, words);
    // diffusers skips layers for the prompt alone and encodes the negative with all of them; web
    // UIs, and so the product, skip for both.
    words.clip_skip = skipped_layers(meta) + 1;
    text.positive = encode_text(text_run, model, words).positive;
    BatchRequest request{.batch = value_or(meta, "batch", 1),
                         .seed = meta.at("seed"),
                         .cfg = value_or(meta, "guidance", 1.0),
                         .guidance_rescale = value_or(meta, "guidance_rescale", 0.0)};
    request.height = meta.at("size").at(0);
    request.width = meta.at("size").at(1);
    if (golden_.has("in.image")) request.init = to_signed(golden_.get("in.image"));
    const diffusion::SamplingPlan plan =
        diffusion::make_plan({.sampler = named_.sampler,
                              .schedule = named_.schedule,
                              .steps = meta.at("steps"),
                              .strength = value_or(meta, "strength", 1.0),
                              .noise = noise_});
    std::vector<Tensor> trace;
    BatchHooks hooks;
    hooks.progress = [&](const diffusion::SamplingProgress& progress) {
      trace.push_back(
          diffusion::to_reference_space(plan, progress.latents, progress.sigma).clone());
    };
    const BatchContext batch{.model = model, .ops = context};
    const Tensor latents = sample_latents(batch, request, text, plan, hooks);
    compare_latents(trace);
    if (!golden_.has("out.image")) return;
    const Tensor pictures = decode_pictures(batch, latents);
    EXPECT_TRUE(testing::close(pictures, golden_.get("out.image"), kTolerance));
  }

 private:
  /// Pictures of pipelines are in [0, 1].
  static Tensor to_signed(const Tensor& picture) {
    Tensor out = to_f32(picture).clone();
    for (float& value : out.mutable_floats()) value = 2 * value - 1;
    return out;
  }

  /// `out.latents` holds the state after every call of the model, or the last one alone.
  void compare_latents(const std::vector<Tensor>& trace) {
    ASSERT_FALSE(trace.empty());
    const Tensor expected = golden_.get("out.latents");
    if (expected.count() == trace.back().count()) {
      EXPECT_TRUE(testing::close(trace.back(), expected, kTolerance)) << "last latents";
      return;
    }
    ASSERT_EQ(static_cast<std::size_t>(expected.size(0)), trace.size());
    for (std::size_t i = 0; i < trace.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      EXPECT_TRUE(testing::close(trace[i], expected.slice(at, at + 1), kTolerance))
          << "after evaluation " << i;
    }
  }

  GoldenCase golden_;
  const DiffusionModel& model_;
  diffusion::NoiseScheduleConfig noise_;
  Named named_;
};

TEST(PipelineGolden, Pictures) {
  testing::for_each_golden("sd15", [](const fs::path& folder) {
    const auto model = load_model({.model = folder / "model"});
    int cases = 0;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(".safetensors") ||
          !(name.starts_with("pipeline_") || name.starts_with("img2img_")))
        continue;
      ++cases;
      for (Backend& backend : backends()) {
        SCOPED_TRACE(name + " on " + backend.name);
        PipelineCase(folder, entry.path(), *model).run(*backend.table);
      }
    }
    EXPECT_GT(cases, 0);
  });
}

}  // namespace
}  // namespace velatura::pipelines
