#include "apps/cli/terminal/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace velatura::cli::terminal {
namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), text) != values.end();
}

/// Whether the locale names a character set that lacks ▀. No locale at all says nothing: containers
/// run like that inside UTF-8 terminals.
bool lacks_blocks(const Environment& environment) {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = environment(name);
    if (value.empty()) continue;
    const std::size_t dot = value.find('.');
    return dot != std::string::npos && !has(value, "UTF-8") && !has(value, "utf8") &&
           !has(value, "UTF8") && !has(value, "utf-8");
  }
  return false;
}

Graphics choose_blocks(const Environment& environment, std::string_view term) {
  if (lacks_blocks(environment)) return Graphics::none;
  const bool has_true_colour =
      is_one_of(environment("COLORTERM"), {"truecolor", "24bit"}) || term.ends_with("-direct") ||
      !environment("WT_SESSION").empty() ||
      is_one_of(environment("TERM_PROGRAM"), {"iTerm.app", "vscode", "WezTerm", "ghostty"});
  return has_true_colour ? Graphics::half_blocks : Graphics::half_blocks_256;
}

bool speaks_kitty(const Environment& environment, std::string_view term) {
  constexpr int kFirstKonsole = 220400;  // Konsole 22.04
  return !environment("KITTY_WINDOW_ID").empty() || has(term, "kitty") || has(term, "ghostty") ||
         environment("TERM_PROGRAM") == "ghostty" ||
         std::atoi(environment("KONSOLE_VERSION").c_str()) >= kFirstKonsole;
}

bool speaks_sixel(const Environment& environment, std::string_view term) {
  return has(term, "sixel") || term.starts_with("foot") || term.starts_with("mlterm") ||
         term.starts_with("contour") ||
         is_one_of(environment("TERM_PROGRAM"), {"WezTerm", "mintty"});
}

}  // namespace

Environment process_environment() {
  return [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
}

bool is_terminal(std::FILE* stream) {
  return ::isatty(::fileno(stream)) == 1;
}

ScreenSize screen_size(std::FILE* stream) {
  ScreenSize size;
  winsize window{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &window) != 0) return size;
  if (window.ws_col > 0 && window.ws_row > 0) {
    size.columns = window.ws_col;
    size.rows = window.ws_row;
    if (window.ws_xpixel >= window.ws_col && window.ws_ypixel >= window.ws_row) {
      size.cell_width = window.ws_xpixel / window.ws_col;
      size.cell_height = window.ws_ypixel / window.ws_row;
    }
  }
  return size;
}

Graphics choose_graphics(const Environment& environment) {
  const std::string term = environment("TERM");
  const std::string wish = environment("VELATURA_PREVIEW");
  if (wish == "kitty") return Graphics::kitty;
  if (wish == "sixel") return Graphics::sixel;
  if (wish == "blocks") return choose_blocks(environment, term);
  if (wish == "none" || term.empty() || term == "dumb") return Graphics::none;
  const bool is_multiplexed =
      !environment("TMUX").empty() || term.starts_with("screen") || term.starts_with("tmux");
  if (!is_multiplexed && speaks_kitty(environment, term)) return Graphics::kitty;
  if (!is_multiplexed && speaks_sixel(environment, term)) return Graphics::sixel;
  return choose_blocks(environment, term);
}

}  // namespace velatura::cli::terminal
