#include "tests/support/torch_file.h"

#include <zlib.h>

namespace velatura::testing {

namespace {

std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i, value >>= 8) text += static_cast<char>(value & 0xff);
  return text;
}

std::string deflated(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace

PickleText& PickleText::raw(std::string_view bytes) {
  bytes_ += bytes;
  return *this;
}
PickleText& PickleText::text(std::string_view value) {
  return raw("X").raw(little(value.size(), 4)).raw(value);
}
PickleText& PickleText::integer(std::int32_t value) {
  return raw("J").raw(little(static_cast<std::uint32_t>(value), 4));
}
PickleText& PickleText::global(std::string_view module, std::string_view name) {
  return raw("c").raw(module).raw("\n").raw(name).raw("\n");
}

PickleText& PickleText::tensor(const View& view) {
  global("torch._utils", "_rebuild_tensor_v2").mark();
  mark()
      .text("storage")
      .global("torch", view.type)
      .text(view.key)
      .text("cpu")
      .integer(view.count)
      .tuple()
      .raw("Q");
  integer(view.offset);
  for (const auto* list : {&view.shape, &view.strides}) {
    mark();
    for (const std::int32_t value : *list) integer(value);
    tuple();
  }
  return raw("\x89").global("collections", "OrderedDict").raw(")").reduce().tuple().reduce();
}

std::string zip(const std::vector<ZipFile>& files) {
  std::string body, directory;
  for (const ZipFile& file : files) {
    const std::string data = file.deflate ? deflated(file.bytes) : file.bytes;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(file.bytes.data()),
                           static_cast<uInt>(file.bytes.size()));
    const std::string common = little(20, 2) + little(0, 2) + little(file.deflate ? 8 : 0, 2) +
                               little(0, 4) + little(crc, 4) + little(data.size(), 4) +
                               little(file.bytes.size(), 4) + little(file.name.size(), 2) +
                               little(0, 2);
    directory += std::string("PK\x01\x02") + little(20, 2) + common + little(0, 2 + 2 + 2 + 4) +
                 little(body.size(), 4) + file.name;
    body += std::string("PK\x03\x04") + common + file.name + data;
  }
  return body + directory + std::string("PK\x05\x06") + little(0, 4) + little(files.size(), 2) +
         little(files.size(), 2) + little(directory.size(), 4) + little(body.size(), 4) +
         little(0, 2);
}

std::string legacy(const std::string& pickle,
                   const std::vector<std::pair<std::string, std::string>>& storages,
                   std::size_t element_size, bool little_endian) {
  PickleText head;
  head.proto().raw("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19").stop();
  head.proto().integer(1001).stop();
  head.proto()
      .dict()
      .mark()
      .text("little_endian")
      .raw(little_endian ? "\x88" : "\x89")
      .set_items()
      .stop();
  PickleText keys;
  keys.proto().raw("](");
  for (const auto& [key, data] : storages) keys.text(key);
  keys.raw("e").stop();
  std::string file = head.bytes() + pickle + keys.bytes();
  for (const auto& [key, data] : storages) file += little(data.size() / element_size, 8) + data;
  return file;
}

std::vector<std::byte> to_bytes(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

}  // namespace velatura::testing
