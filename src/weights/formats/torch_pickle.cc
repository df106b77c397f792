#include "weights/formats/torch_pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "weights/formats/torch_tree.h"
#include "weights/formats/zip_directory.h"

namespace velatura::weights {

static_assert(std::endian::native == std::endian::little,
              "storages are little-endian and read in place");

namespace {

constexpr std::string_view kZipMagic = "PK\x03\x04";
/// A legacy file begins with the pickle of the number 0x1950a86a20f9469cfc6c; what stands before it
/// depends on the pickle protocol, 2 but for those who chose another.
constexpr std::string_view kLegacyMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::size_t kLegacyMagicWithin = 32;
constexpr std::int64_t kLegacyProtocol = 1001;

std::string_view text_of(const Blob& blob) {
  return {reinterpret_cast<const char*>(blob.bytes().data()), blob.bytes().size()};
}

/// The strided elements of `view` in `bytes`, in row-major order.
Tensor gather(const TensorView& view, const Blob& bytes, std::uint64_t begin) {
  Tensor result = Tensor::allocate(view.info.shape, view.info.dtype);
  const std::size_t width = size_of(view.info.dtype);
  const int rank = view.info.shape.rank();
  std::array<std::int64_t, Shape::kMaxRank> index{};
  std::uint64_t element = view.offset;
  for (std::int64_t i = 0; i < result.count(); ++i) {
    const std::span<const std::byte> from =
        bytes.bytes_at(begin + element * width, width, "a tensor");
    std::memcpy(result.mutable_bytes() + static_cast<std::size_t>(i) * width, from.data(), width);
    for (int axis = rank; axis-- > 0;) {
      const auto a = static_cast<std::size_t>(axis);
      const auto stride = static_cast<std::uint64_t>(view.strides[a]);
      element += stride;
      if (++index[a] < view.info.shape[axis]) break;
      element -= stride * static_cast<std::uint64_t>(index[a]);
      index[a] = 0;
    }
  }
  return result;
}

class TorchSource : public Source {
 public:
  /// `places`: where each storage that the tree uses lies in the blob.
  TorchSource(const Blob& blob, TensorTree tree, std::map<std::string, ZipEntry> places)
      : blob_(blob),
        views_(std::move(tree.tensors)),
        metadata_(std::move(tree.scalars)),
        places_(std::move(places)) {
    for (const TensorView& view : views_) tensors_.push_back(view.info);
  }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override {
    const TensorInfo* info = find(name);
    if (info == nullptr)
      fail(ErrorKind::not_found, "tensor \"{}\" is not in \"{}\"", name, description());
    const TensorView& view = view_of(*info);
    const ZipEntry& place = places_.at(view.storage);
    if (place.deflated) return read(view, Blob::of(unpack(blob_, place), description()), 0);
    return read(view, blob_, place.offset);
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return blob_.description(); }
  void release(std::string_view name) const override {
    if (const TensorInfo* info = find(name)) {
      const ZipEntry& place = places_.at(view_of(*info).storage);
      blob_.release(place.offset, place.stored_bytes);
    }
  }

 private:
  static Tensor read(const TensorView& view, const Blob& bytes, std::uint64_t begin) {
    if (!view.contiguous()) return gather(view, bytes, begin);
    return bytes.tensor_at(begin + view.offset * size_of(view.info.dtype), view.info.shape,
                           view.info.dtype);
  }
  const TensorView& view_of(const TensorInfo& info) const {
    return views_[static_cast<std::size_t>(&info - tensors_.data())];
  }

  Blob blob_;
  std::vector<TensorView> views_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, ZipEntry> places_;
};

const ZipEntry* find_entry(const std::vector<ZipEntry>& entries, const std::string& name) {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const ZipEntry& e) { return e.name == name; });
  return found == entries.end() ? nullptr : &*found;
}

/// The folder that data.pkl lies in, with its slash: torch names it after the file, or "archive/".
std::string archive_prefix(const std::vector<ZipEntry>& entries, const std::string& file) {
  constexpr std::string_view kPickle = "data.pkl";
  const ZipEntry* found = nullptr;
  for (const ZipEntry& entry : entries) {
    if (entry.name != kPickle && !entry.name.ends_with("/data.pkl")) continue;
    if (found != nullptr)
      fail(ErrorKind::bad_file, "\"{}\" holds two pickles, \"{}\" and \"{}\"", file, found->name,
           entry.name);
    found = &entry;
  }
  if (found == nullptr) {
    fail(ErrorKind::unsupported,
         "\"{}\" is a zip archive, but not one of torch.save: it has no data.pkl", file);
  }
  return found->name.substr(0, found->name.size() - kPickle.size());
}

void check_byte_order(const Blob& blob, const ZipEntry* entry) {
  if (entry == nullptr) return;  // files before torch 2.1 do not say
  if (entry->bytes > 16)
    fail(ErrorKind::bad_file, "\"{}\": the byteorder entry has {} bytes", blob.description(),
         entry->bytes);
  const std::vector<std::byte> bytes = unpack(blob, *entry);
  const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (order != "little") {
    fail(
        ErrorKind::unsupported,
        "\"{}\" was written by a machine with byte order \"{}\"; only little-endian files are read",
        blob.description(), order);
  }
}

void check_size(const std::string& file, const std::string& key, std::uint64_t declared,
                std::uint64_t found) {
  if (declared != found) {
    fail(ErrorKind::bad_file, "\"{}\": storage \"{}\" should have {} bytes, the file has {} ({})",
         file, key, declared, found,
         found < declared ? "bytes are missing; download or copy it again" : "more than declared");
  }
}

