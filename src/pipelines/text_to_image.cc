#include "pipelines/text_to_image.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "diffusion/guidance/classifier_free.h"

namespace velatura::pipelines {

namespace {

/// Outermost axes one behind the other.
Tensor stack(const Tensor& a, const Tensor& b) {
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  std::ranges::copy(a.shape().extents(), extents.begin());
  extents[0] = a.size(0) + b.size(0);
  Tensor both = Tensor::allocate(
      Shape(std::span(extents.data(), static_cast<std::size_t>(a.rank()))), a.dtype());
  std::memcpy(both.mutable_bytes(), a.bytes(), a.byte_size());
  std::memcpy(both.mutable_bytes() + a.byte_size(), b.bytes(), b.byte_size());
  return both;
}

Tensor repeat(const Tensor& row, std::int64_t times) {
  Tensor rows = Tensor::allocate({times, row.size(1), row.size(2)}, row.dtype());
  for (std::int64_t i = 0; i < times; ++i) {
    std::memcpy(rows.mutable_bytes() + static_cast<std::size_t>(i) * row.byte_size(), row.bytes(),
                row.byte_size());
  }
  return rows;
}

void check_side(std::string_view name, int side, int factor) {
  if (side > 0 && side % factor == 0) return;
  const int below = std::max(side / factor, 1) * factor;
  fail(ErrorKind::invalid_argument,
       "--{} {}: the model's sizes are multiples of {}; the nearest are {} and {}", name, side,
       factor, below, below + factor);
}

/// The UNet under classifier-free guidance, both halves in one batch.
class GuidedModel {
 public:
  GuidedModel(const BatchContext& context, const BatchRequest& request, const Conditioning& text,
              const StopToken& stop)
      : unet_(**context.model.unet),
        run_{.ops = context.ops,
             .patches = context.adapters ? context.adapters->patches(DiffusionModel::kUNetComponent)
                                         : nullptr,
             .stop = stop},
        request_(request),
        guided_(request.cfg != 1.0),
        text_(guided_ ? stack(repeat(text.negative, request.batch),
                              repeat(text.positive, request.batch))
                      : repeat(text.positive, request.batch)) {}

  Tensor operator()(const Tensor& input, double timestep) {
    const std::array level = {static_cast<float>(timestep)};
    if (!guided_) return unet_.forward(run_, input, level, text_);
    const Tensor both = unet_.forward(run_, stack(input, input), level, text_);
    const std::int64_t pictures = input.size(0);
    const Tensor negative = both.slice(0, pictures), positive = both.slice(pictures, 2 * pictures);
    const Tensor guided = diffusion::guidance::classifier_free(negative, positive, request_.cfg);
    if (request_.guidance_rescale == 0) return guided;
    return diffusion::guidance::rescaled(guided, positive, request_.guidance_rescale);
  }

 private:
  const models::unet::UNet& unet_;
  nn::Run run_;
  const BatchRequest& request_;
  bool guided_;
  Tensor text_;
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
  const Shape shape = latent_shape(context.model, request.batch, request.width, request.height);
  diffusion::PictureNoise noise(request.seed, request.batch);
  Tensor start;
  if (request.init.defined()) {
    const Tensor latents = init_latents(context, request, noise, hooks.stop);
    start = diffusion::start_from_latents(plan, latents, noise.draw(shape));
  } else {
    start = diffusion::start_from_noise(plan, noise.draw(shape));
  }
  GuidedModel guided(context, request, text, hooks.stop);
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
