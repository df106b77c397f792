#include "engine/job.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <future>
#include <random>
#include <set>

#include "base/error.h"
#include "base/platform/memory.h"
#include "base/platform/process.h"
#include "engine/adapter_report.h"
#include "engine/adapters.h"
#include "engine/library.h"
#include "engine/lora_control.h"
#include "engine/picture_texts.h"
#include "engine/pictures.h"
#include "engine/replay.h"
#include "image/codec.h"
#include "image/resize.h"
#include "lora/library/names.h"
#include "pipelines/conditioning.h"
#include "pipelines/prompt/embedding_shelf.h"
#include "pipelines/prompt/tags.h"
#include "pipelines/text_to_image.h"
#include "velatura/request_fields.h"

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
  std::string negative;
  /// What prompts may name, by RequestedAdapters::sets.
  std::vector<std::vector<pipelines::prompt::Embedding>> embeddings;
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

pipelines::prompt::PromptReading reading_of(const GenerateRequest& request) {
  return request.raw_prompt ? pipelines::prompt::PromptReading::raw
                            : pipelines::prompt::PromptReading::web_ui;
}

void load_embeddings(Session& session, Job& job) {
  using namespace pipelines::prompt;
  const std::vector<fs::path> folders = session.roots.folders(AssetKind::embedding);
  const EmbeddingShelf shelf(folders);
  std::vector<EmbeddingArgument> arguments;
  for (const auto& embedding : job.request.embeddings)
    arguments.push_back({.path = shelf.resolve(embedding.path.string()), .token = embedding.token});
  for (const PictureSet& set : job.adapters.sets) {
    const std::array prompts = {set.prompt, job.negative};
    std::vector<Embedding> embeddings = pipelines::prompt::load_embeddings(
        shelf, arguments, prompts, reading_of(job.request), job.model->tokenizer,
        (*job.model->text_encoder)->config().width);
    for (const std::size_t adapter : set.adapters) {
      for (const Embedding& bundled : job.adapters.all[adapter].embeddings)
        embeddings.push_back(bundled);
    }
    job.embeddings.push_back(std::move(embeddings));
  }
}

void collect(Session& session, Job& job) {
  job.adapters = collect_adapters(
      job.request,
      {.seed = job.seed,
       .width = job.batch.width,
       .height = job.batch.height,
       .prediction = noise_config(job).prediction},
      job.model,
      {.roots = session.roots,
       .cache = session.cache,
       .hashes = session.hashes,
       .find_elsewhere =
           [&](const std::string& name) { return session.find_in_library(name, job.stop); }},
      job.stop);
  job.negative = job.request.raw_prompt ? job.request.negative
                                        : pipelines::prompt::strip_comments(job.request.negative);
  if (!job.request.raw_prompt && job.negative.find("<lora:") != std::string::npos)
    note(job, "tags in the negative prompt are read as text: put them into the prompt, or --lora");
  for (const ResolvedAdapter& adapter : job.adapters.all) {
    note(job, adapter.outcome.summary);
    for (const std::string& warning : adapter.outcome.warnings) note(job, warning);
  }
}

/// The adapters of a job at work: a set for each distinct list, the texts they give, and what came
/// of moving them.
class RunningAdapters {
 public:
  RunningAdapters(Session& session, const Job& job, const DiffusionModel& model,
                  ops::Context& context)
      : session_(session), job_(job), model_(model), context_(context) {
    const Shape latent =
        pipelines::latent_shape(model, job.batch.batch, job.batch.width, job.batch.height);
    const lora::SetOptions options{
        .cache = session.cache.stacks(job.model),
        .control = job.observer.loras ? job.observer.loras->state().mailbox : nullptr,
        .weight_type = session.device.compute,
        .budget = std::make_shared<lora::StandInBudget>(),
        .picture_height = latent[2],
        .picture_width = latent[3]};
    const lora::Mode mode =
        job.request.lora_mode == LoraMode::live ? lora::Mode::live : lora::Mode::fused;
    // The cached model's own components: what stacks keep points to them beyond this job.
    for (const PictureSet& set : job.adapters.sets) {
      std::vector<lora::AdapterUse> uses;
      for (const std::size_t i : set.adapters) uses.push_back(job.adapters.all[i].use);
      sets_.push_back(std::make_unique<lora::AdapterSet>(job.model->components, std::move(uses),
                                                         mode, options));
    }
    keys_.resize(sets_.size());
    texts_.resize(sets_.size());
  }

  std::vector<lora::AdapterSet*> of_pictures() const {
    if (sets_.size() == 1) return {sets_.front().get()};
    std::vector<lora::AdapterSet*> of;
    for (const std::size_t set : job_.adapters.set_of_picture) of.push_back(sets_[set].get());
    return of;
  }

