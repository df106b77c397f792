// What holds of the change that any module makes to any layer, whatever its kind: its live form is
// its dense change and has its norm, all ranks are what no number of ranks means, and a linear kind
// is linear.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "lora/algorithms/matrix.h"
#include "lora/bind/bind.h"
#include "lora/tools/block_map.h"

namespace velatura::fuzz {

/// f64 values, and the sum of the sizes of what was added up to each: rounding is a share of it.
struct Sum {
  std::vector<double> values, sizes;
  explicit Sum(std::int64_t count)
      : values(static_cast<std::size_t>(count)), sizes(static_cast<std::size_t>(count)) {}
  void add(std::int64_t at, double value) {
    values[static_cast<std::size_t>(at)] += value;
    sizes[static_cast<std::size_t>(at)] += std::abs(value);
  }
};

inline std::vector<double> f64_of(const ops::Weight& weight) {
  const Tensor values = to_f32(weight.original());
  return {values.floats().begin(), values.floats().end()};
}

/// scale · up [out, r] · down [r, columns].
inline Sum dense_of(const lora::ThinFactors& form) {
  const auto up = f64_of(*form.up), down = f64_of(*form.down);
  const std::int64_t out = form.up->shape()[0], rank = form.up->shape()[1],
                     columns = form.down->shape().count() / rank;
  Sum sum(out * columns);
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t r = 0; r < rank; ++r) {
      for (std::int64_t c = 0; c < columns; ++c)
        sum.add(o * columns + c, form.scale * up[static_cast<std::size_t>(o * rank + r)] *
                                     down[static_cast<std::size_t>(r * columns + c)]);
    }
  }
  return sum;
}

/// scale · w1 [l, m] ⊗ w2 [k, n, …].
inline Sum dense_of(const lora::KroneckerFactors& form) {
  const auto w1 = f64_of(*form.w1), w2 = f64_of(*form.w2);
  const std::int64_t l = form.w1->shape()[0], m = form.w1->shape()[1], k = form.w2->shape()[0],
                     n = form.w2->shape()[1], kernel = form.w2->shape().count() / (k * n);
  Sum sum(l * k * m * n * kernel);
  for (std::int64_t i = 0; i < l * k; ++i) {
    for (std::int64_t j = 0; j < m * n; ++j) {
      for (std::int64_t at = 0; at < kernel; ++at)
        sum.add((i * m * n + j) * kernel + at,
                form.scale * w1[static_cast<std::size_t>(i / k * m + j / n)] *
                    w2[static_cast<std::size_t>((i % k * n + j % n) * kernel + at)]);
    }
  }
  return sum;
}

/// scale · Σ up [out, p] · mid [p, q, kh, kw] · down [q, in].
inline Sum dense_of(const lora::TuckerFactors& form) {
  const auto up = f64_of(*form.up), mid = f64_of(*form.mid), down = f64_of(*form.down);
  const Shape& core = form.mid->shape();
  const std::int64_t out = form.up->shape()[0], in = form.down->shape()[1], p = core[0],
                     q = core[1], kernel = core[2] * core[3];
  Sum sum(out * in * kernel);
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t a = 0; a < p; ++a) {
      for (std::int64_t b = 0; b < q; ++b) {
        for (std::int64_t i = 0; i < in; ++i) {
          for (std::int64_t at = 0; at < kernel; ++at)
            sum.add((o * in + i) * kernel + at,
                    form.scale * up[static_cast<std::size_t>(o * p + a)] *
                        mid[static_cast<std::size_t>((a * q + b) * kernel + at)] *
                        down[static_cast<std::size_t>(b * in + i)]);
        }
      }
    }
  }
  return sum;
}

inline std::optional<Sum> live_form_of(const lora::ModuleDelta& delta) {
  if (delta.thin() != nullptr) return dense_of(*delta.thin());
  if (delta.kronecker() != nullptr) return dense_of(*delta.kronecker());
  if (delta.tucker() != nullptr) return dense_of(*delta.tucker());
  return std::nullopt;
}

/// Which rule the module breaks; empty: none. Of finite values of about 1 or less.
inline std::string broken_rule(const lora::ModuleDelta& delta, const lora::Pristine& pristine) {
  constexpr double kRoundings = 512 * 0x1p-24;
  const Tensor change = delta.weight_change(pristine, 1, 0);
  if (delta.is_zero() && change.defined() && !lora::is_all_zero(change))
    return "zero, and yet changes the weight";
  if (change.defined() != delta.changes_weight()) return "changes_weight() and the change differ";
  const std::optional<Sum> live = live_form_of(delta);
  if (!change.defined()) return live ? "a live form of no change" : "";
  const std::span<const float> dense = change.floats();
  if (live && live->values.size() != dense.size())
    return fmt::format("{} values live, {} dense", live->values.size(), dense.size());
  for (std::size_t i = 0; live && i < dense.size(); ++i) {
    if (std::abs(live->values[i] - dense[i]) > kRoundings * live->sizes[i])
      return fmt::format("{} live, {} dense at {}", live->values[i], dense[i], i);
  }
  double squares = 0, most = 0;
  for (std::size_t i = 0; i < dense.size(); ++i) {
    squares += static_cast<double>(dense[i]) * dense[i];
    most += live ? live->sizes[i] * live->sizes[i] : 0;
  }
  const double norm = lora::tools::squared_norm(delta, pristine);
  if (std::abs(norm - squares) > kRoundings * std::max(most, squares))
    return fmt::format("its squares are {} by factors, {} dense", norm, squares);
  if (delta.is_linear()) {
    const Tensor twice = delta.weight_change(pristine, -2, 0);
    for (std::size_t i = 0; i < dense.size(); ++i) {
      if (std::abs(twice.floats()[i] + 2.0 * dense[i]) >
          kRoundings * (live ? live->sizes[i] : 1 + std::abs(dense[i])))
        return fmt::format("{} at strength -2, {} at 1", twice.floats()[i], dense[i]);
    }
  }
  if (live && delta.rank() > 0) {
    const Tensor all = delta.weight_change(pristine, 1, delta.rank());
    for (std::size_t i = 0; i < dense.size(); ++i) {
      if (std::abs(all.floats()[i] - dense[i]) > kRoundings * live->sizes[i])
        return fmt::format("{} of all ranks, {} of none named", all.floats()[i], dense[i]);
    }
  }
  return {};
}

}  // namespace velatura::fuzz
