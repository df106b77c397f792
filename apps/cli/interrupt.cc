#include "apps/cli/interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

namespace velatura::cli {

namespace {

using Clock = std::chrono::steady_clock;

/// One press can arrive twice: timeout(1) and the like signal the program and then its group. A
/// repeat within this time is the same press.
constexpr auto kSamePress = std::chrono::milliseconds(500);

sigset_t interrupts() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t set = interrupts();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  waiter_ = std::jthread([this, set](const std::stop_token& done) {
    Clock::time_point asked;
    for (int signal = 0; sigwait(&set, &signal) == 0 && !done.stop_requested();) {
      if (source_.request_stop()) {
        asked = Clock::now();
      } else if (Clock::now() - asked > kSamePress) {
        ::_exit(130);
      }
    }
  });
}

Interrupt::~Interrupt() {
  waiter_.request_stop();
  pthread_kill(waiter_.native_handle(), SIGTERM);  // wakes the wait
}

}  // namespace velatura::cli
