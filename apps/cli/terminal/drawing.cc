#include "apps/cli/terminal/drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <vector>

namespace velatura::cli::terminal {
namespace {

constexpr int kMostColumns = 48;
constexpr int kMostRows = 24;
constexpr int kRowsKept = 3;  ///< for the progress line, a note and the shell's prompt

struct Colour {
  std::uint8_t red, green, blue;
  bool operator==(const Colour&) const = default;
};

Colour colour_at(const Image& image, int x, int y) {
  const std::size_t at = (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) +
                          static_cast<std::size_t>(x)) *
                         static_cast<std::size_t>(image.channels);
  return {image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]};
}

/// Level 0..5 of a 6x6x6 colour cube.
int cube_level(int value) {
  return (value * 5 + 127) / 255;
}

void append_colour(std::string& out, std::string_view layer, Colour colour, bool true_colour) {
  if (true_colour) {
    fmt::format_to(std::back_inserter(out), "\x1b[{};2;{};{};{}m", layer, colour.red, colour.green,
                   colour.blue);
  } else {
    // xterm's 256 colours: the cube begins at 16.
    const int index =
        16 + 36 * cube_level(colour.red) + 6 * cube_level(colour.green) + cube_level(colour.blue);
    fmt::format_to(std::back_inserter(out), "\x1b[{};5;{}m", layer, index);
  }
}

/// The picture in the 216 colours of the cube. Bayer's 4x4 matrix spreads the error.
std::vector<std::uint8_t> dithered(const Image& image) {
  constexpr std::array<std::array<int, 4>, 4> kBayer = {
      {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}}};
  std::vector<std::uint8_t> indices;
  indices.reserve(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height));
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      // A threshold in (0, 255) of the step of 51 between two levels.
      const int threshold =
          (2 * kBayer[static_cast<std::size_t>(y % 4)][static_cast<std::size_t>(x % 4)] + 1) * 255 /
          32;
      const auto level = [&](int value) { return (value * 5 + threshold) / 255; };
      const Colour colour = colour_at(image, x, y);
      indices.push_back(static_cast<std::uint8_t>(36 * level(colour.red) + 6 * level(colour.green) +
                                                  level(colour.blue)));
    }
  }
  return indices;
}

/// `count` times the sixel `bits`, run-length coded where that is shorter.
void append_run(std::string& out, std::size_t count, unsigned bits) {
  const char sixel = static_cast<char>('?' + bits);
  if (count > 3) {
    fmt::format_to(std::back_inserter(out), "!{}{}", count, sixel);
  } else {
    out.append(count, sixel);
  }
}

/// Six rows of pixels from `top`: one pass over the columns a colour, then back to the line's
/// start.
void append_band(std::string& out, std::span<const std::uint8_t> indices, std::size_t width,
                 std::size_t height, std::size_t top) {
  const std::size_t rows = std::min<std::size_t>(6, height - top);
  std::array<bool, 216> used{};
  for (std::size_t i = top * width; i < (top + rows) * width; ++i) used[indices[i]] = true;
  for (std::size_t colour = 0; colour < used.size(); ++colour) {
    if (!used[colour]) continue;
    fmt::format_to(std::back_inserter(out), "#{}", colour);
    std::size_t run = 0;
    unsigned last = 0;
    for (std::size_t x = 0; x < width; ++x) {
      unsigned bits = 0;
      for (std::size_t y = 0; y < rows; ++y)
        bits |= (indices[(top + y) * width + x] == colour ? 1u : 0u) << y;
      if (bits != last) {
        append_run(out, run, last);
        run = 0;
        last = bits;
      }
      ++run;
    }
    if (last != 0) append_run(out, run, last);
    out += '$';
  }
  out += '-';
}

std::string base64(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = (group << 8) | (j < left ? bytes[i + j] : 0u);
    for (std::size_t j = 0; j < 4; ++j)
      out += j <= left ? kDigits[(group >> (18 - 6 * j)) & 63] : '=';
  }
  return out;
}

}  // namespace

Box fit(const Image& image, const ScreenSize& screen) {
  const int most_columns = std::clamp(screen.columns - 1, 1, kMostColumns);
  const int most_rows = std::clamp(screen.rows - kRowsKept, 1, kMostRows);
  const double shape = static_cast<double>(image.height) / image.width;
  const double columns = std::min<double>(most_columns, 2.0 * most_rows / shape);
  return {std::clamp(static_cast<int>(std::lround(columns)), 1, most_columns),
          std::clamp(static_cast<int>(std::lround(columns * shape / 2.0)), 1, most_rows)};
}

