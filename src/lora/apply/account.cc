#include "lora/apply/account.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace velatura::lora {

std::string_view to_string(Form form) {
  constexpr std::array<std::string_view, kForms> kNames = {
      "thin",       "kronecker",     "tucker",    "stand-in",
      "recomputed", "dense product", "parameter", "untouched by the region"};
  return kNames.at(static_cast<std::size_t>(form));
}

void LayerAccount::join(const LayerAccount& later) {
  std::vector<Form> all;
  std::ranges::set_union(forms, later.forms, std::back_inserter(all));
  forms = std::move(all);
  adapters = std::max(adapters, later.adapters);
  bytes = std::max(bytes, later.bytes);
  if (later.squared_change == 0) return;
  error = later.error;
  squared_change = later.squared_change;
  squared_error = later.squared_error;
}

void ComponentAccount::add(LayerAccount layer) {
  for (const Form form : layer.forms) ++counts[static_cast<std::size_t>(form)];
  bytes += layer.bytes;
  squared_change += layer.squared_change;
  squared_error += layer.squared_error;
  error = squared_change > 0 ? std::sqrt(squared_error / squared_change) : 0;
  layers.push_back(std::move(layer));
}

std::string ComponentAccount::summary() const {
  std::string text;
  for (std::size_t form = 0; form < kForms; ++form) {
    if (counts[form] == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counts[form],
                        to_string(static_cast<Form>(form)));
  }
  if (text.empty()) text = "untouched";
  constexpr double kMegabyte = 1e6;
  if (bytes > 0) text += fmt::format(" ({:.1f} MB)", static_cast<double>(bytes) / kMegabyte);
  return component + ": " + text;
}

}  // namespace velatura::lora
