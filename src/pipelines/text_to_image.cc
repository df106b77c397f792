#include "pipelines/text_to_image.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "diffusion/guidance/classifier_free.h"

namespace velatura::pipelines {

namespace {

/// `rows` [1, …] or [n, …] one behind the other along axis 0.
Tensor stack(std::span<const Tensor> parts) {
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  const Tensor& first = parts.front();
  std::ranges::copy(first.shape().extents(), extents.begin());
  extents[0] = 0;
  for (const Tensor& part : parts) extents[0] += part.size(0);
  Tensor whole = Tensor::allocate(
      Shape(std::span(extents.data(), static_cast<std::size_t>(first.rank()))), first.dtype());
  std::byte* to = whole.mutable_bytes();
  for (const Tensor& part : parts) {
    std::memcpy(to, part.bytes(), part.byte_size());
    to += part.byte_size();
  }
  return whole;
}

void check_side(std::string_view name, int side, int factor) {
  if (side > 0 && side % factor == 0) return;
  const int below = std::max(side / factor, 1) * factor;
  fail(ErrorKind::invalid_argument,
       "--{} {}: the model's sizes are multiples of {}; the nearest are {} and {}", name, side,
       factor, below, below + factor);
}

/// Pictures of a batch that go through the denoiser at once: their texts are of one length.
struct Group {
  std::vector<std::int64_t> pictures;  ///< ascending
  Tensor text;                         ///< negatives, then positives; positives alone unguided
};

std::vector<Group> group_by_length(const Conditionings& texts, std::int64_t pictures, bool guided) {
  std::vector<Group> groups;
  std::vector<std::vector<Tensor>> negatives, positives;
  for (std::int64_t picture = 0; picture < pictures; ++picture) {
    const Conditioning& text = *texts[texts.size() == 1 ? 0 : static_cast<std::size_t>(picture)];
    std::size_t at = 0;
    while (at < groups.size() && positives[at].front().size(1) != text.positive.size(1)) ++at;
    if (at == groups.size()) {
      groups.emplace_back();
      negatives.emplace_back();
      positives.emplace_back();
    }
    groups[at].pictures.push_back(picture);
    negatives[at].push_back(text.negative);
    positives[at].push_back(text.positive);
  }
  for (std::size_t at = 0; at < groups.size(); ++at) {
    std::vector<Tensor> rows;
    if (guided) rows = std::move(negatives[at]);
    rows.insert(rows.end(), positives[at].begin(), positives[at].end());
    groups[at].text = stack(rows);
  }
  return groups;
}

/// The UNet under classifier-free guidance, both halves in one batch; its adapters and texts move
/// with the steps.
class GuidedModel {
 public:
  GuidedModel(const BatchContext& context, const BatchRequest& request, const Conditionings& texts,
              const diffusion::SamplingPlan& plan, const BatchHooks& hooks)
      : context_(context),
        unet_(**context.model.unet),
        run_{.ops = context.ops, .patches = nullptr, .stop = hooks.stop},
        request_(request),
        plan_(plan),
        hooks_(hooks),
        guided_(request.cfg != 1.0) {
    set_texts(texts);
  }

  Tensor operator()(const Tensor& input, double timestep) {
    begin_evaluation();
    if (groups_.size() == 1) return run(groups_.front(), input, timestep);
    Tensor whole = Tensor::allocate(input.shape(), DType::f32);
    const std::size_t bytes = whole.byte_size() / static_cast<std::size_t>(input.size(0));
    for (const Group& group : groups_) {
      std::vector<Tensor> rows;
      for (const std::int64_t picture : group.pictures)
        rows.push_back(input.slice(picture, picture + 1));
      const Tensor out = run(group, stack(rows), timestep);
      for (std::size_t i = 0; i < group.pictures.size(); ++i) {
        std::memcpy(whole.mutable_bytes() + static_cast<std::size_t>(group.pictures[i]) * bytes,
                    out.bytes() + i * bytes, bytes);
      }
    }
    return whole;
  }

 private:
  void set_texts(const Conditionings& texts) {
    groups_ = group_by_length(texts, request_.batch, guided_);
  }

