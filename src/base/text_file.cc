#include "base/text_file.h"

#include "base/error.h"
#include "base/mapped_file.h"

namespace velatura {

std::string read_text(const std::filesystem::path& path, std::uint64_t most) {
  const auto file = MappedFile::open(path);
  if (file->bytes().size() > most) {
    fail(ErrorKind::bad_file, "\"{}\" has {} bytes; a text of at most {} is expected",
         path.string(), file->bytes().size(), most);
  }
  return {reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()};
}

bool is_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

}  // namespace velatura
