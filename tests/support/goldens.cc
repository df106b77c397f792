#include "tests/support/goldens.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "base/text.h"

namespace velatura::testing {

namespace fs = std::filesystem;

namespace {

fs::path source_dir() {
  const char* dir = std::getenv("VELATURA_SOURCE_DIR");
  if (dir != nullptr) return dir;
  for (fs::path at = fs::current_path(); at.has_relative_path(); at = at.parent_path()) {
    if (fs::exists(at / "tests/goldens")) return at;
  }
  return fs::current_path();
}

}  // namespace

std::vector<fs::path> golden_roots() {
  if (const char* root = std::getenv("VELATURA_GOLDEN"); root != nullptr && *root != '\0')
    return {fs::path(root)};
  std::vector<fs::path> roots = {source_dir() / "tests/goldens"};
  const fs::path shared = source_dir() / "../shared/golden";
  if (fs::exists(shared)) roots.push_back(fs::canonical(shared));
  return roots;
}

void for_each_golden(const std::string& folder, const std::function<void(const fs::path&)>& run) {
  int found = 0;
  for (const fs::path& root : golden_roots()) {
    if (!fs::exists(root) || fs::is_empty(root)) {
      ADD_FAILURE() << "golden root " << root << " has no case at all";
      continue;
    }
    if (!fs::exists(root / folder)) {
      fmt::print("skipped: {} is not in {}\n", folder, root.string());
      continue;
    }
    ++found;
    SCOPED_TRACE((root / folder).string());
    run(root / folder);
  }
  if (found == 0) GTEST_SKIP() << folder << " is in no golden root";
}

GoldenCase GoldenCase::open(const fs::path& path) {
  GoldenCase result{.path = path, .source = weights::open_source(path), .meta = {}};
  if (const auto found = result.source->metadata().find("meta");
      found != result.source->metadata().end()) {
    result.meta = nlohmann::json::parse(json_without_infinities(found->second));
  }
  return result;
}

std::vector<std::string> GoldenCase::names(const std::string& prefix) const {
  std::vector<std::string> found;
  for (const weights::TensorInfo& info : source->tensors()) {
    if (info.name.starts_with(prefix)) found.push_back(info.name);
  }
  return found;
}

double relative_error(const Tensor& actual, const Tensor& expected) {
  const Tensor a = to_f32(actual), e = to_f32(expected);
  if (a.count() != e.count()) return INFINITY;
  double difference = 0, norm = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) {
    const double d = static_cast<double>(a.data<float>()[i]) - e.data<float>()[i];
    difference += d * d;
    norm += static_cast<double>(e.data<float>()[i]) * e.data<float>()[i];
  }
  return std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30);
}

::testing::AssertionResult close(const Tensor& actual, const Tensor& expected, double tolerance) {
  if (actual.count() != expected.count()) {
    return ::testing::AssertionFailure() << "shapes differ: " << actual.shape().to_string()
                                         << " against " << expected.shape().to_string();
  }
  const double error = relative_error(actual, expected);
  if (error <= tolerance) return ::testing::AssertionSuccess();  // NaN compares false
  const Tensor a = to_f32(actual), e = to_f32(expected);
  std::int64_t worst = 0;
  double worst_difference = -1;
  for (std::int64_t i = 0; i < a.count(); ++i) {
    const double d = std::abs(static_cast<double>(a.data<float>()[i]) - e.data<float>()[i]);
    if (!(d <= worst_difference)) worst = i, worst_difference = d;
    if (std::isnan(d)) break;
  }
  return ::testing::AssertionFailure()
         << "relative error " << error << " > " << tolerance << "; worst element " << worst
         << " of " << a.count() << ": " << a.data<float>()[worst] << ", expected "
         << e.data<float>()[worst];
}

double psnr(const Tensor& actual, const Tensor& expected, double peak) {
  const Tensor a = to_f32(actual), e = to_f32(expected);
  if (a.count() != e.count()) return -INFINITY;
  double sum = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) {
    const double d = static_cast<double>(a.data<float>()[i]) - e.data<float>()[i];
    sum += d * d;
  }
  return 10 * std::log10(peak * peak * static_cast<double>(a.count()) / std::max(sum, 1e-30));
}

}  // namespace velatura::testing
