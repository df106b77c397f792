#include "models/rrdbnet/names.h"

#include <string_view>

namespace velatura::models::rrdbnet {

weights::NameMap names(const weights::Source& source) {
  for (const std::string_view prefix : {"params_ema.", "params.", ""}) {
    if (source.find(std::string(prefix) + "conv_first.weight") == nullptr) continue;
    weights::NameMap rows;
    for (const weights::TensorInfo& info : source.tensors()) {
      if (info.name.starts_with(prefix))
        rows.push_back({.canonical = info.name.substr(prefix.size()), .file = info.name});
    }
    return rows;
  }
  return {};
}

}  // namespace velatura::models::rrdbnet
