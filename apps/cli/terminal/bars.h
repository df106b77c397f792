// Bars of a table in the terminal. Pure functions.
#pragma once

#include <string>

#include "apps/cli/terminal/screen.h"

namespace velatura::cli::terminal {

/// Whether the locale's characters are UTF-8: LC_ALL, else LC_CTYPE, else LANG.
bool shows_utf8(const Environment& environment);

/// `share` (0 to 1) of `cells` cells, padded to that width: to an eighth of a cell in UTF-8, else
/// in whole '#'. What is not zero shows at least its smallest part.
std::string draw_bar(double share, int cells, bool utf8);

}  // namespace velatura::cli::terminal
