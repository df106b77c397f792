// Measuring this machine: its ceiling, then parts of the work with synthetic full-size weights.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace velatura {

struct BenchRequest {
  std::string what;                ///< "ceiling", "sd15", "lora", "library"
  int size = 512;                  ///< pixels
  std::string precision = "auto";  ///< auto, f32, bf16
  std::string backend = "cpu";
  int threads = 0;
  std::vector<std::string> parts;     ///< empty: all of `what`
  int files = 30'000, folders = 300;  ///< of "library"
  std::string program;  ///< path of the velatura program, for the parts measured in a child
};

struct BenchPart {
  std::string name;
  double seconds = 0;     ///< median
  double flops = 0;       ///< counting direct convolution; 0 where it has no meaning
  double share = 0;       ///< flops / seconds / ceiling of the precision
  double ratio = 0;       ///< time with / without, where the part is an overhead
  double flop_ratio = 0;  ///< operations with / without, there
  double bytes = 0;       ///< where the part is a size
};

struct BenchReport {
  double ceiling_f32 = 0, ceiling_bf16 = 0;  ///< GFLOP/s, best of the products
  struct Product {
    std::string name;  ///< "bf16 4096x4096x4096"
    double gflops = 0;
  };
  std::vector<Product> products;
  std::vector<BenchPart> parts;
  std::string precision;
  int threads = 0;
};

/// Runs and measures; `on_part` is called as each part is known. Throws Error.
BenchReport bench(const BenchRequest& request,
                  const std::function<void(const BenchPart&)>& on_part = {});
std::string to_json(const BenchReport& report);
std::string to_table(const BenchReport& report);

}  // namespace velatura
