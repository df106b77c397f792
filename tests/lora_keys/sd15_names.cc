#include "tests/lora_keys/sd15_names.h"

#include <algorithm>
#include <cstdlib>

#include "models/manifest.h"
#include "models/unet/names.h"

namespace velatura::testing {

namespace {

Storage zeros_for(const std::vector<weights::TensorInfo>& tensors) {
  std::int64_t most = 0;
  for (const weights::TensorInfo& info : tensors) most = std::max(most, info.shape.count());
  const std::size_t size = static_cast<std::size_t>(most) * size_of(DType::f16);
  auto* data = static_cast<std::byte*>(std::calloc(size, 1));
  return {std::shared_ptr<void>(data, std::free), data, size};
}

nn::LayerKind kind_of(const weights::TensorInfo& info) {
  if (info.shape.rank() == 4) return nn::LayerKind::conv2d;
  if (info.shape.rank() == 1) return nn::LayerKind::norm;
  return info.name.find("embeddings.") != std::string::npos ? nn::LayerKind::embedding
                                                            : nn::LayerKind::linear;
}

void fill(nn::ModuleTree& tree, std::string_view manifest) {
  constexpr std::string_view kWeight = ".weight";
  const std::vector<weights::TensorInfo> tensors = models::manifest(manifest);
  const Storage zeros = zeros_for(tensors);
  for (const weights::TensorInfo& info : tensors) {
    if (!info.name.ends_with(kWeight)) continue;
    tree.add({.path = info.name.substr(0, info.name.size() - kWeight.size()),
              .kind = kind_of(info),
              .weight = std::make_shared<const ops::Weight>(Tensor(zeros, info.shape, DType::f16)),
              .bias = {},
              .geometry = {}});
  }
}

}  // namespace

Sd15Names::Sd15Names() {
  fill(unet_, "sd15.unet.diffusers");
  fill(text_, "clip_l");
  components_ = {lora::component_of("unet", weights::Part::unet, unet_,
                                    models::unet::ldm_names(models::unet::UNetConfig{}, "")),
                 lora::component_of("te", weights::Part::clip_l, text_, {})};
  names_ = std::make_unique<lora::NameIndex>(components_);
}

}  // namespace velatura::testing
