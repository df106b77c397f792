// A table of vectors looked up by id. Adapters may replace the table.
#pragma once

#include "nn/run.h"
#include "nn/scope.h"

namespace velatura::nn {

class Embedding {
 public:
  /// Reads `name`.weight [rows, width] and joins the scope's tree.
  Embedding(const Scope& scope, std::string_view name, std::int64_t rows, std::int64_t width);

  /// ids i64 [...] → [..., width] in the compute type. An id outside the table is an
  /// invalid_argument.
  Tensor forward(Run& run, const Tensor& ids) const;

 private:
  std::shared_ptr<const ops::Weight> table_;
  LayerId id_;
};

}  // namespace velatura::nn
