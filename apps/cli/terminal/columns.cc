#include "apps/cli/terminal/columns.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>

namespace velatura::cli::terminal {

namespace {

using Range = std::pair<std::uint32_t, std::uint32_t>;
constexpr auto kWide = std::to_array<Range>({{0x1100, 0x115f},
                                             {0x2e80, 0x303e},
                                             {0x3041, 0xa4cf},
                                             {0xac00, 0xd7a3},
                                             {0xf900, 0xfaff},
                                             {0xfe30, 0xfe6f},
                                             {0xff00, 0xff60},
                                             {0xffe0, 0xffe6},
                                             {0x1f300, 0x1f64f},
                                             {0x1f680, 0x1f6ff},
                                             {0x1f900, 0x1f9ff},
                                             {0x20000, 0x3fffd}});
constexpr auto kCombining = std::to_array<Range>(
    {{0x300, 0x36f}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}});

template <std::size_t size>
bool lies_in(const std::array<Range, size>& ranges, std::uint32_t code) {
  return std::ranges::any_of(
      ranges, [&](const Range& range) { return code >= range.first && code <= range.second; });
}

struct Character {
  std::string_view bytes;
  int cells = 0;
};

/// The first character; bytes that are no UTF-8 stand alone and take a cell.
Character first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (length == 1 || text.size() < length) return {text.substr(0, 1), 1};
  std::uint32_t code = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) code = code << 6 | (byte(i) & 0x3fu);
  return {text.substr(0, length), lies_in(kCombining, code) ? 0 : lies_in(kWide, code) ? 2 : 1};
}

bool is_control(std::string_view character) {
  const auto byte = static_cast<unsigned char>(character[0]);
  return byte < 0x20 || byte == 0x7f ||
         (character.size() == 2 && byte == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0);
}

std::string padded(std::string_view text, int cells, bool right) {
  const std::string blanks(static_cast<std::size_t>(std::max(0, cells - display_width(text))), ' ');
  return right ? blanks + std::string(text) : std::string(text) + blanks;
}

/// Takes from the widest column until the table fits or no column can give.
void narrow(std::vector<int>& widths, const std::vector<Column>& columns, int cells) {
  constexpr int kGap = 2;
  int total = -kGap;
  for (const int width : widths) total += width + kGap;
  while (total > cells) {
    std::size_t widest = widths.size();
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (widths[i] > columns[i].least && (widest == widths.size() || widths[i] > widths[widest]))
        widest = i;
    }
    if (widest == widths.size()) return;
    --widths[widest];
    --total;
  }
}

}  // namespace

int display_width(std::string_view text) {
  int cells = 0;
  while (!text.empty()) {
    const Character character = first_of(text);
    cells += character.cells;
    text.remove_prefix(character.bytes.size());
  }
  return cells;
}

std::string fit(std::string_view text, int cells) {
  std::string result;
  int used = 0;
  std::size_t with_room = 0;  // bytes after which "…" still fits
  while (!text.empty()) {
    const Character character = first_of(text);
    text.remove_prefix(character.bytes.size());
    if (is_control(character.bytes)) continue;
    if (used + character.cells > cells) {
      result.resize(with_room);
      return result + "…";
    }
    used += character.cells;
    result += character.bytes;
    if (used < cells) with_room = result.size();
  }
  return result;
}

std::string format_table(const std::vector<Column>& columns,
                         const std::vector<std::vector<std::string>>& rows, int cells) {
  std::vector<int> widths;
  for (const Column& column : columns) widths.push_back(display_width(column.title));
  constexpr int kUnbounded = std::numeric_limits<int>::max() / 2;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], display_width(fit(row[i], kUnbounded)));
  }
  if (cells > 0) narrow(widths, columns, cells);
  std::string table;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (i > 0) line += "  ";
      line += padded(fit(cell_of(i), widths[i]), widths[i], columns[i].right);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    table += line + "\n";
  };
  add_line([&](std::size_t i) -> const std::string& { return columns[i].title; });
  for (const auto& row : rows)
    add_line([&](std::size_t i) -> const std::string& { return row[i]; });
  return table;
}

}  // namespace velatura::cli::terminal