/// What a legacy file says about the machine that wrote it.
void check_legacy_system(const pickle::Document& system, const std::string& file) {
  const std::vector<pickle::NodeId>& items = system.top().items;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    const pickle::Node& value = system[items[i + 1]];
    if (system[items[i]].text == "little_endian" && value.kind == pickle::Kind::boolean &&
        value.integer == 0) {
      fail(ErrorKind::unsupported,
           "\"{}\" was written by a big-endian machine; only little-endian files are read", file);
    }
  }
}

/// The raw storages of a legacy file follow its pickles: each one's element count, then its bytes.
std::map<std::string, ZipEntry> locate_legacy(const Blob& blob, std::uint64_t at,
                                              const pickle::Document& keys,
                                              const std::map<std::string, StorageInfo>& storages) {
  const std::string& file = blob.description();
  if (keys.top().kind != pickle::Kind::list)
    fail(ErrorKind::bad_file, "\"{}\": the list of storages is damaged", file);
  std::map<std::string, ZipEntry> places;
  for (const pickle::NodeId id : keys.top().items) {
    const std::string key(keys[id].text.substr(0, 1024));
    const auto info = storages.find(key);
    if (info == storages.end())
      fail(ErrorKind::bad_file, "\"{}\": storage \"{}\" is not described in the pickle", file, key);
    const auto count = blob.read<std::uint64_t>(at, "a storage");
    at += sizeof(count);
    check_size(file, key, info->second.bytes / size_of(info->second.type), count);
    blob.bytes_at(at, info->second.bytes, "a storage");
    const ZipEntry place{
        .name = key, .offset = at, .stored_bytes = info->second.bytes, .bytes = info->second.bytes};
    if (!places.emplace(key, place).second)
      fail(ErrorKind::bad_file, "\"{}\": storage \"{}\" is listed twice", file, key);
    at += info->second.bytes;
  }
  return places;
}

}  // namespace

bool looks_like_zip(const Blob& blob) {
  return text_of(blob).starts_with(kZipMagic);
}

bool looks_like_legacy_torch(const Blob& blob) {
  const std::string_view begin = text_of(blob).substr(0, kLegacyMagicWithin);
  return begin.starts_with('\x80') && begin.find(kLegacyMagic) != std::string_view::npos;
}

std::shared_ptr<const Source> open_torch_zip(const Blob& blob) {
  const std::string& file = blob.description();
  const std::vector<ZipEntry> entries = read_zip_directory(blob);
  const std::string prefix = archive_prefix(entries, file);
  check_byte_order(blob, find_entry(entries, prefix + "byteorder"));
  const ZipEntry* pickle_entry = find_entry(entries, prefix + "data.pkl");
  if (pickle_entry->bytes > pickle::kMaxPickleBytes) {
    fail(ErrorKind::bad_file, "\"{}\": data.pkl has {} bytes, at most {} are read", file,
         pickle_entry->bytes, pickle::kMaxPickleBytes);
  }
  const std::vector<std::byte> bytes = unpack(blob, *pickle_entry);
  const pickle::Document document = pickle::parse(bytes, file);
  const std::map<std::string, StorageInfo> storages = storages_of(document, file);
  TensorTree tree = read_tensor_tree(document, storages, file);

  std::map<std::string, const ZipEntry*> by_name;
  for (const ZipEntry& entry : entries) by_name.emplace(entry.name, &entry);
  std::map<std::string, ZipEntry> places;
  for (const TensorView& view : tree.tensors) {
    if (places.contains(view.storage)) continue;
    const auto entry = by_name.find(prefix + "data/" + view.storage);
    if (entry == by_name.end()) {
      fail(ErrorKind::bad_file,
           "\"{}\": tensor \"{}\" needs storage \"{}\", which the archive lacks", file,
           view.info.name, view.storage);
    }
    check_size(file, view.storage, storages.at(view.storage).bytes, entry->second->bytes);
    places.emplace(view.storage, *entry->second);
  }
  return std::make_shared<TorchSource>(blob, std::move(tree), std::move(places));
}

std::shared_ptr<const Source> open_torch_legacy(const Blob& blob) {
  const std::string& file = blob.description();
  std::uint64_t at = 0;
  const auto next = [&] {
    pickle::Document document = pickle::parse(blob.bytes().subspan(at), file);
    at += document.length;
    return document;
  };
  next();  // the magic number
  const pickle::Document protocol = next();
  if (protocol.top().kind != pickle::Kind::integer || protocol.top().integer != kLegacyProtocol) {
    fail(ErrorKind::unsupported, "\"{}\": unknown version of torch's legacy container, expected {}",
         file, kLegacyProtocol);
  }
  check_legacy_system(next(), file);
  const pickle::Document document = next();
  const pickle::Document keys = next();
  const std::map<std::string, StorageInfo> storages = storages_of(document, file);
  TensorTree tree = read_tensor_tree(document, storages, file);
  std::map<std::string, ZipEntry> places = locate_legacy(blob, at, keys, storages);
  for (const TensorView& view : tree.tensors) {
    if (!places.contains(view.storage)) {
      fail(ErrorKind::bad_file, "\"{}\": tensor \"{}\" needs storage \"{}\", which the file lacks",
           file, view.info.name, view.storage);
    }
  }
  return std::make_shared<TorchSource>(blob, std::move(tree), std::move(places));
}

}  // namespace velatura::weights
