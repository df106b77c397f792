// Whole pictures against diffusers: every sampler's latents after each step, the decoded picture,
// image to image, batches, guidance variants. f32, on both backends.

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <set>

#include "backend/cpu/cpu.h"
#include "backend/reference/reference.h"
#include "base/mapped_file.h"
#include "lora/apply/adapter_set.h"
#include "models/autoencoder_kl/names.h"
#include "models/clip/names.h"
#include "models/unet/names.h"
#include "pipelines/conditioning.h"
#include "pipelines/load_model.h"
#include "pipelines/text_to_image.h"
#include "tests/support/goldens.h"
#include "weights/formats/writer.h"
#include "weights/part_files.h"

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
      runnable_ = fs::exists(scheduler);
      if (runnable_) {
        const GoldenCase config = GoldenCase::open(scheduler);
        named_ = named_by_class(config.meta);
        noise_ = diffusion::parse_noise_schedule_config(config.meta.at("config").dump(),
                                                        scheduler.string());
      }
    }
    if (stem.find("v_prediction") != std::string::npos)
      noise_.prediction = diffusion::Prediction::v;
  }

  /// False where the root lacks the scheduler's configuration.
  bool runnable() const { return runnable_; }
  bool has_picture() const { return golden_.has("out.image"); }

  void run(ops::OpTable& table) {
    std::vector<Tensor> trace;
    const Tensor pictures = make(table, DType::f32, trace);
    compare_latents(trace);
    if (!has_picture()) return;
    EXPECT_TRUE(testing::close(pictures, golden_.get("out.image"), kTolerance));
  }

  /// Against the f32 picture of the reference; the bar for bf16 end to end.
  void run_bf16(ops::OpTable& table) {
    constexpr double kLeastDecibels = 30;
    std::vector<Tensor> trace;
    const Tensor pictures = make(table, DType::bf16, trace);
    EXPECT_GE(testing::psnr(pictures, golden_.get("out.image")), kLeastDecibels);
  }

  /// Pictures f32 [N, 3, H, W] in [0, 1]; absent where the case has none. `trace` takes the latents
  /// after each call of the model.
  Tensor make(ops::OpTable& table, DType compute, std::vector<Tensor>& trace) {
    const nlohmann::json& meta = golden_.meta;
    Workspace workspace;
    ops::Context context(table, workspace, compute);
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
    BatchHooks hooks;
    hooks.progress = [&](const diffusion::SamplingProgress& progress) {
      trace.push_back(
          diffusion::to_reference_space(plan, progress.latents, progress.sigma).clone());
    };
    const BatchContext batch{.model = model, .ops = context};
    const Tensor latents = sample_latents(batch, request, text, plan, hooks);
    return has_picture() ? decode_pictures(batch, latents) : Tensor();
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
  bool runnable_ = true;
};

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Whole-picture cases of a folder, in order of their names.
std::vector<fs::path> picture_cases(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") &&
        (name.starts_with("pipeline_") || name.starts_with("img2img_")))
      files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

/// The repository's compact copy and the full set share cases: the same bytes on the same weights
/// need no second run.
bool seen_before(const fs::path& folder, const fs::path& file) {
  static std::set<std::size_t> seen;
  const auto hash = [](const fs::path& path) {
    const auto mapped = MappedFile::open(path);
    return std::hash<std::string_view>{}(
        {reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size()});
  };
  const std::size_t weights = hash(weights::find_part_weights(folder / "model/unet"));
  return !seen.insert(weights * 31 + hash(file)).second;
}

TEST(PipelineGolden, Pictures) {
  testing::for_each_golden("sd15", [](const fs::path& folder) {
    const auto model = load_model({.model = folder / "model"});
    const std::vector<fs::path> files = picture_cases(folder);
    EXPECT_FALSE(files.empty());
    for (const fs::path& file : files) {
      if (seen_before(folder, file)) continue;
      PipelineCase golden(folder, file, *model);
      if (!golden.runnable()) {
        fmt::print("skipped: {}: the root has no schedulers folder with its configuration\n",
                   file.filename().string());
        continue;
      }
      for (Backend& backend : backends()) {
        SCOPED_TRACE(file.filename().string() + " on " + backend.name);
        golden.run(*backend.table);
      }
    }
  });
}

TEST(PipelineGolden, Bf16PicturesAreCloseToTheF32Ones) {
  const auto table = backend::cpu::make_cpu_backend();
  if (!backend::cpu::cpu_features().avx512_bf16) GTEST_SKIP() << "no bf16 dot products here";
  testing::for_each_golden("sd15", [&](const fs::path& folder) {
    const auto model = load_model({.model = folder / "model"});
    for (const fs::path& file : picture_cases(folder)) {
      PipelineCase golden(folder, file, *model);
      if (!golden.runnable() || !golden.has_picture()) continue;
      SCOPED_TRACE(file.filename().string());
      golden.run_bf16(*table);
    }
  });
}

/// A whole checkpoint in LDM's naming, written from a diffusers folder.
fs::path write_single_file(const fs::path& model, const DiffusionModel& loaded,
                           const fs::path& to) {
  const auto config =
      models::autoencoder_kl::AutoencoderKlConfig::from_json(read_file(model / "vae/config.json"));
  std::vector<weights::NamedTensor> tensors;
  const auto add = [&](const char* part, const weights::NameMap& rows) {
    const auto source = weights::open_source(weights::find_part_weights(model / part));
    std::set<std::string> done;
    for (const weights::NameRow& row : rows) {
      if (source->find(row.canonical) && done.insert(row.canonical).second)
        tensors.push_back({row.file, source->load(row.canonical)});
    }
  };
  add("unet", models::unet::ldm_names((*loaded.unet)->config()));
  add("vae", models::autoencoder_kl::ldm_names(config));
  add("text_encoder", models::clip::names((*loaded.text_encoder)->config()));
  weights::write_safetensors(to, tensors, {});
  return to;
}

