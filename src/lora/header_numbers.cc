#include "lora/header_numbers.h"

#include <charconv>
#include <cmath>

#include "base/text.h"

namespace velatura::lora {

std::optional<double> header_number(const AdapterFile& file, const std::string& key) {
  const auto& metadata = file.source().metadata();
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  const std::string_view text = trimmed(found->second);
  const char* end = text.data() + text.size();
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  const bool is_number =
      !text.empty() && error == std::errc() && stop == end && std::isfinite(number);
  return is_number ? std::optional(number) : std::nullopt;
}

std::optional<StatedScale> stated_scale(const AdapterFile& file, double alpha) {
  const auto dim = header_number(file, "ss_network_dim");
  const auto stated = header_number(file, "ss_network_alpha");
  if (!dim || !stated || *dim <= 0 || alpha == *dim || alpha != *stated) return std::nullopt;
  return StatedScale{.dim = *dim, .alpha = alpha};
}

}  // namespace velatura::lora
