// What several benches stand on: a folder that goes, noise, full-size models of synthetic weights.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <random>

#include "diffusion/torch_generator.h"
#include "engine/bench/synthetic.h"
#include "models/manifest.h"
#include "nn/model.h"

namespace velatura::engine::bench {

/// A folder that goes with its owner.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(std::filesystem::temp_directory_path() /
              fmt::format("velatura-bench-{}", std::random_device{}())) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline Tensor noise(const Shape& shape) {
  Tensor tensor = Tensor::allocate(shape, DType::f32);
  diffusion::TorchGenerator(0).randn(tensor.mutable_floats());
  return tensor;
}

template <typename Module, typename Config>
std::unique_ptr<nn::Model<Module>> synthetic_model(const char* manifest, const Config& config) {
  return std::make_unique<nn::Model<Module>>(
      config, weights::Scope(std::make_shared<SyntheticSource>(models::manifest(manifest))));
}

}  // namespace velatura::engine::bench
