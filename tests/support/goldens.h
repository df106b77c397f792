// Golden cases: where they are, how they are read, how results are compared.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "weights/source.h"

namespace velatura::testing {

/// Roots to take cases from, read when a test runs: $VELATURA_GOLDEN alone where it is set; else
/// the repository's compact copy (tests/goldens) and, where it exists, the full set beside the
/// repository (../shared/golden).
std::vector<std::filesystem::path> golden_roots();

/// Calls `run` for <root>/<folder> of every root that has it. A root that lacks it is named and
/// skipped; no root having it skips the test, unless the root itself is empty, which fails it.
void for_each_golden(const std::string& folder,
                     const std::function<void(const std::filesystem::path&)>& run);

/// A case file: tensors and its "meta" JSON.
struct GoldenCase {
  std::filesystem::path path;
  std::shared_ptr<const weights::Source> source;
  nlohmann::json meta;

  static GoldenCase open(const std::filesystem::path& path);
  bool has(const std::string& name) const { return source->find(name) != nullptr; }
  Tensor get(const std::string& name) const { return source->load(name); }
  /// Names that begin with `prefix`, in file order.
  std::vector<std::string> names(const std::string& prefix) const;
};

/// ‖actual − expected‖₂ / ‖expected‖₂, both as f32 of the same element count.
double relative_error(const Tensor& actual, const Tensor& expected);

/// Passes when relative_error <= tolerance and every value is finite; else names the worst element.
::testing::AssertionResult close(const Tensor& actual, const Tensor& expected, double tolerance);

/// Peak signal-to-noise ratio in dB of pictures with values in [0, peak].
double psnr(const Tensor& actual, const Tensor& expected, double peak = 1.0);

}  // namespace velatura::testing
