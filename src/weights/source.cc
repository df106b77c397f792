#include "weights/source.h"

#include <array>

#include "base/error.h"
#include "weights/blob.h"
#include "weights/formats/safetensors.h"
#include "weights/formats/sharded.h"
#include "weights/formats/torch_pickle.h"

namespace velatura::weights {

const TensorInfo* Source::find(std::string_view name) const {
  const std::vector<TensorInfo>& all = tensors();
  std::call_once(indexed_, [&] {
    index_.reserve(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) index_.emplace(all[i].name, i);
  });
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &all[found->second];
}

std::size_t Source::position_of(std::string_view name) const {
  const TensorInfo* info = find(name);
  VELATURA_CHECK(info != nullptr);
  return static_cast<std::size_t>(info - tensors().data());
}

namespace {

struct Magic {
  std::string_view bytes;
  std::string_view what;
};

/// Files that are met under a weight file's name, by their first bytes.
constexpr std::array kOtherFiles = {
    Magic{"GGUF", "a GGUF file, which is not supported yet"},
    Magic{"version https://git-lfs",
          "a Git LFS pointer instead of the file itself; fetch it with git lfs pull"},
    Magic{"<",
          "a web page instead of the file itself; download it again, signed in where the site asks "
          "for it"},
    Magic{"SQLite format 3", "a database, as Draw Things keeps models and adapters"},
    Magic{"\x89PNG", "a PNG picture"},
    Magic{"\xff\xd8\xff", "a JPEG picture"},
    Magic{"{", "a JSON text"},
    Magic{"\x80", "a Python pickle, but none of torch.save"},
};

}  // namespace

std::shared_ptr<const Source> open_source(const std::filesystem::path& path) {
  if (is_shard_index(path)) return open_sharded(path);
  const Blob blob = Blob::map(path);
  if (looks_like_safetensors(blob)) return open_safetensors(blob);
  if (looks_like_zip(blob)) return open_torch_zip(blob);
  if (looks_like_legacy_torch(blob)) return open_torch_legacy(blob);
  // A length beyond all bounds, then a header: what is wrong is said as of safetensors.
  constexpr std::size_t kPrefixBytes = 8;
  if (blob.size() > kPrefixBytes && blob.bytes()[kPrefixBytes] == std::byte{'{'})
    return open_safetensors(blob);
  const std::string_view text(reinterpret_cast<const char*>(blob.bytes().data()),
                              blob.bytes().size());
  std::string_view what = text.empty() ? "empty" : "of an unknown kind";
  for (const Magic& magic : kOtherFiles) {
    if (text.starts_with(magic.bytes)) {
      what = magic.what;
      break;
    }
  }
  fail(ErrorKind::unsupported, "\"{}\" is {}; expected safetensors or a file of torch.save",
       path.string(), what);
}

}  // namespace velatura::weights
