// How the world spells a model's tensors: rows from the spelling in a file to our canonical name,
// as data. A family hands its rows over; dialects of adapters are built from the same rows.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "weights/source.h"

namespace velatura::weights {

/// One canonical tensor and where it stands in a file. `begin`/`end` are rows of a fused matrix
/// (end 0: all of it).
struct NameRow {
  std::string canonical;  ///< "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
  std::string
      file;  ///< "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool transposed = false;  ///< stored as the transpose (OpenCLIP's text_projection)
  /// Stored with the two halves of its rows in the other order (FLUX.1's last modulation).
  bool halves_swapped = false;
};
using NameMap = std::vector<NameRow>;

/// `source` under canonical names. Trailing unit axes differ between spellings (a 1×1 convolution
/// where we have a linear layer): load() hands out the file's tensor, and Scope::get accepts a
/// shape equal up to unit axes. Several rows may give spellings of one canonical name: the first
/// that the file has is taken. Tensors of the file that no row names are not in the mapped source;
/// ask unmapped().
class MappedSource : public Source {
 public:
  MappedSource(std::shared_ptr<const Source> source, NameMap rows);
  const std::vector<TensorInfo>& tensors() const override;
  Tensor load(std::string_view name) const override;
  const std::map<std::string, std::string>& metadata() const override;
  std::string description() const override;
  void release(std::string_view name) const override;
  std::vector<std::string> unmapped() const;

 private:
  std::shared_ptr<const Source> source_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::string> unmapped_;
  std::map<std::string, NameRow, std::less<>> rows_;
};

}  // namespace velatura::weights
