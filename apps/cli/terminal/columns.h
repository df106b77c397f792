// Text in columns of a terminal's cells: how wide it is, and how it is made to fit. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace velatura::cli::terminal {

/// Cells that UTF-8 text takes: 2 for East Asian wide characters and pictographs, 0 for combining
/// marks, 1 for all others (Unicode Standard Annex 11, its large ranges).
int display_width(std::string_view text);

/// Without control characters, which would move the cursor; cut to `cells` with "…" for the rest.
std::string fit(std::string_view text, int cells);

struct Column {
  std::string title;
  bool right = false;  ///< numbers stand at the right
  int least = 4;       ///< cells that it keeps when the others need room
};

/// A table whose columns are as wide as their widest cell, two cells apart. Where that is wider
/// than `cells`, the widest columns give way. `cells` 0: as wide as it comes. No blanks at line
/// ends.
std::string format_table(const std::vector<Column>& columns,
                         const std::vector<std::vector<std::string>>& rows, int cells);

}  // namespace velatura::cli::terminal
