// Weights made in a test, under any names.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "weights/source.h"

namespace velatura::testing {

/// Tensors held in memory. Filled by add() and set_metadata() before it is shared.
class MemorySource : public weights::Source {
 public:
  MemorySource() = default;
  MemorySource(const MemorySource& other)
      : Source(), infos_(other.infos_), tensors_(other.tensors_), metadata_(other.metadata_) {}
  MemorySource& add(std::string name, Tensor tensor) {
    infos_.push_back({name, tensor.shape(), tensor.dtype()});
    tensors_.insert_or_assign(std::move(name), std::move(tensor));
    return *this;
  }
  MemorySource& set_metadata(std::string key, std::string value) {
    metadata_.insert_or_assign(std::move(key), std::move(value));
    return *this;
  }
  const std::vector<weights::TensorInfo>& tensors() const override { return infos_; }
  Tensor load(std::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail(ErrorKind::not_found, "no tensor {}", name);
    return found->second;
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return "memory"; }
  void release(std::string_view) const override {}

 private:
  std::vector<weights::TensorInfo> infos_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace velatura::testing
