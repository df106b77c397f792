// What several adapters do to the layers they share: how strong each is there, and whether they
// pull together or against each other. Not here: which model (the caller hands over its names), how
// it is written (compare_text.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lora/tools/check.h"

namespace velatura::lora::tools {

/// ⟨ΔWᵢ, ΔWⱼ⟩ at strength 1 over one layer or several, i ≤ j: norms and angles follow from them.
class Gram {
 public:
  explicit Gram(int files = 0) : files_(files), sums_(static_cast<std::size_t>(files * files)) {}
  int files() const { return files_; }
  double at(int i, int j) const { return sums_[static_cast<std::size_t>(index(i, j))]; }
  double& at(int i, int j) { return sums_[static_cast<std::size_t>(index(i, j))]; }
  void add(const Gram& other);

  double norm(int i) const;
  /// nullopt where one of the two does nothing.
  std::optional<double> cosine(int i, int j) const;
  /// The file's part of Σ‖ΔWₖ‖².
  double share(int i) const;
  /// ‖ΣΔWₖ‖² / Σ‖ΔWₖ‖²: 1 where they keep out of each other's way, less where they cancel, up to
  /// the number of files where they agree.
  double combined() const;

 private:
  int index(int i, int j) const { return i < j ? i * files_ + j : j * files_ + i; }
  int files_;
  std::vector<double> sums_;
};

struct ComparedLayer {
  Target target;
  std::string name;          ///< "<component>.<canonical parameter>"
  std::string block;         ///< "IN04"; "other" for layers that no list of block weights covers
  std::vector<bool> adapts;  ///< by file
  Gram gram;
  bool is_dense = false;  ///< some change has no factors and was made whole
};

struct ComparedBlock {
  std::string name;
  int layers = 0;
  Gram gram;
};

struct ComparedFile {
  std::string name;
  int layers = 0;   ///< that it adapts
  int unknown = 0;  ///< of them left out: their kind depends on weights that are not known
};

struct Comparison {
  std::string model;
  std::vector<ComparedFile> files;
  std::vector<ComparedLayer> layers;  ///< that at least one file adapts, in the model's order
  std::vector<ComparedBlock> blocks;  ///< in the order of lists of block weights
  Gram total;
};

/// `adapters` bound to the model's components, in the user's order. Layers whose changes have
/// factors in parallel; others one after the other with at most two whole changes in memory.
/// Throws cancelled.
Comparison compare(std::span<const std::shared_ptr<const BoundAdapter>> adapters,
                   const ModelNames& model, StopToken stop = {});

}  // namespace velatura::lora::tools
