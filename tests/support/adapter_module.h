// One module of an adapter file made in memory, on one layer with a weight: what tests of an
// algorithm start from. Header-only: only tests of rooms that know lora use it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lora/algorithms/algorithm.h"
#include "tests/support/double_matrix.h"
#include "tests/support/memory_source.h"
#include "tests/support/tensors.h"
#include "velatura/error.h"

namespace velatura::testing {

class AdapterModule {
 public:
  /// On a linear layer, a convolution or a norm, by the number of axes; its weight is made from
  /// `seed`.
  explicit AdapterModule(const Shape& weight, std::uint64_t seed = 1)
      : seed_(seed),
        weight_(uniform_tensor(weight, DType::f32, seed)),
        kind_(weight.rank() == 4   ? nn::LayerKind::conv2d
              : weight.rank() == 2 ? nn::LayerKind::linear
                                   : nn::LayerKind::norm) {}
  /// "lora_unet_x", as a file would call the module.
  AdapterModule& named(std::string name) {
    name_ = std::move(name);
    return *this;
  }
  /// A tensor by its suffix: "oft_blocks".
  AdapterModule& add(std::string suffix, Tensor tensor) {
    tensors_.emplace_back(std::move(suffix), std::move(tensor));
    return *this;
  }
  AdapterModule& add(std::string suffix, float number) {
    return add(std::move(suffix), Tensor::from(std::vector<float>{number}, {}));
  }
  /// Where the file stands; its adapter_config.json is looked for beside it.
  AdapterModule& at(std::filesystem::path path) {
    path_ = std::move(path);
    return *this;
  }

  /// The layer has a bias, none of its own accord.
  AdapterModule& with_bias() {
    has_bias_ = true;
    return *this;
  }
  /// The layer's path, "layer" of its own accord.
  AdapterModule& on(std::string layer) {
    layer_ = std::move(layer);
    return *this;
  }
  AdapterModule& kind(nn::LayerKind kind) {
    kind_ = kind;
    return *this;
  }
  /// Of the file's header.
  AdapterModule& metadata(const std::string& key, const std::string& value) {
    metadata_.emplace_back(key, value);
    return *this;
  }
  /// A tensor of the file that is no part of the module.
  AdapterModule& elsewhere(std::string name, Tensor tensor) {
    others_.emplace_back(std::move(name), std::move(tensor));
    return *this;
  }

  const Tensor& weight() const { return weight_; }
  lora::Pristine base() const {
    return [weight = weight_] { return weight; };
  }

  /// The layer's bias, f32 [out], of the weight's seed.
  Tensor bias() const { return uniform_tensor({weight_.size(0)}, DType::f32, seed_ + 1); }
  lora::Pristine bias_base() const {
    return [bias = bias()] { return bias; };
  }

  /// All that make_delta() makes of the module.
  lora::MadeDelta make() const {
    auto source = std::make_shared<MemorySource>();
    for (const auto& [suffix, tensor] : tensors_) source->add(name_ + "." + suffix, tensor);
    for (const auto& [name, tensor] : others_) source->add(name, tensor);
    for (const auto& [key, value] : metadata_) source->set_metadata(key, value);
    const auto file = lora::AdapterFile::from_source(source, path_);
    EXPECT_EQ(file->modules().front().name, name_);
    EXPECT_TRUE(file->modules().size() == 1 || !others_.empty());
    return lora::make_delta({.file = *file,
                             .module = file->modules().front(),
                             .path = layer_,
                             .kind = kind_,
                             .weight = weight_.shape(),
                             .has_bias = has_bias_,
                             .component = "unet"});
  }
  /// W' − W at `strength`, f32.
  Tensor change(float strength) const {
    const lora::MadeDelta made = make();
    if (!made.delta) {
      ADD_FAILURE() << "no algorithm takes the module";
      return Tensor::zeros(weight_.shape(), DType::f32);
    }
    const Tensor change = made.delta->weight_change(base(), strength, 0);
    EXPECT_EQ(change.shape(), weight_.shape());
    return change;
  }
  /// The error of making it, by kind and message; nothing thrown is a failure of the test.
  std::pair<ErrorKind, std::string> error() const {
    try {
      make();
    } catch (const Error& error) {
      return {error.kind(), error.what()};
    }
    ADD_FAILURE() << "no error";
    return {ErrorKind::internal, ""};
  }

 private:
  std::uint64_t seed_;
  Tensor weight_;
  nn::LayerKind kind_;
  bool has_bias_ = false;
  std::string name_ = "lora_unet_layer", layer_ = "layer";
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::vector<std::pair<std::string, Tensor>> others_;
  std::filesystem::path path_ = "adapter.safetensors";
  std::vector<std::pair<std::string, Tensor>> tensors_;
};

/// Stands for the pristine weight of kinds that may not ask for it.
inline Tensor no_base() {
  ADD_FAILURE() << "the base was asked for";
  return {};
}

/// rows() of the module is its dense change and its bias, cut.
inline ::testing::AssertionResult cuts_like_dense(const AdapterModule& module,
                                                  const std::vector<lora::RowRange>& rows) {
  const lora::MadeDelta made = module.make();
  const auto piece = made.delta->rows(rows);
  if (!piece) return ::testing::AssertionFailure() << "it cannot be cut";
  if (piece->is_linear() != made.delta->is_linear() || piece->rank() != made.delta->rank())
    return ::testing::AssertionFailure() << "the piece is of another kind";
  constexpr float kStrength = -0.7F;
  const auto compare = [&](const Tensor& part, const Tensor& whole) {
    if (!whole.defined()) return ::testing::AssertionResult(!part.defined());
    return bit_identical(part, lora::gather_rows(whole, rows));
  };
  const auto weights = compare(piece->weight_change(module.base(), kStrength, 0),
                               made.delta->weight_change(module.base(), kStrength, 0));
  if (!weights) return weights;
  return compare(piece->bias_change(module.bias_base(), kStrength),
                 made.delta->bias_change(module.bias_base(), kStrength));
}

}  // namespace velatura::testing