  /// The texts as the text encoders are now; nothing where they are as they were.
  std::optional<pipelines::Conditionings> texts() {
    bool changed = false;
    for (std::size_t set = 0; set < sets_.size(); ++set) {
      std::string key = key_of(set);
      if (texts_[set] && key == keys_[set]) continue;
      // Asked for here, so that the account has them when the texts are remembered ones.
      const nn::LayerPatches* patches = sets_[set]->patches(DiffusionModel::kTextComponent);
      texts_[set] = session_.texts.get(job_.model, key, [&] { return encode(set, patches); });
      keys_[set] = std::move(key);
      changed = true;
    }
    return changed ? std::optional(current_texts()) : std::nullopt;
  }

  pipelines::Conditionings current_texts() const {
    if (sets_.size() == 1) return {texts_.front()};
    pipelines::Conditionings of;
    for (const std::size_t set : job_.adapters.set_of_picture) of.push_back(texts_[set]);
    return of;
  }

  /// Sets have read the mailbox: is this picture still what was asked for?
  void look_at_changes() {
    if (!job_.observer.loras) return;
    for (const std::string& name : job_.observer.loras->state().names()) {
      const bool is_known =
          std::ranges::any_of(job_.adapters.all, [&](const ResolvedAdapter& adapter) {
            return adapter.outcome.name == name ||
                   adapter.use.adapter->file->content_hash() == name;
          });
      changed_live_ |= is_known;
      if (is_known || !unknown_.insert(name).second) continue;
      note(job_,
           fmt::format("a strength was set for LoRA \"{}\", which this job does not have", name));
    }
  }

  bool changed_live() const { return changed_live_; }

  /// Of the first set that has the adapter.
  std::vector<lora::ComponentAccount> account_of(std::size_t adapter) const {
    for (std::size_t set = 0; set < sets_.size(); ++set) {
      if (std::ranges::count(job_.adapters.sets[set].adapters, adapter) > 0)
        return sets_[set]->account_of_run();
    }
    return {};
  }
  /// Of each set, one after the other.
  std::vector<lora::ComponentAccount> account() const {
    std::vector<lora::ComponentAccount> all;
    for (const auto& set : sets_) {
      for (lora::ComponentAccount& account : set->account_of_run())
        all.push_back(std::move(account));
    }
    return all;
  }

 private:
  std::string key_of(std::size_t set) const {
    const GenerateRequest& request = job_.request;
    return fmt::format("{}\x1f{}\x1f{}\x1f{}\x1f{}\x1f{}", job_.adapters.sets[set].prompt,
                       job_.negative, request.raw_prompt, request.clip_skip,
                       text_key(job_.embeddings[set]), text_key(*sets_[set], model_.components)) +
           (request.lora_mode == LoraMode::fused ? "\x1f"
                                                   "fused"
                                                 : "");
  }

  pipelines::Conditioning encode(std::size_t set, const nn::LayerPatches* patches) const {
    nn::Run run{.ops = context_, .patches = patches, .stop = job_.stop};
    return pipelines::encode_text(run, model_,
                                  {.prompt = job_.adapters.sets[set].prompt,
                                   .negative = job_.negative,
                                   .reading = reading_of(job_.request),
                                   .clip_skip = job_.request.clip_skip,
                                   .embeddings = job_.embeddings[set]});
  }

  Session& session_;
  const Job& job_;
  const DiffusionModel& model_;
  ops::Context& context_;
  std::vector<std::unique_ptr<lora::AdapterSet>> sets_;
  std::vector<std::string> keys_;
  std::vector<std::shared_ptr<const pipelines::Conditioning>> texts_;
  std::set<std::string> unknown_;
  bool changed_live_ = false;
};

