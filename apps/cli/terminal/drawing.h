// A small picture as the characters that make a terminal show it. Pure functions.
#pragma once

#include <string>

#include "apps/cli/terminal/screen.h"
#include "velatura/image.h"

namespace velatura::cli::terminal {

/// Character cells that a drawing covers.
struct Box {
  int columns = 0;
  int rows = 0;
};

/// The largest box of the picture's shape within the screen, less the rows that the progress line
/// and a prompt need, and within 48 x 24 cells; a cell counts as twice as high as wide.
Box fit(const Image& image, const ScreenSize& screen);

/// The picture at another size: each pixel is the mean of what it covers, or the nearest one.
Image scaled(const Image& image, int width, int height);

/// box.rows lines, each ending in a line feed, two pixels a character.
std::string draw_half_blocks(const Image& image, const Box& box, bool true_colour);

/// A sixel picture of at most the box's pixels, dithered to 216 colours, at the cursor.
std::string draw_sixel(const Image& image, const Box& box, const ScreenSize& screen);

/// The picture scaled by the terminal to the box, at the cursor, which stays; replaces the one of
/// the same id.
std::string draw_kitty(const Image& image, const Box& box, unsigned id);

/// One drawing of either kind that leaves the cursor at the start of the line below the box.
/// `again`: first back to where the last drawing of this box began.
std::string draw_in_place(const Image& image, Graphics graphics, const Box& box,
                          const ScreenSize& screen, unsigned id, bool again);

}  // namespace velatura::cli::terminal
