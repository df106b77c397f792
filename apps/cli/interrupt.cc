#include "apps/cli/interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>

namespace velatura::cli {

namespace {

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
    for (int signal = 0; sigwait(&set, &signal) == 0 && !done.stop_requested();) {
      if (source_.stop_requested()) ::_exit(130);
      source_.request_stop();
    }
  });
}

Interrupt::~Interrupt() {
  waiter_.request_stop();
  pthread_kill(waiter_.native_handle(), SIGTERM);  // wakes the wait
}

}  // namespace velatura::cli