/// One batch as finished pictures f32 [N, 3, H, W] in [0, 1], upscaled where asked.
std::vector<Tensor> make_batch(const Job& job, const pipelines::BatchContext& context,
                               RunningAdapters& adapters, int index) {
  pipelines::BatchRequest batch = job.batch;
  batch.seed =
      job.seed + static_cast<std::uint64_t>(index) * static_cast<std::uint64_t>(batch.batch);
  Clock::time_point last = Clock::now();
  pipelines::BatchHooks hooks{.progress = {}, .step = {}, .stop = job.stop};
  hooks.step = [&](const lora::Moment&) {
    adapters.look_at_changes();
    return adapters.texts();
  };
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
  const Tensor latents =
      pipelines::sample_latents(context, batch, adapters.current_texts(), job.plan, hooks);
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

PictureTexts picture_texts(Session& session, const Job& job, const std::string& model_hash) {
  const auto stem = [](const fs::path& path) { return path.stem().string(); };
  pipelines::GenerationFacts facts;
  facts.base_width = job.batch.width;
  facts.base_height = job.batch.height;
  facts.cfg = job.batch.cfg;
  facts.model_name = job.model_name;
  facts.model_hash = model_hash;
  facts.vae_name = stem(job.vae_path);
  facts.upscaler = stem(job.upscaler_path);
  facts.version = fmt::format("Velatura {}", VELATURA_VERSION);
  ReplayFacts replay{.version = VELATURA_VERSION,
                     .model = {job.model_name, model_hash},
                     .vae = {},
                     .init = {},
                     .loras = {},
                     .masks = {},
                     .precision = std::string(to_string(session.device.compute)),
                     .backend = std::string(session.device.table->name()),
                     .threads = session.device.threads};
  if (!job.vae_path.empty())
    replay.vae = {stem(job.vae_path), session.hashes.auto_v2(job.vae_path)};
  if (!job.request.init.empty())
    replay.init = {job.request.init.filename().string(), session.hashes.auto_v2(job.request.init)};
  const auto add = [&](const ResolvedAdapter& adapter) {
    replay.loras.push_back({adapter.settled.name, adapter.outcome.hash});
    const fs::path& mask = adapter.settled.mask;
    if (!mask.empty())
      replay.masks.push_back({mask.filename().string(), session.hashes.auto_v2(mask)});
  };
  for (std::size_t i = 0; i < job.adapters.shared; ++i) add(job.adapters.all[i]);
  for (const std::size_t set : job.adapters.set_of_picture) {
    for (const std::size_t i : job.adapters.sets[set].adapters) {
      if (i >= job.adapters.shared) add(job.adapters.all[i]);
    }
  }
  GenerateRequest request = job.request;
  request.seed = job.seed;
  return {request, job.negative, job.adapters, std::move(facts), std::move(replay)};
}

/// Finished pictures go to the observer as they come, else into the result.
void deliver(const Job& job, PictureTexts& texts, int batch, const std::vector<Tensor>& tensors,
             bool changed_live, GenerateResult& result) {
  int index = job.request.pick.value_or(0);
  for (const Tensor& tensor : tensors) {
    Picture picture{.image = to_image(tensor), .seed = 0, .text = {}};
    picture.text = texts.of(batch, index++, picture.image, changed_live);
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

void account(const Job& job, const RunningAdapters& adapters, GenerateResult& result) {
  for (std::size_t i = 0; i < job.adapters.all.size(); ++i) {
    LoraOutcome outcome = job.adapters.all[i].outcome;
    outcome.settled = to_text(job.adapters.all[i].settled);
    outcome.report_json = report_json(*job.adapters.all[i].use.adapter, job.model->components,
                                      adapters.account_of(i));
    result.loras.push_back(std::move(outcome));
  }
  result.changed_live = adapters.changed_live();
  if (job.adapters.all.empty()) return;
  const std::vector<lora::ComponentAccount> accounts = adapters.account();
  result.lora_summary = accounts_line(accounts);
  const bool is_live = std::ranges::any_of(accounts, [](const lora::ComponentAccount& one) {
    using enum lora::Form;
    return one.count(thin) + one.count(kronecker) + one.count(tucker) + one.count(dense_product) >
           0;
  });
  note(job, "LoRA layers: " + (result.lora_summary.empty()
                                   ? "none, nothing acted in any step of this run"
                                   : result.lora_summary));
  if (is_live && job.request.lora_mode == LoraMode::fused)
    note(job, "adapters with a mask or with a strength over steps act live beside the fused ones");
}

GenerateResult make_pictures(Session& session, Job& job, double load_seconds) {
  const Clock::time_point begin = Clock::now();
  Workspace workspace;
  ops::Context context(*session.device.table, workspace, session.device.compute);
  DiffusionModel model = *job.model;  // parts are shared; only the prediction type may differ
  model.noise = noise_config(job);
  RunningAdapters adapters(session, job, model, context);
  const pipelines::BatchContext batch_context{
      .model = model, .ops = context, .adapters = adapters.of_pictures()};

  BackgroundHash model_hash(session.hashes, hashed_file(job.model_path));
  adapters.texts();
  GenerateResult result;
  std::optional<PictureTexts> texts;
  result.start_seconds = platform::seconds_since_start();
  for (int index = 0; index < job.request.count; ++index) {
    const std::vector<Tensor> pictures = make_batch(job, batch_context, adapters, index);
    if (!texts) {
      result.model_hash = model_hash.get();
      texts.emplace(picture_texts(session, job, result.model_hash));
    }
    deliver(job, *texts, index, pictures, adapters.changed_live(), result);
  }
  account(job, adapters, result);
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

fs::path Session::find_in_library(const std::string& name, const StopToken& stop) {
  const std::scoped_lock lock(library_mutex);
  if (!library) {
    library = std::make_unique<Library>(LibraryOptions{.model_dirs = model_dirs, .index = {}});
  } else {
    library->refresh();
  }
  try {
    return resolve_lora(*library, name);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found || !lora::library::can_be_hash(name)) throw;
  }
  library->compute_hashes(library->list(), stop);  // what is remembered is not computed again
  return resolve_lora(*library, name);
}

GenerateResult run_job(Session& session, const GenerateRequest& request, const Observer& observer,
                       StopToken stop) {
  const Clock::time_point begin = Clock::now();
  Job job{.request = request, .observer = observer, .stop = std::move(stop)};
  load_models(session, job);
  plan_sampling(job);
  collect(session, job);
  load_embeddings(session, job);
  throw_if_stopped(job.stop);
  return make_pictures(session, job, seconds_since(begin));
}

}  // namespace velatura::engine
