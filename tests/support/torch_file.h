// Builds files as torch.save writes them, honest and hostile, opcode by opcode. For tests and
// fuzzing seeds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace velatura::testing {

/// A pickle under construction; every method appends opcodes.
class PickleText {
 public:
  PickleText& raw(std::string_view bytes);
  PickleText& proto() { return raw("\x80\x02"); }
  PickleText& text(std::string_view value);
  PickleText& integer(std::int32_t value);
  PickleText& global(std::string_view module, std::string_view name);
  PickleText& mark() { return raw("("); }
  PickleText& tuple() { return raw("t"); }
  PickleText& dict() { return raw("}"); }
  PickleText& set_items() { return raw("u"); }  ///< after mark, key, value …
  PickleText& reduce() { return raw("R"); }
  PickleText& stop() { return raw("."); }
  /// torch._utils._rebuild_tensor_v2 of a storage.
  struct View {
    std::string key = "0";
    std::string type = "FloatStorage";
    std::int32_t count = 0;  ///< elements of the storage
    std::int32_t offset = 0;
    std::vector<std::int32_t> shape;
    std::vector<std::int32_t> strides;
  };
  PickleText& tensor(const View& view);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

struct ZipFile {
  std::string name;
  std::string bytes;
  bool deflate = false;
};
/// An archive; torch's own has "archive/data.pkl" and "archive/data/<key>".
std::string zip(const std::vector<ZipFile>& files);
/// A legacy file: magic, protocol, system, the pickle, the keys, then each storage with its element
/// count.
std::string legacy(const std::string& pickle,
                   const std::vector<std::pair<std::string, std::string>>& storages,
                   std::size_t element_size, bool little_endian = true);

std::vector<std::byte> to_bytes(std::string_view text);

}  // namespace velatura::testing