/// Head counts are not in a single file's shapes: the folder's configurations tell.
TEST(PipelineGolden, SingleFilesDrawTheSamePictures) {
  const auto table = backend::cpu::make_cpu_backend();
  testing::for_each_golden("sd15", [&](const fs::path& family) {
    const auto whole = load_model({.model = family / "model"});
    const fs::path own = fs::temp_directory_path() /
                         fmt::format("velatura-single-{}.safetensors", std::random_device{}());
    std::vector<fs::path> files = {write_single_file(family / "model", *whole, own)};
    if (fs::exists(family / "single")) {
      for (const auto& entry : fs::directory_iterator(family / "single"))
        files.push_back(entry.path());
    }
    const std::vector<fs::path> cases = picture_cases(family);
    const auto golden = std::ranges::find_if(cases, [&](const fs::path& path) {
      const PipelineCase one(family, path, *whole);
      return one.runnable() && one.has_picture();
    });
    ASSERT_NE(golden, cases.end());  // one picture passes through every weight
    std::vector<Tensor> trace;
    const Tensor expected = PipelineCase(family, *golden, *whole).make(*table, DType::f32, trace);
    for (const fs::path& file : files) {
      SCOPED_TRACE(file.string());
      const bool is_codec = file.filename().string().starts_with("vae");
      const auto model = load_model({.model = is_codec ? family / "model" : file,
                                     .config = family / "model",
                                     .vae = is_codec ? file : fs::path()});
      EXPECT_EQ(
          testing::relative_error(
              PipelineCase(family, *golden, *model).make(*table, DType::f32, trace), expected),
          0.0);
    }
    fs::remove(own);
  });
}

TEST(ConditioningGolden, TextualInversion) {
  testing::for_each_golden("sd15", [](const fs::path& folder) {
    const fs::path file = folder / "textual_inversion.safetensors";
    if (!fs::exists(file)) {
      fmt::print("skipped: {} is not there\n", file.string());
      return;
    }
    const GoldenCase golden = GoldenCase::open(file);
    const auto model = load_model({.model = folder / "model"});
    for (const std::string name : golden.meta.at("files")) {
      const fs::path embedding = folder / name;
      const auto read = prompt::read_embeddings(
          *weights::open_source(embedding),
          {.stem = embedding.stem().string(), .width = (*model->text_encoder)->config().width});
      for (Backend& backend : backends()) {
        SCOPED_TRACE(name + " on " + backend.name);
        Workspace workspace;
        ops::Context context(*backend.table, workspace, DType::f32);
        nn::Run run{.ops = context};
        const Conditioning text =
            encode_text(run, *model, {.prompt = golden.meta.at("prompt"), .embeddings = read});
        EXPECT_TRUE(testing::close(text.positive, golden.get("out.cond"), kTolerance));
      }
    }
  });
}

/// The demonstration model against diffusers: tests/goldens/demo has a few of its pictures.
TEST(PipelineGolden, Demo) {
  const fs::path root = fs::path(std::getenv("VELATURA_SOURCE_DIR")) / "tests/goldens/demo";
  const fs::path demo = fs::path(std::getenv("VELATURA_SOURCE_DIR")) / "models/demo";
  const auto model = load_model({.model = demo / "model"});
  std::ifstream text(root / "cases.json");
  const auto cases = nlohmann::json::parse(text);
  int compared = 0;
  for (const auto& one : cases) {
    const fs::path file = root / (one.at("file").get<std::string>() + ".safetensors");
    if (!fs::exists(file)) continue;  // the list is complete, the pictures are a selection
    ++compared;
    const GoldenCase golden = GoldenCase::open(file);
    for (Backend& backend : backends()) {
      SCOPED_TRACE(file.filename().string() + " on " + backend.name);
      Workspace workspace;
      ops::Context context(*backend.table, workspace, DType::f32);
      std::vector<lora::AdapterUse> uses;
      for (const auto& [name, weight] : one.at("loras").items()) {
        const auto adapter = lora::AdapterFile::open(demo / "loras" / (name + ".safetensors"));
        uses.push_back({.adapter = lora::bind(adapter, model->components, *model->names),
                        .denoiser = weight,
                        .text = weight});
      }
      lora::AdapterSet adapters(model->components, uses, lora::Mode::live);
      nn::Run run{.ops = context};
      const Conditioning words = encode_text(
          run, *model, {.prompt = one.at("prompt"), .reading = prompt::PromptReading::raw});
      const auto plan = diffusion::make_plan({.sampler = one.at("sampler"),
                                              .schedule = one.at("schedule"),
                                              .steps = one.at("steps"),
                                              .noise = model->noise});
      const BatchContext batch{.model = *model, .ops = context, .adapters = {&adapters}};
      const Tensor latents = sample_latents(batch,
                                            {.width = one.at("size").at(1),
                                             .height = one.at("size").at(0),
                                             .seed = one.at("seed"),
                                             .cfg = one.at("cfg")},
                                            words, plan);
      EXPECT_TRUE(testing::close(latents, golden.get("out.latents"), kTolerance));
      EXPECT_TRUE(
          testing::close(decode_pictures(batch, latents), golden.get("out.image"), kTolerance));
    }
  }
  EXPECT_GT(compared, 0);
}

}  // namespace
}  // namespace velatura::pipelines
