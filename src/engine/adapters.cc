#include "engine/adapters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "base/text_file.h"
#include "engine/adapter_report.h"
#include "engine/region_mask.h"
#include "lora/bundled_embedding.h"
#include "lora/strength/block_weights.h"
#include "pipelines/prompt/tags.h"

namespace velatura::engine {

namespace {

namespace fs = std::filesystem;
using pipelines::DiffusionModel;
using pipelines::prompt::Embedding;

/// What the block-weight extension calls its files; they lie in the folders of adapters.
constexpr const char* kPresetFiles[] = {"lbwpresets.txt", "elempresets.txt"};
constexpr std::size_t kMostPresetBytes = std::size_t{1} << 20;

lora::BlockPresets read_presets(const Roots& roots) {
  lora::BlockPresets presets;
  std::error_code ignored;
  // The first folder wins, so it is read last.
  std::vector<fs::path> folders = roots.folders(AssetKind::lora);
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    for (const char* name : kPresetFiles) {
      const fs::path file = *folder / name;
      if (fs::is_regular_file(file, ignored))
        presets.read(read_text(file, kMostPresetBytes), file.string());
    }
  }
  return presets;
}

/// The strength that a text encoder, asked once, has beside a curve.
double peak_of(const LoraCurve& curve) {
  const auto size = [](const LoraCurve::Point& point) { return std::abs(point.strength); };
  return std::ranges::max_element(curve.points, {}, size)->strength;
}

lora::Schedule schedule_of(const LoraRequest& lora) {
  lora::Schedule schedule;
  if (lora.curve.by_sigma) schedule.axis = lora::Schedule::Axis::sigma;
  for (const LoraCurve::Point& point : lora.curve.points)
    schedule.points.push_back({.at = point.at, .factor = point.strength});
  schedule.first_step = lora.first_step - 1;
  schedule.end_step = lora.last_step;  // counted from 1 and included, or from 0 and not
  return schedule;
}

/// Trigger words as text alone: people write whole tags and remarks into their notes.
std::string without_tags(std::string word) {
  for (std::size_t open = word.find('<'); open != std::string::npos; open = word.find('<', open)) {
    const std::size_t close = word.find('>', open);
    const std::size_t colon = word.find(':', open);
    if (close == std::string::npos || colon > close) {
      ++open;
      continue;
    }
    word.erase(open, close + 1 - open);
  }
  std::erase(word, '#');
  return word;
}

class Collector {
 public:
  Collector(const GenerateRequest& request, const JobFacts& facts,
            const std::shared_ptr<const DiffusionModel>& model, const AdapterServices& services,
            const StopToken& stop)
      : request_(request), facts_(facts), model_(model), services_(services), stop_(stop) {}

  RequestedAdapters collect() {
    result_.prompt = request_.prompt;
    bool wants_triggers = false;
    for (const LoraRequest& lora : request_.loras) add(lora);
    if (!request_.raw_prompt) {
      auto tagged = pipelines::prompt::read_tags(request_.prompt, request_.lora_order);
      for (const auto& tag : tagged.adapters) add(tag.lora);
      result_.prompt = std::move(tagged.prompt);
      wants_triggers = tagged.has_trigger;
    }
    result_.shared = result_.all.size();
    make_sets();
    check_masks();
    for (PictureSet& set : result_.sets) {
      set.prompt = result_.prompt;
      if (wants_triggers)
        set.prompt = pipelines::prompt::insert_triggers(set.prompt, triggers_of(set));
    }
    return std::move(result_);
  }

 private:
  void make_sets() {
    PictureSet shared{.adapters = {}, .prompt = {}};
    for (std::size_t i = 0; i < result_.shared; ++i) shared.adapters.push_back(i);
    const auto& each = request_.picture_loras;
    const auto pictures = static_cast<std::size_t>(request_.batch);
    if (each.empty()) {
      result_.sets.push_back(std::move(shared));
      result_.set_of_picture.assign(pictures, 0);
      return;
    }
    if (each.size() != pictures) {
      fail(ErrorKind::invalid_argument,
           "adapters for {} single pictures (--lora-each) and a batch of {}: one list for each "
           "picture is expected, \"\" for none",
           each.size(), pictures);
    }
    std::vector<std::vector<LoraRequest>> distinct;
    for (std::size_t picture = 0; picture < pictures; ++picture) {
      const auto known = std::ranges::find(distinct, each[picture]);
      result_.set_of_picture.push_back(static_cast<std::size_t>(known - distinct.begin()));
      if (known != distinct.end()) continue;
      distinct.push_back(each[picture]);
      PictureSet set = shared;
      for (const LoraRequest& lora : each[picture]) {
        set.adapters.push_back(result_.all.size());
        add(lora);
      }
      result_.sets.push_back(std::move(set));
    }
    for (std::size_t picture = 0; picture < pictures; ++picture) {
      for (const std::size_t i : result_.sets[result_.set_of_picture[picture]].adapters) {
        if (i >= result_.shared)
          result_.all[i].outcome.pictures.push_back(static_cast<int>(picture));
      }
    }
  }

