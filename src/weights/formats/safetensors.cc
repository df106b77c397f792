#include "weights/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "base/error.h"
#include "base/json_events.h"

namespace velatura::weights {

static_assert(std::endian::native == std::endian::little,
              "safetensors are little-endian and read in place");

namespace {

constexpr std::uint64_t kPrefixBytes = 8;
/// The reference library's own limit.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

struct Entry {
  TensorInfo info;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

std::optional<DType> dtype_from(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, DType>, 12> kTypes = {
      {{"F64", DType::f64},
       {"F32", DType::f32},
       {"F16", DType::f16},
       {"BF16", DType::bf16},
       {"F8_E4M3", DType::f8_e4m3},
       {"F8_E5M2", DType::f8_e5m2},
       {"I64", DType::i64},
       {"I32", DType::i32},
       {"I16", DType::i16},
       {"I8", DType::i8},
       {"U8", DType::u8},
       {"BOOL", DType::boolean}}};
  for (const auto& [spelling, type] : kTypes) {
    if (spelling == name) return type;
  }
  return std::nullopt;
}

/// Walks the header's JSON event by event, so that nothing but the entries is ever held and nesting
/// is bounded by the grammar: object of objects of scalars or flat arrays of integers.
class HeaderReader : public JsonEvents {
 public:
  HeaderReader(const std::string& file, std::size_t header_bytes) : file_(file) {
    // An entry takes some 128 characters; a header may also be one text of metadata.
    constexpr std::size_t kEntryBytes = 128, kMostExpected = 4096;
    entries.reserve(std::min(header_bytes / kEntryBytes, kMostExpected));
  }

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  void null() override { scalar("null"); }
  void boolean(bool value) override { scalar(value ? "true" : "false"); }
  void whole_number(std::uint64_t value) override {
    if (!in_array_) return scalar(std::to_string(value));
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      refuse(fmt::format("holds a number beyond 63 bits in {}", field_));
    }
    if (numbers_.size() == Shape::kMaxRank)
      refuse(fmt::format("has more than {} numbers in {}", Shape::kMaxRank, field_));
    numbers_.push_back(static_cast<std::int64_t>(value));
  }
  void other_number(std::string_view text) override {
    if (in_array_ && text.starts_with('-'))
      refuse(fmt::format("holds the negative number {}", text));
    scalar(std::string(text));
  }
  void string(const std::string& value) override { scalar(value); }

  void begin_object() override {
    if (++depth_ > 2 || in_array_) refuse("nests deeper than a safetensors header does");
    if (depth_ == 2 && !in_metadata()) {
      entries.emplace_back().info.name = outer_key_;
      have_ = {};
    }
  }
  void key(const std::string& name) override {
    if (depth_ == 1) {
      outer_key_ = name;
      if (in_metadata() && std::exchange(seen_metadata_, true)) refuse("appears twice");
    }
    field_ = name;
  }
  void end_object() override {
    if (depth_-- == 2 && !in_metadata()) {
      if (!have_.dtype || !have_.shape || !have_.offsets)
        refuse("lacks one of dtype, shape, data_offsets");
    }
  }
  void begin_array() override {
    if (depth_ != 2 || in_array_ || in_metadata()) refuse("holds a list where none belongs");
    in_array_ = true;
    numbers_.clear();
  }
  void end_array() override {
    in_array_ = false;
    Entry& entry = entries.back();
    if (field_ == "shape") {
      once(have_.shape);
      entry.info.shape = checked_shape();
    } else if (field_ == "data_offsets") {
      once(have_.offsets);
      if (numbers_.size() != 2)
        refuse(fmt::format("has {} data_offsets instead of 2", numbers_.size()));
      entry.begin = static_cast<std::uint64_t>(numbers_[0]);
      entry.end = static_cast<std::uint64_t>(numbers_[1]);
    }
  }

 private:
  struct Have {
    bool dtype = false, shape = false, offsets = false;
  };

  bool in_metadata() const { return outer_key_ == "__metadata__"; }

  void scalar(const std::string& text) {
    if (depth_ < 2) refuse("is not an object");
    if (in_metadata()) {
      if (!metadata.emplace(field_, text).second)
        refuse(fmt::format("has the key \"{}\" twice", field_));
      return;
    }
    if (in_array_)
      refuse(fmt::format("holds \"{}\" in {}, which takes whole numbers", text, field_));
    if (field_ == "dtype") {
      once(have_.dtype);
      const std::optional<DType> type = dtype_from(text);
      if (!type) {
        fail(ErrorKind::unsupported,
             "\"{}\": tensor \"{}\" has the element type \"{}\", which is not supported", file_,
             outer_key_, text);
      }
      entries.back().info.dtype = *type;
    } else if (field_ == "shape" || field_ == "data_offsets") {
      refuse(fmt::format("has {} that is not a list", field_));
    }
  }
  Shape checked_shape() const {
    try {
      const Shape shape(numbers_);
      shape.count();
      return shape;
    } catch (const Error& error) {
      refuse(fmt::format("has an impossible shape: {}", error.what()));
    }
  }
  void once(bool& have) {
    if (std::exchange(have, true)) refuse(fmt::format("has the field {} twice", field_));
  }
  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorKind::bad_file, "\"{}\": entry \"{}\" of the safetensors header {}", file_,
         outer_key_, what);
  }

  const std::string& file_;
  int depth_ = 0;
  bool in_array_ = false;
  bool seen_metadata_ = false;
  std::string outer_key_;
  std::string field_;
  std::vector<std::int64_t> numbers_;
  Have have_;
};

