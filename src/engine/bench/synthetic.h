// Full-size weights without a download: every tensor of a manifest, with values of a trained
// model's size.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lora/bind/names.h"
#include "weights/source.h"

namespace velatura::engine::bench {

/// Tensors made on load(): norms' gains 1, biases 0, the rest uniform with a standard deviation
/// that keeps a layer's output as large as its input. The same name gives the same values.
class SyntheticSource : public weights::Source {
 public:
  explicit SyntheticSource(std::vector<weights::TensorInfo> tensors)
      : tensors_(std::move(tensors)) {}
  const std::vector<weights::TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override;
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return "synthetic weights"; }
  void release(std::string_view) const override {}

 private:
  std::vector<weights::TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Writes a whole SD1.5 checkpoint in f16 (2.1 GB) under single-file names.
void write_sd15_checkpoint(const std::filesystem::path& path);

/// Writes a kohya LoRA of `rank` on every attention projection of the denoiser.
void write_attention_lora(const std::filesystem::path& path, const lora::Component& unet, int rank,
                          unsigned seed);
/// A LoKr with both factors full on every linear layer, each side cut at the divisors nearest to
/// its root (LyCORIS' factor −1).
void write_lokr(const std::filesystem::path& path, const lora::Component& unet);
/// A LoCon of `rank` on every linear layer and convolution.
void write_locon(const std::filesystem::path& path, const lora::Component& unet, int rank);
/// A kohya LoRA on every linear layer of the transformer blocks, its rank such that the file has
/// about `bytes`.
void write_transformer_lora(const std::filesystem::path& path, const lora::Component& unet,
                            std::int64_t bytes);

}  // namespace velatura::engine::bench
