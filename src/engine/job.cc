#include "engine/job.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <future>
#include <random>

#include "base/error.h"
#include "base/platform/memory.h"
#include "base/platform/process.h"
#include "engine/adapters.h"
#include "engine/pictures.h"
#include "engine/replay.h"
#include "image/codec.h"
#include "image/resize.h"
#include "pipelines/conditioning.h"
#include "pipelines/generation_text.h"
#include "pipelines/prompt/embedding_shelf.h"
#include "pipelines/text_to_image.h"

namespace velatura::engine {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using pipelines::DiffusionModel;

namespace {

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

constexpr double kDemoCfg = 4;
constexpr const char* kDemoUpscaler = "emoji-x4";
constexpr const char* kDemoName = "velatura-demo";

/// Everything that a job needs, resolved before the first step.
struct Job {
  const GenerateRequest& request;
  const Observer& observer;
  StopToken stop;
  fs::path model_path, vae_path, upscaler_path;
  std::string model_name;
  bool is_demo = false;
  std::shared_ptr<const DiffusionModel> model;
  std::shared_ptr<const pipelines::Upscaler> upscaler;
  RequestedAdapters adapters;
  std::vector<pipelines::prompt::Embedding> embeddings;
  diffusion::SamplingPlan plan;
  pipelines::BatchRequest batch;
  std::uint64_t seed = 0;
};

void note(const Job& job, const std::string& text) {
  if (job.observer.on_note) job.observer.on_note(text);
}

/// Hashes need the whole file: they are computed beside the sampling and waited for at its end, and
/// given up with the job.
class BackgroundHash {
 public:
  BackgroundHash(FileHashes& hashes, const fs::path& path)
      : result_(std::async(std::launch::async, [&hashes, path, stop = source_.get_token()] {
          return path.empty() ? std::string() : hashes.auto_v2(path, stop);
        })) {}
  ~BackgroundHash() { source_.request_stop(); }
  BackgroundHash(const BackgroundHash&) = delete;
  BackgroundHash& operator=(const BackgroundHash&) = delete;
  std::string get() { return result_.get(); }

