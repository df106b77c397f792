#include "apps/cli/terminal/preview.h"

#include <unistd.h>

namespace velatura::cli::terminal {

// kitty replaces pictures of the same id, also those an earlier run left in the window.
PreviewDrawer::PreviewDrawer(Graphics graphics)
    : graphics_(graphics), id_(static_cast<unsigned>(::getpid())) {}

void PreviewDrawer::draw(const Image& image, ProgressLine& line) {
  if (!line.on_terminal() || image.width <= 0 || image.height <= 0) return;
  if (graphics_ == Graphics::none) {
    if (!has_complained_)
      line.note("this terminal cannot show previews; VELATURA_PREVIEW=blocks tries nevertheless");
    has_complained_ = true;
    return;
  }
  const ScreenSize screen = screen_size(line.stream());
  const Box box = fit(image, screen);
  const bool again = has_drawn_ && notes_seen_ == line.notes() && box.rows == box_.rows &&
                     box.columns == box_.columns;
  line.draw_above(draw_in_place(image, graphics_, box, screen, id_, again));
  has_drawn_ = true;
  notes_seen_ = line.notes();
  box_ = box;
}

}  // namespace velatura::cli::terminal