  std::vector<std::string> triggers_of(const PictureSet& set) const {
    std::vector<std::string> words;
    for (const std::size_t i : set.adapters) {
      for (const std::string& word : result_.all[i].outcome.trigger_words)
        words.push_back(without_tags(word));
    }
    return words;
  }

  fs::path find(const std::string& name) const {
    try {
      return services_.roots.resolve(AssetKind::lora, name);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found || !services_.find_elsewhere) throw;
    }
    return services_.find_elsewhere(name);
  }

  void add(const LoraRequest& wanted) {
    ResolvedAdapter one;
    one.path = find(wanted.name);
    const auto bound = services_.cache.adapter(one.path, model_);
    const lora::FileMetadata metadata = services_.cache.metadata(one.path, *bound);
    one.settled = wanted;
    // Its own name: the cache gives one adapter for files of equal content.
    std::error_code ignored;
    one.settled.name =
        fs::is_directory(one.path, ignored) ? bound->file->stem() : one.path.stem().string();
    settle_strengths(one.settled, metadata);
    settle_blocks(one.settled, *bound);
    settle_mask(one.settled, wanted.name);
    one.use = use_of(one.settled, bound);
    one.embeddings = bundled(*bound);

    LoraOutcome& outcome = one.outcome;
    outcome.name = one.settled.name;
    outcome.weight =
        one.settled.curve.points.empty() ? *one.settled.weight : peak_of(one.settled.curve);
    outcome.text_weight = *one.settled.text_weight;
    outcome.hash = services_.hashes.auto_v3(one.path, stop_);
    outcome.trigger_words = metadata.trigger_words;
    outcome.has_remarks =
        bound->report.count(lora::Fate::bound) != static_cast<int>(bound->report.tensors.size());
    outcome.summary = summary_line(outcome, one.settled, bound->report);
    outcome.warnings = metadata_warnings(bound->file->source().metadata(), request_,
                                         facts_.prediction, one.settled);
    for (const ResolvedAdapter& other : result_.all) {
      if (other.use.adapter != bound || other.settled.name == one.settled.name) continue;
      outcome.warnings.push_back(fmt::format("LoRA {} is the same adapter as {}: they add up",
                                             one.settled.name, other.settled.name));
      break;
    }
    result_.all.push_back(std::move(one));
  }

  static void settle_strengths(LoraRequest& lora, const lora::FileMetadata& metadata) {
    const double recommended = metadata.recommended_weight.value_or(1.0);
    if (lora.curve.points.empty()) lora.weight = lora.weight.value_or(recommended);
    if (!lora.text_weight) {
      lora.text_weight = lora.curve.points.empty() ? *lora.weight : peak_of(lora.curve);
      if (lora.text_as_recommended) lora.text_weight = recommended;
    }
    lora.text_as_recommended = false;
  }

  void settle_blocks(LoraRequest& lora, const lora::BoundAdapter& bound) {
    if (lora.blocks.empty() && lora.elements.empty()) return;
    if (!presets_) presets_ = read_presets(services_.roots);
    lora.blocks = lora.blocks.empty()
                      ? ""
                      : lora::settle_blocks(
                            lora.blocks, *presets_,
                            {.x = lora.x, .seed = facts_.seed, .salt = bound.file->content_hash()});
    lora.elements = lora::settle_elements(lora.elements, *presets_);
    lora.x.reset();
  }