Image scaled(const Image& image, int width, int height) {
  Image out;
  out.width = width;
  out.height = height;
  out.channels = 3;
  out.pixels.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  const auto begin = [](int place, int from, int to) {
    return static_cast<int>(std::int64_t{place} * from / to);
  };
  for (int y = 0; y < height; ++y) {
    const int top = begin(y, image.height, height);
    const int bottom = std::max(begin(y + 1, image.height, height), top + 1);
    for (int x = 0; x < width; ++x) {
      const int left = begin(x, image.width, width);
      const int right = std::max(begin(x + 1, image.width, width), left + 1);
      std::array<std::uint64_t, 3> sum{};
      for (int v = top; v < bottom; ++v) {
        for (int u = left; u < right; ++u) {
          const Colour colour = colour_at(image, u, v);
          sum[0] += colour.red;
          sum[1] += colour.green;
          sum[2] += colour.blue;
        }
      }
      const auto count =
          static_cast<std::uint64_t>(bottom - top) * static_cast<std::uint64_t>(right - left);
      for (const std::uint64_t value : sum)
        out.pixels.push_back(static_cast<std::uint8_t>((value + count / 2) / count));
    }
  }
  return out;
}

std::string draw_half_blocks(const Image& image, const Box& box, bool true_colour) {
  const Image small = scaled(image, box.columns, 2 * box.rows);
  std::string out;
  for (int row = 0; row < box.rows; ++row) {
    for (int x = 0; x < box.columns; ++x) {
      const Colour upper = colour_at(small, x, 2 * row);
      const Colour lower = colour_at(small, x, 2 * row + 1);
      // A colour is only said when it changes: redrawing goes through slow connections too.
      if (x == 0 || upper != colour_at(small, x - 1, 2 * row))
        append_colour(out, "38", upper, true_colour);
      if (x == 0 || lower != colour_at(small, x - 1, 2 * row + 1))
        append_colour(out, "48", lower, true_colour);
      out += "▀";
    }
    out += "\x1b[0m\x1b[K\n";
  }
  return out;
}

std::string draw_sixel(const Image& image, const Box& box, const ScreenSize& screen) {
  const int width = box.columns * screen.cell_width;
  const int height =
      box.rows * screen.cell_height / 6 * 6;  // a part of a band could scroll the screen
  const Image large = scaled(image, width, std::max(height, 6));
  const std::vector<std::uint8_t> indices = dithered(large);
  std::string out = fmt::format("\x1bP7;1;0q\"1;1;{};{}", large.width, large.height);
  std::array<bool, 216> used{};
  for (const std::uint8_t index : indices) used[index] = true;
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (used[i]) {  // colours in per cent
      fmt::format_to(std::back_inserter(out), "#{};2;{};{};{}", i, i / 36 * 20, i / 6 % 6 * 20,
                     i % 6 * 20);
    }
  }
  const auto rows = static_cast<std::size_t>(large.height);
  for (std::size_t top = 0; top < rows; top += 6) {
    append_band(out, indices, static_cast<std::size_t>(large.width), rows, top);
  }
  return out + "\x1b\\";
}

std::string draw_kitty(const Image& image, const Box& box, unsigned id) {
  const Image rgb = image.channels == 3 ? image : scaled(image, image.width, image.height);
  const std::string data = base64(rgb.pixels);
  constexpr std::size_t kChunk = 4096;  // the protocol's limit
  std::string out;
  for (std::size_t at = 0; at < data.size(); at += kChunk) {
    const int more = at + kChunk < data.size() ? 1 : 0;
    out += "\x1b_G";
    if (at == 0) {
      // Transmit and show (a=T) 24-bit pixels, silently (q=2), without moving the cursor (C=1).
      fmt::format_to(std::back_inserter(out), "a=T,f=24,s={},v={},c={},r={},i={},p=1,q=2,C=1,m={};",
                     rgb.width, rgb.height, box.columns, box.rows, id, more);
    } else {
      fmt::format_to(std::back_inserter(out), "m={};", more);
    }
    out += std::string_view(data).substr(at, kChunk);
    out += "\x1b\\";
  }
  return out;
}

std::string draw_in_place(const Image& image, Graphics graphics, const Box& box,
                          const ScreenSize& screen, unsigned id, bool again) {
  std::string out;
  if (again) out += fmt::format("\x1b[{}F", box.rows);
  switch (graphics) {
    case Graphics::none:
      return {};
    case Graphics::half_blocks:
    case Graphics::half_blocks_256:
      return out + draw_half_blocks(image, box, graphics == Graphics::half_blocks);
    case Graphics::sixel:
    case Graphics::kitty:
      // The lines are made first, for at the foot of the screen that scrolls and would move the
      // place remembered; then the cursor is kept (ESC 7, ESC 8), wherever the picture would leave
      // it.
      if (!again)
        out += std::string(static_cast<std::size_t>(box.rows), '\n') +
               fmt::format("\x1b[{}F", box.rows);
      out +=
          "\x1b"
          "7";
      out +=
          graphics == Graphics::sixel ? draw_sixel(image, box, screen) : draw_kitty(image, box, id);
      return out +
             "\x1b"
             "8" +
             fmt::format("\x1b[{}E", box.rows);
  }
  return {};
}

}  // namespace velatura::cli::terminal
