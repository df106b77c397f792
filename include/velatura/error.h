// The one error of the library. Thrown where a job cannot go on; expected absence is std::optional,
// partial success is a report. The library never prints, exits or aborts.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace velatura {

/// What went wrong, coarse enough to choose an exit code or an HTTP status by.
enum class ErrorKind {
  invalid_argument,  ///< the request itself is wrong: a size, a name of an option, a range
  not_found,         ///< a file, model, adapter or name does not exist
  bad_file,          ///< a file is damaged, hostile or not what it claims
  unsupported,       ///< understood, but this build or device cannot do it
  mismatch,       ///< two things do not fit together: an adapter and a model, a shape and a weight
  out_of_memory,  ///< memory or a budget is exhausted
  io,             ///< the operating system refused: disk full, permission
  cancelled,      ///< stopped by the user
  internal,       ///< our own mistake
};

std::string_view to_string(ErrorKind kind);

/// `what()` says what happened, where, what was expected, what was found and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace velatura
