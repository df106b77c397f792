#include <algorithm>

#include "backend/reference/kernels.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

void embedding(const Tensor& table, const Tensor& ids, Tensor& y) {
  const std::int64_t width = table.size(1);
  const std::int64_t* id = ids.data<std::int64_t>();
  compute_f32(y, [&](float* out) {
    for (std::int64_t i = 0; i < ids.count(); ++i, out += width) {
      // Row by row: a vocabulary is far longer than a prompt.
      const Tensor row = to_f32(table.slice(id[i], id[i] + 1));
      std::copy_n(row.data<float>(), width, out);
    }
  });
}

}  // namespace velatura::backend::reference
