// What is known about the terminal behind a stream, without asking it anything: its size from the
// system, its abilities from the environment.
#pragma once

#include <cstdio>
#include <functional>
#include <string>

namespace velatura::cli::terminal {

/// Ways to show a picture in a terminal, least first.
enum class Graphics {
  none,
  half_blocks_256,  ///< the character ▀ in the 6x6x6 colours of 256-colour terminals
  half_blocks,      ///< ▀ in 24-bit colour
  sixel,            ///< DEC's bitmap graphics
  kitty,            ///< the graphics protocol of kitty, also in Ghostty and Konsole
};

struct ScreenSize {
  int columns = 80;
  int rows = 24;
  int cell_width = 8;  ///< pixels; a usual size where the terminal does not tell
  int cell_height = 16;
};

/// The value of an environment variable, "" where it is not set.
using Environment = std::function<std::string(const char* name)>;

Environment process_environment();

bool is_terminal(std::FILE* stream);
ScreenSize screen_size(std::FILE* stream);

/// $VELATURA_PREVIEW (kitty, sixel, blocks, none) where it is set; else the best that TERM,
/// TERM_PROGRAM, COLORTERM and the variables of single programs promise. Inside tmux and screen
/// only half blocks pass through.
Graphics choose_graphics(const Environment& environment);

}  // namespace velatura::cli::terminal
