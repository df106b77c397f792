// Ctrl-C as a stop request: the job ends between two steps, cleans up, and the program exits with
// 130. A second Ctrl-C, half a second later or more, ends the program at once.
#pragma once

#include <stop_token>
#include <thread>

namespace velatura::cli {

/// One per program, made before any other thread: SIGINT and SIGTERM are blocked in this thread and
/// all made after it, and waited for in a thread of its own (a stop request is not safe inside a
/// signal handler).
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread waiter_;
};

}  // namespace velatura::cli