  /// Adapters move when a step begins, not between its evaluations: a step is one ordinary
  /// differential equation.
  void begin_evaluation() {
    if (evaluation_ >= plan_.evaluations.size()) return;
    const diffusion::Evaluation& next = plan_.evaluations[evaluation_];
    const bool begins = evaluation_ == 0 || plan_.evaluations[evaluation_ - 1].step != next.step;
    ++evaluation_;
    if (!begins) return;
    const lora::Moment moment{.step = next.step, .steps = plan_.steps, .sigma = next.sigma};
    for (lora::AdapterSet* set : distinct(context_.adapters)) set->advance(moment);
    if (!hooks_.step) return;
    if (const std::optional<Conditionings> texts = hooks_.step(moment)) set_texts(*texts);
  }

  static std::vector<lora::AdapterSet*> distinct(std::vector<lora::AdapterSet*> sets) {
    std::ranges::sort(sets);
    sets.erase(std::ranges::unique(sets).begin(), sets.end());
    return sets;
  }

  const nn::LayerPatches* patches_of(std::int64_t picture) const {
    if (context_.adapters.empty()) return nullptr;
    const std::size_t set = context_.adapters.size() == 1 ? 0 : static_cast<std::size_t>(picture);
    return context_.adapters[set]->patches(DiffusionModel::kUNetComponent);
  }

  /// One set for all where the pictures share it, else ranges of rows: of the negatives, then of
  /// the positives.
  void set_patches(const Group& group) {
    ranges_.clear();
    const auto pictures = static_cast<std::int64_t>(group.pictures.size());
    for (std::int64_t row = 0; row < (guided_ ? 2 : 1) * pictures; ++row) {
      const nn::LayerPatches* patches =
          patches_of(group.pictures[static_cast<std::size_t>(row % pictures)]);
      if (!ranges_.empty() && ranges_.back().patches == patches) {
        ranges_.back().end = row + 1;
      } else {
        ranges_.push_back({.begin = row, .end = row + 1, .patches = patches});
      }
    }
    const bool is_shared = ranges_.size() == 1;
    run_.patches = is_shared ? ranges_.front().patches : nullptr;
    run_.pictures = is_shared ? std::span<const nn::PicturePatches>() : ranges_;
  }

  Tensor run(const Group& group, const Tensor& input, double timestep) {
    set_patches(group);
    const std::array level = {static_cast<float>(timestep)};
    if (!guided_) return unet_.forward(run_, input, level, group.text);
    const Tensor both = unet_.forward(run_, stack(std::array{input, input}), level, group.text);
    const std::int64_t pictures = input.size(0);
    const Tensor negative = both.slice(0, pictures), positive = both.slice(pictures, 2 * pictures);
    const Tensor guided = diffusion::guidance::classifier_free(negative, positive, request_.cfg);
    if (request_.guidance_rescale == 0) return guided;
    return diffusion::guidance::rescaled(guided, positive, request_.guidance_rescale);
  }