  void settle_mask(LoraRequest& lora, const std::string& typed) {
    for (const LoraMask& mask : request_.lora_masks) {
      if (mask.name != typed && mask.name != lora.name) continue;
      if (!lora.mask.empty()) {
        fail(ErrorKind::invalid_argument, "LoRA {} has two masks: \"{}\" and \"{}\"", lora.name,
             lora.mask.string(), mask.mask.string());
      }
      lora.mask = mask.mask;
      lora.feather = mask.feather;
      masked_.insert(mask.name);
    }
  }

  void check_masks() const {
    for (const LoraMask& mask : request_.lora_masks) {
      if (masked_.contains(mask.name)) continue;
      std::vector<std::string> names;
      for (const ResolvedAdapter& one : result_.all) names.push_back(one.settled.name);
      fail(ErrorKind::not_found, "--lora-mask {}=…: no LoRA of this request is called so; there {}",
           mask.name,
           names.empty() ? std::string("are none") : fmt::format("are {}", fmt::join(names, ", ")));
    }
  }

  lora::AdapterUse use_of(const LoraRequest& lora,
                          const std::shared_ptr<const lora::BoundAdapter>& bound) {
    lora::AdapterUse use{.adapter = bound,
                         .denoiser = static_cast<float>(lora.weight.value_or(1.0)),
                         .text = static_cast<float>(*lora.text_weight)};
    use.ranks = lora.ranks;
    if (lora.encoder_weights[0]) {
      use.te2 = use.t5 = use.text;
      use.text = static_cast<float>(*lora.encoder_weights[0]);
    }
    if (lora.encoder_weights[1]) use.te2 = use.t5 = static_cast<float>(*lora.encoder_weights[1]);
    use.schedule = schedule_of(lora);
    if (!lora.blocks.empty() || !lora.elements.empty()) {
      if (!blocks_) blocks_.emplace(model_->components);
      for (auto& factors : lora::block_factors(*blocks_, lora.blocks, lora.elements)) {
        use.factors.push_back(factors.empty()
                                  ? nullptr
                                  : std::make_shared<const lora::LayerFactors>(std::move(factors)));
      }
    }
    if (!lora.mask.empty())
      use.region = read_region(lora.mask, facts_.width, facts_.height, lora.feather);
    return use;
  }

  /// Words that the file brings along, for the encoder of this model.
  std::vector<Embedding> bundled(const lora::BoundAdapter& bound) const {
    std::vector<Embedding> embeddings;
    const std::string origin = bound.file->path().string();
    const std::int64_t width = (*model_->text_encoder)->config().width;
    for (const lora::BundledEmbedding& word : bound.file->embeddings()) {
      const std::string* tensor = lora::vectors_for(word, weights::Part::clip_l);
      if (tensor == nullptr) {
        fail(ErrorKind::mismatch,
             "\"{}\": the embedding {} in it has \"{}\" and no vectors for this model's text "
             "encoder (clip_l)",
             origin, word.name, word.tensors.begin()->second);
      }
      Tensor vectors = to_f32(bound.file->source().load(*tensor));
      if (vectors.rank() == 1) vectors = vectors.reshaped({1, vectors.size(0)});
      const bool fits = vectors.rank() == 2 && vectors.size(1) == width && vectors.size(0) > 0;
      const bool is_finite =
          std::ranges::all_of(vectors.floats(), [](float value) { return std::isfinite(value); });
      if (!fits || !is_finite) {
        fail(ErrorKind::mismatch,
             "\"{}\": the embedding {} in it (tensor \"{}\", {}) is not for this model's text "
             "encoder of width {}",
             origin, word.name, *tensor, vectors.shape().to_string(), width);
      }
      embeddings.push_back(
          {.triggers = {word.name}, .vectors = std::move(vectors), .origin = origin});
    }
    return embeddings;
  }

  const GenerateRequest& request_;
  const JobFacts& facts_;
  const std::shared_ptr<const DiffusionModel>& model_;
  const AdapterServices& services_;
  const StopToken& stop_;
  RequestedAdapters result_;
  std::optional<lora::BlockPresets> presets_;
  std::optional<lora::ModelBlocks> blocks_;
  std::set<std::string> masked_;
};

}  // namespace

RequestedAdapters collect_adapters(const GenerateRequest& request, const JobFacts& facts,
                                   const std::shared_ptr<const DiffusionModel>& model,
                                   const AdapterServices& services, const StopToken& stop) {
  return Collector(request, facts, model, services, stop).collect();
}

}  // namespace velatura::engine
