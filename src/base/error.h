// Raising errors inside the library. The type itself is public: velatura/error.h.
#pragma once

#include <fmt/format.h>

#include <source_location>
#include <utility>

#include "velatura/error.h"

namespace velatura {

/// Throws Error{kind, formatted message}.
template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* condition, std::source_location where);

}  // namespace velatura

/// Guards our own invariants; what a user can cause is an Error with a message instead.
#define VELATURA_CHECK(condition) \
  (static_cast<bool>(condition)   \
       ? void(0)                  \
       : ::velatura::check_failed(#condition, std::source_location::current()))
