// The list of a model's layers, by id and by canonical path: what adapters bind to. Not here:
// forward passes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ops/conv2d.h"
#include "ops/weight.h"

namespace velatura::nn {

/// Index of a layer in its model's tree, dense from 0.
using LayerId = std::int32_t;

/// `parameter` is a tensor that belongs to no layer (a pad token); trees have none.
enum class LayerKind { linear, conv2d, norm, embedding, parameter };

struct LayerInfo {
  std::string path;  ///< canonical: diffusers' or transformers' name without ".weight"
  LayerKind kind = LayerKind::linear;
  std::shared_ptr<const ops::Weight>
      weight;   ///< linear [out, in], conv2d [out, in, kh, kw], norm [C], embedding [V, C]
  Tensor bias;  ///< f32 [out], or absent
  ops::ConvGeometry geometry;  ///< of a conv2d
};

/// Filled while a model is constructed, then const.
class ModuleTree {
 public:
  /// Registers a layer; a path used twice is an internal error.
  LayerId add(LayerInfo info);
  std::span<const LayerInfo> layers() const { return layers_; }
  const LayerInfo& layer(LayerId id) const { return layers_.at(static_cast<std::size_t>(id)); }
  std::optional<LayerId> find(std::string_view path) const;

 private:
  std::vector<LayerInfo> layers_;
  std::unordered_map<std::string, LayerId> by_path_;
};

}  // namespace velatura::nn
