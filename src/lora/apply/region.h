// A mask over the picture at the resolutions of the layers. Not here: which adapters have one
// (adapter_use.h), what is masked (live_forms.h).
#pragma once

#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "tensor/tensor.h"
#include "weights/part.h"

namespace velatura::lora {

/// Resampled masks are kept. Thread-safe.
class Region {
 public:
  /// `mask` f32 [H, W] in 0 … 1; the picture's extents as the denoiser sees it.
  Region(Tensor mask, std::int64_t picture_height, std::int64_t picture_width);

  /// One value a row of one picture of a layer's output `y`: [N, h, w, C], or [N, h · w, C] where
  /// h × w is the picture halved some times, odd extents rounded up. f32 [h · w], averaged over the
  /// area that a row covers. Throws mismatch for a number of rows that is no such picture.
  Tensor at(const Shape& y) const;
  /// True when no row of any layer is touched.
  bool is_empty() const { return is_empty_; }

 private:
  std::pair<std::int64_t, std::int64_t> extents(const Shape& y) const;
  Tensor mask_;
  std::int64_t height_, width_;
  bool is_empty_;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<std::int64_t, std::int64_t>, Tensor> resampled_;
};

/// `mask` [H, W] as f32 [height, width]: each cell the average of the area it covers, so that what
/// is there in sum stays.
Tensor resample_area(const Tensor& mask, std::int64_t height, std::int64_t width);

/// Whether the rows of a layer's output are places of the picture. Not so: projections of time and
/// text. Throws unsupported for parts whose tokens are not a picture's alone.
bool sees_picture(weights::Part part, std::string_view path);

}  // namespace velatura::lora
