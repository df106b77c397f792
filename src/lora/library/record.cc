#include "lora/library/record.h"

#include <cstring>
#include <type_traits>

namespace velatura::lora::library {

namespace {

template <typename T>
concept Number = std::is_arithmetic_v<T>;

class Writer {
 public:
  template <Number T>
  void operator()(const T& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void operator()(const std::string& text) {
    (*this)(static_cast<std::uint32_t>(text.size()));
    bytes.append(text);
  }
  template <typename T>
  void operator()(const std::optional<T>& value) {
    (*this)(static_cast<std::uint8_t>(value.has_value()));
    if (value) (*this)(*value);
  }
  template <typename T>
  void operator()(const std::vector<T>& list) {
    (*this)(static_cast<std::uint32_t>(list.size()));
    for (const T& element : list) (*this)(element);
  }
  void operator()(const SourcedText& value) { (*this)(value.text), (*this)(value.source); }
  void operator()(const TagCount& value) { (*this)(value.tag), (*this)(value.count); }
  void operator()(const BlockNumbers& value) { (*this)(value.kind), (*this)(value.numbers); }

  std::string bytes;
};

/// After a failure everything reads as empty.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  bool finished() const { return good_ && rest_.empty(); }

  template <Number T>
  void operator()(T& value) {
    if (const std::string_view bytes = take(sizeof value); good_)
      std::memcpy(&value, bytes.data(), sizeof value);
  }
  void operator()(std::string& text) { text = take(length()); }
  template <typename T>
  void operator()(std::optional<T>& value) {
    std::uint8_t present = 0;
    (*this)(present);
    if (present != 0) (*this)(value.emplace());
  }
  template <typename T>
  void operator()(std::vector<T>& list) {
    const std::uint32_t count = length();
    // Every element takes a byte at least: a false count cannot make us reserve more than that.
    good_ = good_ && count <= rest_.size();
    if (good_) list.reserve(count);
    for (std::uint32_t i = 0; good_ && i < count; ++i) (*this)(list.emplace_back());
  }
  void operator()(SourcedText& value) { (*this)(value.text), (*this)(value.source); }
  void operator()(TagCount& value) { (*this)(value.tag), (*this)(value.count); }
  void operator()(BlockNumbers& value) { (*this)(value.kind), (*this)(value.numbers); }

 private:
  std::uint32_t length() {
    std::uint32_t count = 0;
    (*this)(count);
    return count;
  }
  std::string_view take(std::size_t size) {
    good_ = good_ && size <= rest_.size();
    if (!good_) return {};
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  std::string_view rest_;
  bool good_ = true;
};

/// Each field once, for both directions.
template <typename Archive, typename Entry>
void each_field(Archive& field, Entry& entry) {
  field(entry.problem), field(entry.family), field(entry.family_evidence);
  field(entry.algorithms), field(entry.modules), field(entry.tensors), field(entry.parameters);
  field(entry.min_rank), field(entry.max_rank), field(entry.common_rank);
  field(entry.network_alpha), field(entry.targets), field(entry.blocks), field(entry.types);
  field(entry.title), field(entry.output_name), field(entry.base_model), field(entry.author);
  field(entry.description), field(entry.notes), field(entry.negative_text);
  field(entry.trigger_words), field(entry.trigger_candidates), field(entry.frequent_tags);
  field(entry.tags), field(entry.recommended_weight), field(entry.min_weight);
  field(entry.max_weight), field(entry.text_weight), field(entry.weight_source);
  field(entry.previews), field(entry.claimed_hashes);
}

}  // namespace

std::string encode_record(const LibraryEntry& entry) {
  Writer writer;
  each_field(writer, entry);
  return std::move(writer.bytes);
}

bool decode_record(std::string_view bytes, LibraryEntry& entry) {
  Reader reader(bytes);
  each_field(reader, entry);
  return reader.finished();
}

}  // namespace velatura::lora::library
