#include <unistd.h>

#include <ctime>
#include <fstream>
#include <sstream>
#include <string>

#include "base/platform/process.h"

namespace velatura::platform {

std::filesystem::path executable_path() {
  std::error_code unknown;
  return std::filesystem::read_symlink("/proc/self/exe", unknown);
}

double seconds_since_start() {
  // proc(5): the 22nd field of stat is the start in clock ticks since boot; the second, the
  // program's name in parentheses, may hold blanks.
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line)) return 0;
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  std::string field;
  for (int number = 3; number <= 22; ++number) fields >> field;
  struct timespec now {};
  if (!fields || ::clock_gettime(CLOCK_BOOTTIME, &now) != 0) return 0;
  const double started = std::stod(field) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) - started;
}

}  // namespace velatura::platform
