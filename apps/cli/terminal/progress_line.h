// The line that says how far a job is: drawn again and again on a terminal, absent in a pipe.
#pragma once

#include <cstdio>
#include <string>

#include "velatura/progress.h"

namespace velatura::cli::terminal {

/// "step 7/20  [=======      ]  2.31 it/s  0:06 left", cut to `columns`; with the batch in front
/// where there are several. `seconds_per_step` 0: not known yet, rate and time are left out. Slow
/// steps read as "3.20 s/it".
std::string progress_text(const Progress& progress, double seconds_per_step, int columns);

/// Not thread-safe: a job's callbacks come from one thread.
class ProgressLine {
 public:
  /// Writes to `stream`; the line itself only where that is a terminal.
  explicit ProgressLine(std::FILE* stream = stderr);
  ProgressLine(std::FILE* stream, bool on_terminal);
  /// Leaves no half line behind when a job ends by an exception.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(const Progress& progress);

  /// A line of its own above the progress line; in a pipe too.
  void note(const std::string& text);

  /// Writes `text`, which ends at the start of a line, above the progress line. Only on a terminal.
  void draw_above(const std::string& text);

  /// Ends the line. Nothing where none was drawn.
  void finish();

  bool on_terminal() const { return on_terminal_; }
  std::FILE* stream() const { return stream_; }
  /// Notes written so far: who draws above the line sees whether its drawing still ends there.
  int notes() const { return notes_; }

 private:
  void show();
  void hide();

  std::FILE* stream_;
  bool on_terminal_;
  bool is_open_ = false;  ///< a line without its line feed stands on the screen
  int notes_ = 0;
  double seconds_per_step_ = 0;
  Progress last_;
};

}  // namespace velatura::cli::terminal