 private:
  StopSource source_;
  std::future<std::string> result_;
};

void load_models(Session& session, Job& job) {
  const GenerateRequest& request = job.request;
  const std::optional<fs::path> demo = Roots::demo();
  if (request.model.empty() || request.model == kDemoName) {
    if (!demo)
      fail(ErrorKind::not_found,
           "the demonstration model was not found beside the program; give a model with --model");
    job.model_path = *demo / "model";
  } else {
    job.model_path = session.roots.resolve(AssetKind::checkpoint, request.model);
  }
  std::error_code ignored;
  job.is_demo = demo && fs::equivalent(job.model_path, *demo / "model", ignored);
  if (!request.vae.empty())
    job.vae_path = session.roots.resolve(AssetKind::vae, request.vae.string());
  job.model =
      session.cache.model({.model = job.model_path, .config = request.config, .vae = job.vae_path});
  job.model_name = job.is_demo ? kDemoName : job.model->name;
  for (const std::string& text : job.model->notes) note(job, text);
  const std::string upscaler =
      request.upscale.empty() && job.is_demo ? kDemoUpscaler : request.upscale;
  if (!upscaler.empty() && upscaler != "none") {
    job.upscaler_path = session.roots.resolve(AssetKind::upscaler, upscaler);
    job.upscaler = session.cache.upscaler(job.upscaler_path);
  }
}

diffusion::NoiseScheduleConfig noise_config(const Job& job) {
  diffusion::NoiseScheduleConfig noise = job.model->noise;
  if (job.request.prediction != "auto") {
    const auto named = diffusion::prediction_from_name(job.request.prediction);
    if (!named)
      fail(ErrorKind::invalid_argument, "--prediction \"{}\" is not one of auto, epsilon, v",
           job.request.prediction);
    noise.prediction = *named;
  }
  return noise;
}

/// All that can be wrong with a request is found before the first step.
void plan_sampling(Job& job) {
  const GenerateRequest& request = job.request;
  const bool from_picture = !request.init.empty();
  if (from_picture && request.strength <= 0)
    fail(ErrorKind::invalid_argument,
         "--strength 0 leaves the init picture as it is; above 0 to 1 is expected");
  job.plan = diffusion::make_plan({.sampler = request.sampler,
                                   .schedule = request.schedule,
                                   .steps = request.steps,
                                   .strength = from_picture ? request.strength : 1.0,
                                   .noise = noise_config(job)});
  job.batch = {.width = request.width > 0 ? request.width : job.model->default_side,
               .height = request.height > 0 ? request.height : job.model->default_side,
               .batch = request.batch,
               .cfg = request.cfg.value_or(job.is_demo ? kDemoCfg : job.model->default_cfg),
               .guidance_rescale = request.guidance_rescale};
  pipelines::latent_shape(*job.model, request.batch, job.batch.width, job.batch.height);
  if (request.pick && *request.pick >= request.batch) {
    fail(ErrorKind::invalid_argument, "--pick {}: the batch has {} pictures, counted from 0",
         *request.pick, request.batch);
  }
  if (from_picture) {
    const image::Picture init = image::read_file(request.init);
    job.batch.init = to_signed_tensor(
        image::cover(image::to_rgb(init.image), job.batch.width, job.batch.height));
  }
  job.seed = request.seed.value_or(std::random_device{}());
}

void load_embeddings(Session& session, Job& job) {
  using namespace pipelines::prompt;
  const std::vector<fs::path> folders = session.roots.folders(AssetKind::embedding);
  const EmbeddingShelf shelf(folders);
  std::vector<EmbeddingArgument> arguments;
  for (const auto& embedding : job.request.embeddings)
    arguments.push_back({.path = shelf.resolve(embedding.path.string()), .token = embedding.token});
  const std::array prompts = {job.adapters.prompt, job.request.negative};
  const PromptReading reading = job.request.raw_prompt ? PromptReading::raw : PromptReading::web_ui;
  job.embeddings =
      pipelines::prompt::load_embeddings(shelf, arguments, prompts, reading, job.model->tokenizer,
                                         (*job.model->text_encoder)->config().width);
}

pipelines::Conditioning encode_text(Job& job, const lora::AdapterSet& adapters,
                                    ops::Context& context) {
  nn::Run run{.ops = context,
              .patches = adapters.patches(DiffusionModel::kTextComponent),
              .stop = job.stop};
  return pipelines::encode_text(
      run, *job.model,
      {.prompt = job.adapters.prompt,
       .negative = job.request.negative,
       .reading = job.request.raw_prompt ? pipelines::prompt::PromptReading::raw
                                         : pipelines::prompt::PromptReading::web_ui,
       .clip_skip = job.request.clip_skip,
       .embeddings = job.embeddings});
}

/// One batch as finished pictures f32 [N, 3, H, W] in [0, 1], upscaled where asked.
std::vector<Tensor> make_batch(const Job& job, const pipelines::BatchContext& context,
                               const pipelines::Conditioning& text, int index) {
  pipelines::BatchRequest batch = job.batch;
  batch.seed =
      job.seed + static_cast<std::uint64_t>(index) * static_cast<std::uint64_t>(batch.batch);
  Clock::time_point last = Clock::now();
  pipelines::BatchHooks hooks{.progress = {}, .stop = job.stop};
  hooks.progress = [&](const diffusion::SamplingProgress& progress) {
    if (!progress.step_done) return;
    if (job.observer.on_preview)
      job.observer.on_preview(to_image(pipelines::preview_picture(context, progress.denoised)));
    if (job.observer.on_progress) {
      job.observer.on_progress({.step = progress.step + 1,
                                .steps = progress.steps,
                                .evaluations = progress.evaluations,
                                .batch = index,
                                .batches = job.request.count,
                                .seconds_per_step = seconds_since(last)});
    }
    last = Clock::now();
  };
  const Tensor latents = pipelines::sample_latents(context, batch, text, job.plan, hooks);
  std::vector<Tensor> pictures;
  for (std::int64_t i = 0; i < latents.size(0); ++i) {
    if (job.request.pick && *job.request.pick != i) continue;
    Tensor picture = pipelines::decode_pictures(context, latents.slice(i, i + 1), job.stop);
    if (job.upscaler) {
      nn::Run run{.ops = context.ops, .patches = nullptr, .stop = job.stop};
      picture = (*job.upscaler)->forward(run, picture);
    }
    pictures.push_back(picture.reshaped({3, picture.size(2), picture.size(3)}));
  }
  return pictures;
}

class PictureTexts {
 public:
  PictureTexts(Session& session, const Job& job, std::string model_hash) : job_(job) {
    const auto stem = [](const fs::path& path) { return path.stem().string(); };
    facts_.base_width = job.batch.width;
    facts_.base_height = job.batch.height;
    facts_.cfg = job.batch.cfg;
    facts_.model_name = job.model_name;
    facts_.model_hash = model_hash;
    facts_.vae_name = stem(job.vae_path);
    facts_.upscaler = stem(job.upscaler_path);
    facts_.prompt = job.adapters.prompt;
    facts_.version = fmt::format("Velatura {}", VELATURA_VERSION);
    replay_ = {.version = VELATURA_VERSION,
               .model = {job.model_name, std::move(model_hash)},
               .vae = {},
               .init = {},
               .loras = {},
               .precision = std::string(to_string(session.device.compute)),
               .backend = std::string(session.device.table->name()),
               .threads = session.device.threads};
    if (!job.vae_path.empty())
      replay_.vae = {stem(job.vae_path), session.hashes.auto_v2(job.vae_path)};
    if (!job.request.init.empty())
      replay_.init = {job.request.init.filename().string(),
                      session.hashes.auto_v2(job.request.init)};
    for (const LoraOutcome& lora : job.adapters.outcomes) {
      facts_.loras.push_back({.name = lora.name,
                              .weight = lora.weight,
                              .text_weight = lora.text_weight,
                              .hash = lora.hash});
      replay_.loras.push_back({lora.name, lora.hash});
    }
  }

