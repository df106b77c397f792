#include "apps/cli/lost_file.h"

#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/platform/mapped_files.h"

namespace velatura::cli {

namespace {

constexpr int kInputOutput = 8;  // as main.cc for ErrorKind::io

void write_text(const char* text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
}

/// Only what is safe in a signal handler.
void handle(int number, siginfo_t* info, void*) {
  const char* path = platform::mapped_file_at(info->si_addr);
  if (path == nullptr) {  // a fault of another kind: as if there were no handler
    std::signal(number, SIG_DFL);
    return;
  }
  write_text("velatura: \"");
  write_text(path);
  write_text(
      "\" became shorter, or its disk went away, while it was read; wait until no other program "
      "writes to it and try again\n");
  ::_exit(kInputOutput);
}

}  // namespace

void explain_lost_files() {
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace velatura::cli
