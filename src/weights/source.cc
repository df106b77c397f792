#include "weights/source.h"

#include "base/error.h"
#include "weights/blob.h"
#include "weights/formats/safetensors.h"
#include "weights/formats/sharded.h"

namespace velatura::weights {

const TensorInfo* Source::find(std::string_view name) const {
  const std::vector<TensorInfo>& all = tensors();
  std::call_once(indexed_, [&] {
    for (std::size_t i = 0; i < all.size(); ++i) index_.emplace(all[i].name, i);
  });
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &all[found->second];
}

std::shared_ptr<const Source> open_source(const std::filesystem::path& path) {
  if (is_shard_index(path)) return open_sharded(path);
  const Blob blob = Blob::map(path);
  if (looks_like_safetensors(blob)) return open_safetensors(blob);
  fail(ErrorKind::unsupported, "\"{}\" is not a weight file that can be read: expected safetensors",
       path.string());
}

}  // namespace velatura::weights
