// The picture as it forms, above the progress line, redrawn in place.
#pragma once

#include "apps/cli/terminal/drawing.h"
#include "apps/cli/terminal/progress_line.h"
#include "apps/cli/terminal/screen.h"
#include "velatura/image.h"

namespace velatura::cli::terminal {

/// Not thread-safe, as ProgressLine.
class PreviewDrawer {
 public:
  explicit PreviewDrawer(Graphics graphics = choose_graphics(process_environment()));

  /// Shows `image` above `line`, over the last one where nothing was written since. Nothing where
  /// the line's stream is no terminal; says once when the terminal cannot show pictures.
  void draw(const Image& image, ProgressLine& line);

 private:
  Graphics graphics_;
  unsigned id_;
  bool has_complained_ = false;
  bool has_drawn_ = false;
  int notes_seen_ = 0;
  Box box_;
};

}  // namespace velatura::cli::terminal
