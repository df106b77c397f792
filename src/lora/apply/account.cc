#include "lora/apply/account.h"

#include <fmt/format.h>

namespace velatura::lora {

std::string_view to_string(Form form) {
  constexpr std::array<std::string_view, kForms> kNames = {
      "thin",       "kronecker",     "tucker",    "stand-in",
      "recomputed", "dense product", "parameter", "untouched by the region"};
  return kNames.at(static_cast<std::size_t>(form));
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
