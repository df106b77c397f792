// A bench report as text and as JSON.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "velatura/bench.h"

namespace velatura {

std::string to_json(const BenchReport& report) {
  nlohmann::ordered_json json;
  json["ceiling"] = {{"f32", report.ceiling_f32}, {"bf16", report.ceiling_bf16}};
  json["ceiling"]["products"] = nlohmann::ordered_json::array();
  for (const auto& product : report.products)
    json["ceiling"]["products"].push_back({{"name", product.name}, {"gflops", product.gflops}});
  json["precision"] = report.precision;
  json["threads"] = report.threads;
  json["parts"] = nlohmann::ordered_json::array();
  for (const BenchPart& part : report.parts) {
    json["parts"].push_back({{"name", part.name},
                             {"seconds", part.seconds},
                             {"flops", part.flops},
                             {"share", part.share},
                             {"ratio", part.ratio},
                             {"flop_ratio", part.flop_ratio},
                             {"bytes", part.bytes}});
  }
  return json.dump(2);
}

std::string to_table(const BenchReport& report) {
  std::string text;
  if (!report.products.empty()) {
    text =
        fmt::format("ceiling: f32 {:.0f} GFLOP/s, bf16 {:.0f} GFLOP/s; {} threads, precision {}\n",
                    report.ceiling_f32, report.ceiling_bf16, report.threads, report.precision);
  }
  for (const auto& product : report.products)
    text += fmt::format("  {:<24} {:8.0f} GFLOP/s\n", product.name, product.gflops);
  if (!report.parts.empty())
    text += fmt::format("{:<20} {:>12} {:>10} {:>8} {:>8} {:>8} {:>14}\n", "part", "seconds",
                        "TFLOP", "share", "ratio", "of FLOP", "bytes");
  const auto cell = [](double value, const char* format, int width) {
    return value == 0 ? fmt::format("{:>{}}", "", width)
                      : fmt::format("{:>{}}", fmt::format(fmt::runtime(format), value), width);
  };
  for (const BenchPart& part : report.parts) {
    text += fmt::format("{:<20} {} {} {} {} {} {}\n", part.name, cell(part.seconds, "{:.6f}", 12),
                        cell(part.flops / 1e12, "{:.3f}", 10),
                        cell(part.share * 100, "{:.1f} %", 8), cell(part.ratio, "{:.3f}", 8),
                        cell(part.flop_ratio, "{:.3f}", 8), cell(part.bytes, "{:.0f}", 14));
  }
  text.pop_back();
  return text;
}

}  // namespace velatura
