#include "lora/apply/region.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace velatura::lora {

namespace {

/// Shares of the source cells in one target cell of an axis; they add up to 1.
struct Cover {
  std::int64_t first = 0;
  std::vector<double> shares;
};

std::vector<Cover> covers(std::int64_t source, std::int64_t target) {
  std::vector<Cover> result;
  const double step = static_cast<double>(source) / static_cast<double>(target);
  for (std::int64_t i = 0; i < target; ++i) {
    const double begin = static_cast<double>(i) * step;
    const double end = std::min(begin + step, static_cast<double>(source));
    Cover cover{.first = std::min(static_cast<std::int64_t>(begin), source - 1), .shares = {}};
    const std::int64_t last =
        std::clamp(static_cast<std::int64_t>(std::ceil(end)), cover.first + 1, source);
    double sum = 0;
    for (std::int64_t cell = cover.first; cell < last; ++cell) {
      const double share =
          std::min(end, static_cast<double>(cell + 1)) - std::max(begin, static_cast<double>(cell));
      cover.shares.push_back(std::max(share, 0.0));
      sum += cover.shares.back();
    }
    for (double& share : cover.shares) share /= sum;
    result.push_back(std::move(cover));
  }
  return result;
}

}  // namespace

Tensor resample_area(const Tensor& mask, std::int64_t height, std::int64_t width) {
  const std::vector<Cover> rows = covers(mask.size(0), height),
                           columns = covers(mask.size(1), width);
  Tensor result = Tensor::allocate({height, width}, DType::f32);
  float* to = result.mutable_data<float>();
  for (const Cover& row : rows) {
    for (const Cover& column : columns) {
      double sum = 0;
      for (std::size_t y = 0; y < row.shares.size(); ++y) {
        const float* line = mask.data<float>() +
                            (row.first + static_cast<std::int64_t>(y)) * mask.size(1) +
                            column.first;
        for (std::size_t x = 0; x < column.shares.size(); ++x)
          sum += row.shares[y] * column.shares[x] * static_cast<double>(line[x]);
      }
      *to++ = static_cast<float>(sum);
    }
  }
  return result;
}

Region::Region(Tensor mask, std::int64_t picture_height, std::int64_t picture_width)
    : mask_(std::move(mask)),
      height_(picture_height),
      width_(picture_width),
      is_empty_(std::ranges::all_of(mask_.floats(), [](float value) { return value == 0; })) {
  if (height_ < 1 || width_ < 1) {
    fail(ErrorKind::invalid_argument,
         "an adapter has a region, but the set was not told the picture's extents");
  }
}

std::pair<std::int64_t, std::int64_t> Region::extents(const Shape& y) const {
  if (y.rank() == 4) return {y[1], y[2]};
  const std::int64_t rows = y.rank() == 3 ? y[1] : 0;
  std::int64_t height = height_, width = width_;
  while (height * width > rows && (height > 1 || width > 1)) {
    height = (height + 1) / 2;
    width = (width + 1) / 2;
  }
  if (height * width != rows) {
    fail(ErrorKind::mismatch,
         "a region of a {} × {} picture does not fit a layer's output {}: no halving of it has as "
         "many places",
         height_, width_, y.to_string());
  }
  return {height, width};
}

Tensor Region::at(const Shape& y) const {
  const auto wanted = extents(y);
  const std::scoped_lock lock(mutex_);
  const auto found = resampled_.find(wanted);
  if (found != resampled_.end()) return found->second;
  return resampled_
      .emplace(wanted, resample_area(mask_, wanted.first, wanted.second)
                           .reshaped({wanted.first * wanted.second}))
      .first->second;
}

bool sees_picture(weights::Part part, std::string_view path) {
  if (part != weights::Part::unet) {
    fail(ErrorKind::unsupported,
         "regions are known for UNets; the tokens of this model are not a picture's alone");
  }
  constexpr auto kBlind = std::to_array<std::string_view>(
      {"time_embedding", "time_emb_proj", "add_embedding", "class_embedding", "encoder_hid_proj",
       "attn2.to_k", "attn2.to_v"});
  return std::ranges::none_of(
      kBlind, [&](std::string_view name) { return path.find(name) != std::string_view::npos; });
}

}  // namespace velatura::lora
