// One batch of pictures from conditioning to pixels, from noise or from a picture. Not here:
// reading prompts, finding models and adapters, files (engine/).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "diffusion/plan.h"
#include "lora/apply/adapter_set.h"
#include "pipelines/conditioning.h"
#include "pipelines/diffusion_model.h"

namespace velatura::pipelines {

struct BatchRequest {
  int width = 512, height = 512;  ///< pixels, multiples of the codec's factor
  int batch = 1;
  std::uint64_t seed = 0;  ///< picture i has the generator of seed + i, as if made alone
  double cfg = 7;
  double guidance_rescale = 0;
  Tensor init;  ///< f32 [1, 3, height, width] in [−1, 1], or absent
};

/// What the pictures of a batch are made from: one for all of them, or one each.
using Conditionings = std::vector<std::shared_ptr<const Conditioning>>;

struct BatchHooks {
  std::function<void(const diffusion::SamplingProgress&)> progress;
  /// A step is about to begin and the adapters have moved to it: gives the texts from here on, or
  /// nothing where they stay. May be empty.
  std::function<std::optional<Conditionings>(const lora::Moment&)> step;
  StopToken stop;
};

struct BatchContext {
  const DiffusionModel& model;
  ops::Context& ops;
  /// None, one for all pictures, or one each (several may be the same set, none of them null).
  /// sample_latents() moves them through the run.
  std::vector<lora::AdapterSet*> adapters{};
};

/// Throws invalid_argument for a size that is no multiple of the codec's factor (naming the nearest
/// that are), cancelled. Gives latents f32 [N, C, h, w] as the codec takes them. Pictures with
/// texts of different lengths go through the denoiser in groups, so that each is the picture that
/// it would be alone.
Tensor sample_latents(const BatchContext& context, const BatchRequest& request,
                      const Conditionings& texts, const diffusion::SamplingPlan& plan,
                      const BatchHooks& hooks = {});
/// The same with one text for all.
Tensor sample_latents(const BatchContext& context, const BatchRequest& request,
                      const Conditioning& text, const diffusion::SamplingPlan& plan,
                      const BatchHooks& hooks = {});

/// Latents → pictures f32 [N, 3, H, W] in [0, 1], one picture at a time so that memory does not
/// grow with the batch.
Tensor decode_pictures(const BatchContext& context, const Tensor& latents,
                       const StopToken& stop = {});

/// A small picture f32 [3, H, W] in [0, 1] of the first latents, for a preview: shrunk first, so
/// that it stays cheap.
Tensor preview_picture(const BatchContext& context, const Tensor& latents);

/// The spans of latents that a size has; checks it.
Shape latent_shape(const DiffusionModel& model, int batch, int width, int height);

}  // namespace velatura::pipelines
