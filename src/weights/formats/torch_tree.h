// What a torch.save pickle says: a tree of dicts and lists whose leaves are views of storages.
// Names are the path to the leaf, joined by dots. Not here: where the storages' bytes are
// (torch_pickle.cc), opcodes (pickle.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "weights/formats/pickle.h"
#include "weights/source.h"

namespace velatura::weights {

/// A storage as the pickle declares it.
struct StorageInfo {
  std::uint64_t bytes = 0;
  DType type = DType::u8;  ///< of an untyped storage: u8
};

/// A view of a storage; checked to lie inside it.
struct TensorView {
  TensorInfo info;
  std::string storage;                ///< key of the storage
  std::uint64_t offset = 0;           ///< in elements of info.dtype
  std::vector<std::int64_t> strides;  ///< in elements, one an axis, never negative
  bool contiguous() const;
};

struct TensorTree {
  std::vector<TensorView> tensors;
  /// Numbers and texts beside the tensors ("step", "name", …), as text, by their path.
  std::map<std::string, std::string> scalars;
};

/// Every storage that the document mentions, in the tree or not. Throws bad_file where one key is
/// declared twice differently; unsupported for an element type the engine does not know.
std::map<std::string, StorageInfo> storages_of(const pickle::Document& document,
                                               const std::string& file);

/// The tensors of the value under "state_dict", or of the whole where there is none. A global that
/// the tree reaches must be one of torch's own builders of tensors and containers, else bad_file
/// names it; what lies outside the tree is not looked at.
TensorTree read_tensor_tree(const pickle::Document& document,
                            const std::map<std::string, StorageInfo>& storages,
                            const std::string& file);

}  // namespace velatura::weights