  /// Texts of picture `index` of batch `batch`.
  std::vector<std::pair<std::string, std::string>> of(int batch, int index, const Image& image) {
    GenerateRequest request = job_.request;
    const std::uint64_t first =
        job_.seed + static_cast<std::uint64_t>(batch) * static_cast<std::uint64_t>(request.batch);
    request.seed = first;
    request.count = 1;
    if (request.batch > 1) request.pick = index;
    facts_.seed = first + static_cast<std::uint64_t>(index);
    facts_.width = image.width;
    facts_.height = image.height;
    return {{"parameters", image::write_infotext(pipelines::write_generation(request, facts_))},
            {std::string(kReplayKey), write_replay(request, replay_)}};
  }

  std::uint64_t seed() const { return facts_.seed; }

 private:
  const Job& job_;
  pipelines::GenerationFacts facts_;
  ReplayFacts replay_;
};

/// Finished pictures go to the observer as they come, else into the result.
void deliver(const Job& job, PictureTexts& texts, int batch, const std::vector<Tensor>& tensors,
             GenerateResult& result) {
  int index = job.request.pick.value_or(0);
  for (const Tensor& tensor : tensors) {
    Picture picture{.image = to_image(tensor), .seed = 0, .text = {}};
    picture.text = texts.of(batch, index++, picture.image);
    picture.seed = texts.seed();
    if (result.width == 0) {
      result.seed = picture.seed;
      result.width = picture.image.width;
      result.height = picture.image.height;
    }
    if (job.observer.on_picture) {
      job.observer.on_picture(std::move(picture));
    } else {
      result.pictures.push_back(std::move(picture));
    }
  }
}

GenerateResult make_pictures(Session& session, Job& job, double load_seconds) {
  const Clock::time_point begin = Clock::now();
  Workspace workspace;
  ops::Context context(*session.device.table, workspace, session.device.compute);
  const lora::AdapterSet adapters(
      job.model->components, job.adapters.uses,
      job.request.lora_mode == LoraMode::live ? lora::Mode::live : lora::Mode::fused);
  DiffusionModel model = *job.model;  // parts are shared; only the prediction type may differ
  model.noise = noise_config(job);
  const pipelines::BatchContext batch_context{
      .model = model, .ops = context, .adapters = &adapters};

  BackgroundHash model_hash(session.hashes, hashed_file(job.model_path));
  const pipelines::Conditioning text = encode_text(job, adapters, context);
  GenerateResult result;
  std::optional<PictureTexts> texts;
  result.start_seconds = platform::seconds_since_start();
  for (int index = 0; index < job.request.count; ++index) {
    const std::vector<Tensor> pictures = make_batch(job, batch_context, text, index);
    if (!texts) {
      result.model_hash = model_hash.get();
      texts.emplace(session, job, result.model_hash);
    }
    deliver(job, *texts, index, pictures, result);
  }
  result.loras = job.adapters.outcomes;
  result.steps = job.plan.steps;
  result.evaluations = static_cast<int>(job.plan.evaluations.size());
  result.model_name = job.model_name;
  result.sampler = job.request.sampler;
  result.schedule = job.plan.schedule;
  result.precision = to_string(session.device.compute);
  result.load_seconds = load_seconds;
  result.seconds = seconds_since(begin);
  result.peak_bytes = static_cast<double>(platform::peak_resident_bytes());
  return result;
}

}  // namespace

GenerateResult run_job(Session& session, const GenerateRequest& request, const Observer& observer,
                       StopToken stop) {
  const Clock::time_point begin = Clock::now();
  Job job{.request = request, .observer = observer, .stop = std::move(stop)};
  load_models(session, job);
  job.adapters = collect_adapters(
      request, job.model,
      {.roots = session.roots, .cache = session.cache, .hashes = session.hashes}, job.stop);
  for (const LoraOutcome& lora : job.adapters.outcomes) note(job, lora.summary);
  plan_sampling(job);
  load_embeddings(session, job);
  throw_if_stopped(job.stop);
  return make_pictures(session, job, seconds_since(begin));
}

}  // namespace velatura::engine
