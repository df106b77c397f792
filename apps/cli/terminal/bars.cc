#include "apps/cli/terminal/bars.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"

namespace velatura::cli::terminal {

bool shows_utf8(const Environment& environment) {
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    locale = environment(name);
    if (!locale.empty()) break;
  }
  locale = lowered(locale);
  return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
}

std::string draw_bar(double share, int cells, bool utf8) {
  static constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int parts = utf8 ? static_cast<int>(kEighths.size()) : 1;
  const double bounded = std::isfinite(share) ? std::clamp(share, 0.0, 1.0) : 0;
  int length = static_cast<int>(std::lround(bounded * cells * parts));
  if (bounded > 0) length = std::max(length, 1);
  std::string bar;
  for (int cell = 0; cell < length / parts; ++cell) bar += utf8 ? "█" : "#";
  int drawn = length / parts;
  if (length % parts != 0) {
    bar += kEighths[static_cast<std::size_t>(length % parts)];
    ++drawn;
  }
  return bar + std::string(static_cast<std::size_t>(std::max(cells - drawn, 0)), ' ');
}

}  // namespace velatura::cli::terminal
