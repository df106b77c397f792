#include "apps/cli/terminal/progress_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "apps/cli/terminal/screen.h"

namespace velatura::cli::terminal {
namespace {

/// 0:07, 12:34, 1:02:03
std::string clock(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::ceil(std::clamp(seconds, 0.0, 1e9)));
  const std::int64_t hours = whole / 3600;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

std::string progress_text(const Progress& progress, double seconds_per_step, int columns) {
  std::string text;
  if (progress.batches > 1)
    text += fmt::format("batch {}/{}  ", progress.batch + 1, progress.batches);
  text += fmt::format("step {}/{}", progress.step, progress.steps);

  std::string rate;
  if (seconds_per_step > 0) {
    const int left = std::max(progress.steps - progress.step, 0) +
                     std::max(progress.batches - progress.batch - 1, 0) * progress.steps;
    rate = seconds_per_step < 1 ? fmt::format("  {:.2f} it/s", 1 / seconds_per_step)
                                : fmt::format("  {:.2f} s/it", seconds_per_step);
    rate += fmt::format("  {} left", clock(left * seconds_per_step));
  }
  constexpr int kMostBar = 30, kLeastBar = 8;
  const int room = columns - 1 - static_cast<int>(text.size() + rate.size()) - 4;
  if (room >= kLeastBar && progress.steps > 0) {
    const int bar = std::min(room, kMostBar);
    const auto done =
        static_cast<std::size_t>(std::clamp(bar * progress.step / progress.steps, 0, bar));
    text += "  [" + std::string(done, '=') +
            std::string(static_cast<std::size_t>(bar) - done, ' ') + "]";
  }
  text += rate;
  // The last column stays free: some terminals wrap when it is written.
  return text.substr(0, static_cast<std::size_t>(std::max(columns - 1, 0)));
}

ProgressLine::ProgressLine(std::FILE* stream) : ProgressLine(stream, is_terminal(stream)) {}

ProgressLine::ProgressLine(std::FILE* stream, bool on_terminal)
    : stream_(stream), on_terminal_(on_terminal) {}

ProgressLine::~ProgressLine() {
  if (!is_open_) return;
  std::fputc('\n', stream_);
  std::fflush(stream_);
}

void ProgressLine::update(const Progress& progress) {
  last_ = progress;
  if (progress.seconds_per_step > 0) {
    // The mean of about the last five steps: steady to read, and a slower phase shows soon.
    constexpr double kNewShare = 0.3;
    seconds_per_step_ = seconds_per_step_ == 0 ? progress.seconds_per_step
                                               : (1 - kNewShare) * seconds_per_step_ +
                                                     kNewShare * progress.seconds_per_step;
  }
  if (!on_terminal_) return;
  is_open_ = true;
  show();
}

void ProgressLine::note(const std::string& text) {
  ++notes_;
  hide();
  fmt::print(stream_, "{}\n", text);
  show();
}

void ProgressLine::draw_above(const std::string& text) {
  if (!on_terminal_) return;
  hide();
  fmt::print(stream_, "{}", text);
  show();
}

void ProgressLine::finish() {
  if (is_open_) fmt::print(stream_, "\n");
  is_open_ = false;
  std::fflush(stream_);
}

void ProgressLine::show() {
  // Overwrite and clear the rest of the line, not the other way round: no flicker.
  if (is_open_) {
    fmt::print(stream_, "\r{}\x1b[K",
               progress_text(last_, seconds_per_step_, screen_size(stream_).columns));
  }
  std::fflush(stream_);
}

void ProgressLine::hide() {
  if (is_open_) fmt::print(stream_, "\r\x1b[K");
}

}  // namespace velatura::cli::terminal
