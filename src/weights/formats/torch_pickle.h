// Files of torch.save (.ckpt .pt .pth .bin): a zip archive with data.pkl and one entry a storage
// (torch ≥ 1.6), or the older stream of pickles followed by the raw storages. Read without Python:
// pickles become inert values (pickle.h), tensors are found in them (torch_tree.h). Reference:
// torch/serialization.py.
#pragma once

#include <memory>

#include "weights/blob.h"
#include "weights/source.h"

namespace velatura::weights {

/// True when the bytes begin as a zip archive.
bool looks_like_zip(const Blob& blob);
/// True when the bytes begin with the legacy container's magic number.
bool looks_like_legacy_torch(const Blob& blob);

/// metadata() holds the numbers and texts found beside the tensors. Throws bad_file (damaged; a
/// foreign Python object among the tensors, by its name), unsupported (big-endian, element types,
/// compression).
std::shared_ptr<const Source> open_torch_zip(const Blob& blob);
std::shared_ptr<const Source> open_torch_legacy(const Blob& blob);

}  // namespace velatura::weights
