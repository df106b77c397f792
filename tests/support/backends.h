// The backends that tests run on. Header-only, since only tests of rooms that link both backends
// (TEST_LIBRARIES in src/CMakeLists.txt) may use it.
#pragma once

#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "backend/cpu/cpu.h"
#include "backend/reference/reference.h"
#include "base/error.h"
#include "ops/op_table.h"

namespace velatura::testing {

/// The reference and the cpu backend; the one that $VELATURA_BACKEND names where it is set, so that
/// the whole suite can run on either. Throws invalid_argument on another name.
inline std::vector<std::unique_ptr<ops::OpTable>> test_backends() {
  const char* chosen = std::getenv("VELATURA_BACKEND");
  const std::string_view name = chosen ? chosen : "";
  if (!name.empty() && name != "reference" && name != "cpu") {
    fail(ErrorKind::invalid_argument, "VELATURA_BACKEND is '{}'; reference and cpu exist", name);
  }
  std::vector<std::unique_ptr<ops::OpTable>> tables;
  if (name != "cpu") tables.push_back(backend::reference::make_reference_backend());
  if (name != "reference") tables.push_back(backend::cpu::make_cpu_backend());
  return tables;
}

}  // namespace velatura::testing
