// A weight matrix or kernel as its file has it, plus the forms that a backend made of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "tensor/tensor.h"

namespace velatura::ops {

/// Immutable to everybody but the backend's cache of prepared forms. Linear: [out, in].
/// Convolution: [out, in, kh, kw]. Any floating type; usually a view into a mapped file. Shared by
/// all jobs on a model; thread-safe.
class Weight {
 public:
  /// `release`, if given, lets the memory behind `original` go (pages of a mapped file) and is
  /// called whenever a form was made; reading `original` afterwards stays valid and brings them
  /// back.
  explicit Weight(Tensor original, std::function<void()> release = {})
      : original_(std::move(original)), release_(std::move(release)) {}
  Weight(const Weight&) = delete;
  Weight& operator=(const Weight&) = delete;

  /// The pristine values. Reading them after a form was made touches the file's pages again.
  const Tensor& original() const { return original_; }
  const Shape& shape() const { return original_.shape(); }

  /// The form stored under `key` ("bf16", "wino2x3" …), made by `make` on first use and kept. For
  /// backends only.
  std::shared_ptr<const void> form(const std::string& key,
                                   const std::function<std::shared_ptr<const void>()>& make) const;

 private:
  Tensor original_;
  std::function<void()> release_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const void>> forms_;
};

}  // namespace velatura::ops