  const BatchContext& context_;
  const models::unet::UNet& unet_;
  nn::Run run_;
  const BatchRequest& request_;
  const diffusion::SamplingPlan& plan_;
  const BatchHooks& hooks_;
  bool guided_;
  std::vector<Group> groups_;
  std::vector<nn::PicturePatches> ranges_;
  std::size_t evaluation_ = 0;
};

/// The picture's latents, once for each picture of the batch: a sample of the posterior, drawn from
/// the picture's own generator before the noise, as the reference does.
Tensor init_latents(const BatchContext& context, const BatchRequest& request,
                    diffusion::NoiseSource& noise, const StopToken& stop) {
  nn::Run run{.ops = context.ops, .patches = nullptr, .stop = stop};
  const PictureCodec::Encoded encoded = context.model.codec->encode(run, request.init);
  Tensor latents = Tensor::allocate(
      latent_shape(context.model, request.batch, request.width, request.height), DType::f32);
  const Tensor drawn = encoded.deviation.defined() ? noise.draw(latents.shape()) : Tensor();
  const std::int64_t each = encoded.mean.count();
  for (std::int64_t i = 0; i < latents.count(); ++i) {
    const float spread =
        drawn.defined() ? encoded.deviation.data<float>()[i % each] * drawn.data<float>()[i] : 0.0f;
    latents.mutable_data<float>()[i] = encoded.mean.data<float>()[i % each] + spread;
  }
  return latents;
}

void to_unit_range(Tensor& pictures) {
  for (float& value : pictures.mutable_floats())
    value = std::clamp(value * 0.5f + 0.5f, 0.0f, 1.0f);
}

}  // namespace

Shape latent_shape(const DiffusionModel& model, int batch, int width, int height) {
  const int factor = model.codec->factor();
  check_side("width", width, factor);
  check_side("height", height, factor);
  return {batch, model.codec->latent_channels(), height / factor, width / factor};
}

Tensor sample_latents(const BatchContext& context, const BatchRequest& request,
                      const Conditioning& text, const diffusion::SamplingPlan& plan,
                      const BatchHooks& hooks) {
  return sample_latents(context, request, {std::make_shared<const Conditioning>(text)}, plan,
                        hooks);
}

Tensor sample_latents(const BatchContext& context, const BatchRequest& request,
                      const Conditionings& texts, const diffusion::SamplingPlan& plan,
                      const BatchHooks& hooks) {
  const Shape shape = latent_shape(context.model, request.batch, request.width, request.height);
  diffusion::PictureNoise noise(request.seed, request.batch);
  Tensor start;
  if (request.init.defined()) {
    const Tensor latents = init_latents(context, request, noise, hooks.stop);
    start = diffusion::start_from_latents(plan, latents, noise.draw(shape));
  } else {
    start = diffusion::start_from_noise(plan, noise.draw(shape));
  }
  GuidedModel guided(context, request, texts, plan, hooks);
  diffusion::ScaledDenoiser denoiser(
      context.model.noise.prediction,
      [&](const Tensor& input, double timestep) { return guided(input, timestep); });
  return diffusion::run_sampling(plan, denoiser, noise, start,
                                 {.progress = hooks.progress, .stop = hooks.stop});
}

Tensor decode_pictures(const BatchContext& context, const Tensor& latents, const StopToken& stop) {
  context.ops.trim();  // the denoiser's activations are of no use to the codec
  nn::Run run{.ops = context.ops, .patches = nullptr, .stop = stop};
  const int factor = context.model.codec->factor();
  Tensor pictures = Tensor::allocate(
      {latents.size(0), 3, latents.size(2) * factor, latents.size(3) * factor}, DType::f32);
  for (std::int64_t i = 0; i < latents.size(0); ++i) {
    const Tensor picture = context.model.codec->decode(run, latents.slice(i, i + 1));
    std::memcpy(pictures.mutable_bytes() + static_cast<std::size_t>(i) * picture.byte_size(),
                picture.bytes(), picture.byte_size());
  }
  to_unit_range(pictures);
  return pictures;
}

Tensor preview_picture(const BatchContext& context, const Tensor& latents) {
  // A decoder's cost grows with the area: 16 × 16 cells cost a sixteenth of the 512² picture's.
  constexpr std::int64_t kLargestSide = 16;
  const std::int64_t height = latents.size(2), width = latents.size(3);
  const std::int64_t stride =
      std::max<std::int64_t>(1, (std::max(height, width) + kLargestSide - 1) / kLargestSide);
  const std::int64_t rows = (height + stride - 1) / stride, columns = (width + stride - 1) / stride;
  Tensor small = Tensor::allocate({1, latents.size(1), rows, columns}, DType::f32);
  float* to = small.mutable_data<float>();
  for (std::int64_t channel = 0; channel < latents.size(1); ++channel) {
    const float* plane = latents.data<float>() + channel * height * width;
    for (std::int64_t y = 0; y < rows; ++y) {
      for (std::int64_t x = 0; x < columns; ++x) *to++ = plane[y * stride * width + x * stride];
    }
  }
  nn::Run run{.ops = context.ops};
  Tensor picture = context.model.codec->decode(run, small);
  to_unit_range(picture);
  return picture.reshaped({picture.size(1), picture.size(2), picture.size(3)});
}

}  // namespace velatura::pipelines
