// One batch of pictures from conditioning to pixels, from noise or from a picture. Not here:
// reading prompts, finding models and adapters, files (engine/).
#pragma once

#include <functional>

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

struct BatchHooks {
  std::function<void(const diffusion::SamplingProgress&)> progress;
  StopToken stop;
};

struct BatchContext {
  const DiffusionModel& model;
  ops::Context& ops;
  const lora::AdapterSet* adapters = nullptr;  ///< null: none
};

/// Throws invalid_argument for a size that is no multiple of the codec's factor (naming the nearest
/// that are), cancelled. Gives latents f32 [N, C, h, w] as the codec takes them.
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
