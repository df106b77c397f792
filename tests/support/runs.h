// A run of a model on a given backend, and the model folders that golden cases stand beside.
// Header-only: only tests of rooms above nn use it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "nn/run.h"
#include "ops/elementwise.h"
#include "weights/source.h"

namespace velatura::testing {

/// Everything a forward pass needs, on `table` in `compute`.
struct TestRun {
  explicit TestRun(ops::OpTable& table, DType compute = DType::f32)
      : ops(table, workspace, compute), run{.ops = ops} {}
  Workspace workspace;
  ops::Context ops;
  nn::Run run;
};

/// What bf16 may cost a model, as a relative norm: every product rounds its weight, its result and,
/// in a norm or an activation, its input, each by 2⁻⁹ at most; independent errors add as the root
/// of their number.
inline double bf16_tolerance(const nn::ModuleTree& tree) {
  const auto products =
      std::count_if(tree.layers().begin(), tree.layers().end(), [](const nn::LayerInfo& layer) {
        return layer.kind == nn::LayerKind::linear || layer.kind == nn::LayerKind::conv2d;
      });
  return std::sqrt(3.0 * static_cast<double>(products)) * 0x1p-9;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The weights of one part of a diffusers folder, by the names that diffusers and transformers
/// write.
inline std::shared_ptr<const weights::Source> folder_weights(const std::filesystem::path& part) {
  constexpr std::array kNames = {
      "diffusion_pytorch_model.safetensors",
      "diffusion_pytorch_model.safetensors.index.json",
      "model.safetensors",
      "model.safetensors.index.json",
      "diffusion_pytorch_model.bin",
      "pytorch_model.bin",
  };
  for (const char* name : kNames) {
    if (std::filesystem::exists(part / name)) return weights::open_source(part / name);
  }
  ADD_FAILURE() << "no weights in " << part;
  return nullptr;
}

/// The *.safetensors files directly in `folder`, sorted.
inline std::vector<std::filesystem::path> safetensors_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// A channels-last inner value as the references have it, [N, C, H, W] in f32.
inline Tensor as_nchw(TestRun& run, const Tensor& x) {
  return ops::nhwc_to_nchw(run.ops, x);
}

}  // namespace velatura::testing
