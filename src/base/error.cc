#include "base/error.h"

namespace velatura {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument:
      return "invalid argument";
    case ErrorKind::not_found:
      return "not found";
    case ErrorKind::bad_file:
      return "bad file";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::mismatch:
      return "mismatch";
    case ErrorKind::out_of_memory:
      return "out of memory";
    case ErrorKind::io:
      return "input/output";
    case ErrorKind::cancelled:
      return "cancelled";
    case ErrorKind::internal:
      return "internal";
  }
  return "unknown";
}

void check_failed(const char* condition, std::source_location where) {
  throw Error(ErrorKind::internal,
              fmt::format("internal check failed: {} ({}:{}, {}); please report this", condition,
                          where.file_name(), where.line(), where.function_name()));
}

}  // namespace velatura
