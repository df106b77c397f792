#include "pipelines/picture_codec.h"

#include <cmath>

namespace velatura::pipelines {

namespace {

/// (x + shift) · scale, in f32.
Tensor affine(const Tensor& x, float shift, float scale) {
  Tensor y = Tensor::allocate(x.shape(), DType::f32);
  const float* from = x.data<float>();
  float* to = y.mutable_data<float>();
  for (std::int64_t i = 0; i < x.count(); ++i) to[i] = (from[i] + shift) * scale;
  return y;
}

class KlCodec : public PictureCodec {
 public:
  using Model = nn::Model<models::autoencoder_kl::AutoencoderKl>;
  explicit KlCodec(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  int factor() const override { return config().factor(); }
  int latent_channels() const override { return config().latent_channels; }

  Tensor decode(nn::Run& run, const Tensor& latents) const override {
    Tensor unscaled = Tensor::allocate(latents.shape(), DType::f32);
    const float* from = latents.data<float>();
    float* to = unscaled.mutable_data<float>();
    for (std::int64_t i = 0; i < latents.count(); ++i)
      to[i] = from[i] / config().scaling_factor + config().shift_factor;
    return (*model_)->decode(run, unscaled);
  }

  Encoded encode(nn::Run& run, const Tensor& pictures) const override {
    const auto posterior = (*model_)->encode(run, pictures);
    Encoded encoded{affine(posterior.mean, -config().shift_factor, config().scaling_factor),
                    Tensor::allocate(posterior.logvar.shape(), DType::f32)};
    const float* logvar = posterior.logvar.data<float>();
    float* deviation = encoded.deviation.mutable_data<float>();
    for (std::int64_t i = 0; i < posterior.logvar.count(); ++i)
      deviation[i] = std::exp(0.5f * logvar[i]) * config().scaling_factor;
    return encoded;
  }

 private:
  const models::autoencoder_kl::AutoencoderKlConfig& config() const { return (*model_)->config(); }
  std::shared_ptr<const Model> model_;
};

class TinyCodec : public PictureCodec {
 public:
  using Model = nn::Model<models::autoencoder_tiny::AutoencoderTiny>;
  explicit TinyCodec(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  int factor() const override { return (*model_)->config().factor(); }
  int latent_channels() const override { return (*model_)->config().latent_channels; }
  Tensor decode(nn::Run& run, const Tensor& latents) const override {
    return (*model_)->decode(run, latents);
  }
  Encoded encode(nn::Run& run, const Tensor& pictures) const override {
    return {(*model_)->encode(run, pictures), Tensor()};
  }

 private:
  std::shared_ptr<const Model> model_;
};

}  // namespace

std::shared_ptr<const PictureCodec> make_codec(
    std::shared_ptr<const nn::Model<models::autoencoder_kl::AutoencoderKl>> model) {
  return std::make_shared<KlCodec>(std::move(model));
}

std::shared_ptr<const PictureCodec> make_codec(
    std::shared_ptr<const nn::Model<models::autoencoder_tiny::AutoencoderTiny>> model) {
  return std::make_shared<TinyCodec>(std::move(model));
}

}  // namespace velatura::pipelines
