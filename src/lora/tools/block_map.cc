#include "lora/tools/block_map.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <map>
#include <mutex>

#include "lora/strength/block_weights.h"

namespace velatura::lora::tools {

namespace {

double sum_of_squares(const Tensor& stored) {
  const Tensor values = to_f32(stored);
  const float* entry = values.data<float>();
  const std::int64_t count = values.count();
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = entry[i];
    sum += value * value;
  }
  return sum;
}

/// Σ over rows x of x·xᵀ, the upper triangle of [rank, rank], from row-major [rows, rank]. Four
/// rows a pass: a sum is loaded and stored once for four products.
std::vector<float> gram(const float* rows, std::int64_t count, std::int64_t rank) {
  std::vector<float> sums(static_cast<std::size_t>(rank * rank));
  constexpr std::int64_t kRows = 4;
  const std::vector<float> zeros(static_cast<std::size_t>(rank));
  for (std::int64_t row = 0; row < count; row += kRows) {
    const float* x[kRows];
    for (std::int64_t k = 0; k < kRows; ++k)
      x[k] = row + k < count ? rows + (row + k) * rank : zeros.data();
    for (std::int64_t i = 0; i < rank; ++i) {
      const float a = x[0][i], b = x[1][i], c = x[2][i], d = x[3][i];
      float* sum = sums.data() + i * rank;
#pragma omp simd
      for (std::int64_t j = i; j < rank; ++j)
        sum[j] += a * x[0][j] + b * x[1][j] + c * x[2][j] + d * x[3][j];
    }
  }
  return sums;
}

std::vector<float> transposed(const Tensor& matrix, std::int64_t rows) {
  const Tensor values = to_f32(matrix);
  const std::int64_t columns = values.count() / rows;
  std::vector<float> result(static_cast<std::size_t>(values.count()));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      result[static_cast<std::size_t>(column * rows + row)] =
          values.data<float>()[row * columns + column];
  }
  return result;
}

double squared_norm(const ThinFactors& factors) {
  const Tensor& down = factors.down->original();
  const std::int64_t rank = down.size(0);
  if (rank == 0) return 0;
  const std::vector<float> columns = transposed(down, rank);
  const Tensor up = to_f32(factors.up->original());
  const std::vector<float> of_down = gram(columns.data(), down.count() / rank, rank);
  const std::vector<float> of_up = gram(up.data<float>(), up.count() / rank, rank);
  double trace = 0;
  for (std::int64_t i = 0; i < rank; ++i) {
    for (std::int64_t j = i; j < rank; ++j) {
      const auto at = static_cast<std::size_t>(i * rank + j);
      trace += (i == j ? 1.0 : 2.0) * of_down[at] * of_up[at];
    }
  }
  return std::max(trace, 0.0) * factors.scale * factors.scale;
}

bool is_factored(const ModuleDelta& delta) {
  return delta.is_zero() || delta.thin() != nullptr || delta.kronecker() != nullptr;
}

class Mapper {
 public:
  Mapper(const BoundAdapter& adapter, std::span<const Component> components, StopToken stop)
      : adapter_(adapter),
        components_(components),
        stop_(std::move(stop)),
        squares_(adapter.modules.size()),
        base_squares_(adapter.modules.size()),
        is_known_(adapter.modules.size(), 1) {
    has_weights_ = std::ranges::all_of(components, [](const Component& component) {
      return component.tree != nullptr || component.weights != nullptr;
    });
  }

  BlockMap map() {
    measure_factored();
    for (std::size_t i = 0; i < adapter_.modules.size(); ++i) {
      if (!is_factored(*adapter_.modules[i].delta)) measure(i);
    }
    return collected();
  }

 private:
  void measure_factored() {
    std::exception_ptr failure;
    std::mutex mutex;
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(adapter_.modules.size()); ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (!is_factored(*adapter_.modules[at].delta)) continue;
      try {
        measure(at);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
  }

  void measure(std::size_t i) {
    throw_if_stopped(stop_);
    const BoundModule& module = adapter_.modules[i];
    if (!module.delta->changes_weight()) return;  // the map is of weights
    if (module.delta->needs_base() && !has_weights_) {
      is_known_[i] = 0;
      return;
    }
    const auto base = [&] { return pristine_weight(*module.placement, components_); };
    squares_[i] = tools::squared_norm(*module.delta, base);
    if (!has_weights_) return;
    const Component& component = components_[static_cast<std::size_t>(module.target.component)];
    base_squares_[i] = sum_of_squares(pristine_weight(component, module.target.layer));
  }

  BlockMap collected() const {
    BlockMap map;
    map.is_relative = has_weights_;
    const ModelBlocks blocks(components_);
    std::vector<std::string> order = blocks.names();
    constexpr const char* kOther = "other";
    order.emplace_back(kOther);
    std::map<std::pair<std::size_t, int>, BlockNorm> norms;  // by place in the order
    for (std::size_t i = 0; i < adapter_.modules.size(); ++i) {
      const Target target = adapter_.modules[i].target;
      if (is_known_[i] == 0) {
        ++map.unknown;
        continue;
      }
      const ModelBlocks::Module& module = blocks.modules(
          static_cast<std::size_t>(target.component))[static_cast<std::size_t>(target.layer)];
      const std::string& name = module.block.empty() ? order.back() : module.block;
      const auto place = static_cast<std::size_t>(std::ranges::find(order, name) - order.begin());
      BlockNorm& norm = norms[{place, target.component}];
      norm.component = components_[static_cast<std::size_t>(target.component)].name;
      norm.name = name;
      ++norm.layers;
      norm.squares += squares_[i];
      norm.base_squares += base_squares_[i];
    }
    for (auto& [place, norm] : norms) map.blocks.push_back(std::move(norm));
    return map;
  }

  const BoundAdapter& adapter_;
  std::span<const Component> components_;
  StopToken stop_;
  std::vector<double> squares_, base_squares_;
  std::vector<char> is_known_;  // written by several threads: no bits
  bool has_weights_ = false;
};

}  // namespace

double BlockNorm::norm() const {
  return std::sqrt(squares);
}

double BlockNorm::relative() const {
  return base_squares > 0 ? std::sqrt(squares / base_squares) : 0;
}

double squared_norm(const ModuleDelta& delta, const Pristine& base) {
  if (delta.is_zero()) return 0;
  if (const ThinFactors* thin = delta.thin()) return squared_norm(*thin);
  if (const KroneckerFactors* factors = delta.kronecker()) {
    return sum_of_squares(factors->w1->original()) * sum_of_squares(factors->w2->original()) *
           factors->scale * factors->scale;
  }
  const Tensor change = delta.weight_change(base, 1, 0);
  return change.defined() ? sum_of_squares(change) : 0;
}

BlockMap block_map(const BoundAdapter& adapter, std::span<const Component> components,
                   StopToken stop) {
  return Mapper(adapter, components, std::move(stop)).map();
}

}  // namespace velatura::lora::tools