class SafetensorsSource : public Source {
 public:
  SafetensorsSource(const Blob& blob, std::vector<Entry> entries,
                    std::map<std::string, std::string> metadata, std::uint64_t data_begin)
      : blob_(blob), metadata_(std::move(metadata)) {
    tensors_.reserve(entries.size());
    offsets_.reserve(entries.size());
    for (Entry& entry : entries) {
      tensors_.push_back(std::move(entry.info));
      offsets_.push_back(data_begin + entry.begin);
    }
  }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override {
    const TensorInfo* info = find(name);
    if (info == nullptr)
      fail(ErrorKind::not_found, "tensor \"{}\" is not in \"{}\"", name, description());
    return blob_.tensor_at(offset_of(*info), info->shape, info->dtype);
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return blob_.description(); }
  void release(std::string_view name) const override {
    if (const TensorInfo* info = find(name)) {
      blob_.release(offset_of(*info),
                    static_cast<std::uint64_t>(info->shape.count()) * size_of(info->dtype));
    }
  }

 private:
  std::uint64_t offset_of(const TensorInfo& info) const {
    return offsets_[static_cast<std::size_t>(&info - tensors_.data())];
  }
  Blob blob_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::uint64_t> offsets_;
};

void check_names(const std::vector<Entry>& entries, const std::string& file) {
  const auto out_of_order = [](const Entry& a, const Entry& b) {
    return a.info.name >= b.info.name;
  };
  // As the reference library writes those of one type.
  if (std::adjacent_find(entries.begin(), entries.end(), out_of_order) == entries.end()) return;
  // By hash first: the names of one file begin alike, and comparing them takes long.
  std::vector<std::pair<std::size_t, std::string_view>> names;
  names.reserve(entries.size());
  for (const Entry& entry : entries)
    names.emplace_back(std::hash<std::string_view>()(entry.info.name), entry.info.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    fail(ErrorKind::bad_file, "\"{}\": tensor \"{}\" appears twice", file, twice->second);
}

/// Every tensor begins where the one before ends, and the last ends where the file does.
void check_layout(const std::vector<Entry>& entries, std::uint64_t data_bytes,
                  const std::string& file) {
  std::vector<const Entry*> order;
  order.reserve(entries.size());
  for (const Entry& entry : entries) order.push_back(&entry);
  const auto lies_before = [](const Entry* a, const Entry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  };
  if (!std::is_sorted(order.begin(), order.end(), lies_before))
    std::sort(order.begin(), order.end(), lies_before);
  std::uint64_t end = 0;
  for (const Entry* entry : order) {
    const std::string& name = entry->info.name;
    if (entry->begin != end || entry->end < entry->begin) {
      fail(ErrorKind::bad_file,
           "\"{}\": tensor \"{}\" lies at [{}, {}), expected to begin at {} ({})", file, name,
           entry->begin, entry->end, end,
           entry->begin < end ? "it overlaps another" : "a hole or a reversed range");
    }
    std::uint64_t bytes = 0;
    if (__builtin_mul_overflow(static_cast<std::uint64_t>(entry->info.shape.count()),
                               size_of(entry->info.dtype), &bytes) ||
        bytes != entry->end - entry->begin) {
      fail(ErrorKind::bad_file,
           "\"{}\": tensor \"{}\" of shape {} and type {} does not fill its range of {} bytes",
           file, name, entry->info.shape.to_string(), to_string(entry->info.dtype),
           entry->end - entry->begin);
    }
    end = entry->end;
  }
  if (end > data_bytes) {
    fail(ErrorKind::bad_file,
         "\"{}\" is truncated: its header describes {} bytes of tensors, {} bytes are missing; "
         "download or copy it again",
         file, end, end - data_bytes);
  }
  if (end < data_bytes) {
    fail(ErrorKind::bad_file,
         "\"{}\" has {} after its last tensor that its header does not describe", file,
         fmt::format("{} byte{}", data_bytes - end, data_bytes - end == 1 ? "" : "s"));
  }
}

}  // namespace

bool looks_like_safetensors(const Blob& blob) {
  if (blob.size() <= kPrefixBytes) return false;
  return blob.read<std::uint64_t>(0, "the header length") <= kMaxHeaderBytes &&
         blob.bytes()[kPrefixBytes] == std::byte{'{'};
}

std::shared_ptr<const Source> open_safetensors(const Blob& blob) {
  return open_safetensors_header(blob, blob.size());
}

std::shared_ptr<const Source> open_safetensors_header(const Blob& blob, std::uint64_t file_bytes) {
  const std::string& file = blob.description();
  const auto header_bytes = blob.read<std::uint64_t>(0, "the header length");
  if (header_bytes > kMaxHeaderBytes) {
    fail(ErrorKind::bad_file,
         "\"{}\": the safetensors header claims {} bytes, at most {} are allowed, and the file has "
         "{}; download or copy it again",
         file, header_bytes, kMaxHeaderBytes, file_bytes);
  }
  const std::span<const std::byte> header =
      blob.bytes_at(kPrefixBytes, header_bytes, "the safetensors header");
  HeaderReader reader(file, header.size());
  const std::size_t stopped =
      read_json({reinterpret_cast<const char*>(header.data()), header.size()}, reader);
  if (stopped != kWholeJson) {
    fail(ErrorKind::bad_file,
         "\"{}\": the safetensors header is not valid JSON (at byte {} of the header)", file,
         stopped);
  }
  check_names(reader.entries, file);
  const std::uint64_t data_begin = kPrefixBytes + header_bytes;
  check_layout(reader.entries, file_bytes - std::min(data_begin, file_bytes), file);
  return std::make_shared<SafetensorsSource>(blob, std::move(reader.entries),
                                             std::move(reader.metadata), data_begin);
}

}  // namespace velatura::weights
