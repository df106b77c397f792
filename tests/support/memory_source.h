// Weights made in a test, under any names.
#pragma once

#include <utility>

#include "base/error.h"
#include "weights/source.h"

namespace velatura::testing {

/// Tensors held in memory. Filled by add() before it is shared.
class MemorySource : public weights::Source {
 public:
  MemorySource& add(std::string name, Tensor tensor) {
    infos_.push_back({std::move(name), tensor.shape(), tensor.dtype()});
    tensors_.push_back(std::move(tensor));
    return *this;
  }
  const std::vector<weights::TensorInfo>& tensors() const override { return infos_; }
  Tensor load(std::string_view name) const override {
    for (std::size_t i = 0; i < infos_.size(); ++i) {
      if (infos_[i].name == name) return tensors_[i];
    }
    fail(ErrorKind::not_found, "no tensor {}", name);
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return "memory"; }
  void release(std::string_view) const override {}

 private:
  std::vector<weights::TensorInfo> infos_;
  std::vector<Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace velatura::testing
