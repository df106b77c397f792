#include "base/platform/process.h"

namespace velatura::platform {

std::filesystem::path executable_path() {
  std::error_code unknown;
  return std::filesystem::read_symlink("/proc/self/exe", unknown);
}

}  // namespace velatura::platform
