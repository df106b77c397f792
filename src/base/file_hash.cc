#include "base/file_hash.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/sha256.h"

namespace velatura {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kLegacyStart = 0x100000;
constexpr std::uintmax_t kLegacySize = 0x10000;
constexpr std::size_t kBlock =
    std::size_t{4} << 20;  // some 10 ms at 0.4 GB/s, SHA-256 without instructions for it
constexpr std::string_view kFirstLine = "velatura hashes 1";
/// 100 000 entries of long paths; more is not ours.
constexpr std::uintmax_t kLargestMemory = std::uintmax_t{64} << 20;

char letter_of(HashedPart part) {
  switch (part) {
    case HashedPart::whole:
      return 'w';
    case HashedPart::data:
      return 'd';
    case HashedPart::legacy:
      return 'l';
  }
  return '?';
}

/// Reads by plain reads, not by mapping: a mapped 2 GB file counts as resident memory of the
/// process.
class Input {
 public:
  explicit Input(const fs::path& path) : path_(path) {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) {
      fail(ErrorKind::not_found, "cannot hash \"{}\": there is no such file", path.string());
    }
    size_ = fs::file_size(path, error);
    stream_.rdbuf()->pubsetbuf(nullptr, 0);  // blocks are large; a second buffer would only copy
    stream_.open(path, std::ios::binary);
    if (error || !stream_)
      fail(ErrorKind::io, "cannot read \"{}\": {}", path.string(), std::strerror(errno));
  }

  std::uintmax_t size() const { return size_; }

  /// Bytes from `offset`, as many as `buffer` takes or there are.
  std::span<const std::byte> read(std::uintmax_t offset, std::span<std::byte> buffer) {
    stream_.clear();
    stream_.seekg(static_cast<std::streamoff>(offset));
    stream_.read(reinterpret_cast<char*>(buffer.data()),
                 static_cast<std::streamsize>(buffer.size()));
    if (stream_.bad())
      fail(ErrorKind::io, "cannot read \"{}\": {}", path_.string(), std::strerror(errno));
    return buffer.first(static_cast<std::size_t>(stream_.gcount()));
  }

 private:
  fs::path path_;
  std::ifstream stream_;
  std::uintmax_t size_ = 0;
};

/// Where the tensor data of a safetensors file begins: 8 bytes of length, then that much JSON. 0
/// for other files.
std::uintmax_t data_start(Input& input) {
  std::vector<std::byte> head(9);
  const std::span<const std::byte> bytes = input.read(0, head);
  if (bytes.size() < 9 || bytes[8] != std::byte{'{'}) return 0;
  std::uintmax_t length = 0;
  for (std::size_t i = 8; i-- > 0;)
    length = (length << 8) | std::to_integer<std::uintmax_t>(bytes[i]);
  return length <= input.size() - 8 ? length + 8 : 0;
}

/// The next field of a line of the memory, up to a tab.
std::string_view take_field(std::string_view& line) {
  const std::size_t end = std::min(line.find('\t'), line.size());
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return field;
}

template <typename Integer>
bool parse_integer(std::string_view text, Integer& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop == text.data() + text.size();
}

bool is_hash(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

std::string hash_file(const fs::path& path, HashedPart part, const StopToken& stop) {
  Input input(path);
  std::uintmax_t at = 0;
  std::uintmax_t end = input.size();
  if (part == HashedPart::data) at = data_start(input);
  if (part == HashedPart::legacy) {
    at = std::min(kLegacyStart, end);
    end = std::min(kLegacyStart + kLegacySize, end);
  }
  Sha256 digest;
  std::vector<std::byte> buffer(std::min<std::uintmax_t>(kBlock, end - at));
  while (at < end) {
    throw_if_stopped(stop);
    const auto wanted = static_cast<std::size_t>(std::min<std::uintmax_t>(buffer.size(), end - at));
    const std::span<const std::byte> bytes = input.read(at, std::span(buffer).first(wanted));
    if (bytes.empty())
      fail(ErrorKind::io, "\"{}\" became shorter while it was hashed", path.string());
    digest.update(bytes);
    at += bytes.size();
  }
  return digest.finish();
}

FileHashes::FileHashes(fs::path memory) : memory_(std::move(memory)) {}

fs::path FileHashes::default_memory() {
  const auto folder = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  // The XDG base directory specification: relative values are to be ignored.
  if (const fs::path cache = folder("XDG_CACHE_HOME"); cache.is_absolute())
    return cache / "velatura" / "hashes";
  if (const fs::path home = folder("HOME"); home.is_absolute())
    return home / ".cache" / "velatura" / "hashes";
  return {};
}

void FileHashes::read_memory() {
  is_read_ = true;
  std::error_code error;
  if (memory_.empty() || fs::file_size(memory_, error) > kLargestMemory || error) return;
  std::ifstream stream(memory_, std::ios::binary);
  std::string text;
  if (!std::getline(stream, text) || text != kFirstLine) return;
  while (std::getline(stream, text)) {
    std::string_view line = text;
    Entry entry{};
    const std::string_view part = take_field(line);
    const bool is_size = parse_integer(take_field(line), entry.size);
    const bool is_time = parse_integer(take_field(line), entry.changed);
    entry.hash = take_field(line);
    if (part.size() == 1 && is_size && is_time && is_hash(entry.hash) && !line.empty()) {
      // What this process found out itself is newer.
      entries_.emplace(Key(line, part[0]), std::move(entry));
    }
  }
}

void FileHashes::remember(const Key& key, const Entry& entry) {
  const std::lock_guard lock(mutex_);
  entries_.insert_or_assign(key, entry);
  if (memory_.empty()) return;
  read_memory();  // other processes' entries since
  std::string text = fmt::format("{}\n", kFirstLine);
  for (const auto& [place, known] : entries_) {
    const auto& [path, part] = place;
    if (path.find('\n') != std::string::npos) continue;
    text += fmt::format("{}\t{}\t{}\t{}\t{}\n", part, known.size, known.changed, known.hash, path);
  }
  std::error_code error;
  fs::create_directories(memory_.parent_path(), error);
  try {
    write_file_atomically(memory_, std::as_bytes(std::span(text)));
  } catch (const Error&) {
    // A read-only or full home only means that the next run computes the hash again.
  }
}

std::optional<std::string> FileHashes::find(const fs::path& path, HashedPart part) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail(ErrorKind::not_found, "cannot hash \"{}\": {}", path.string(), error.message());
  const auto changed =
      static_cast<std::intmax_t>(fs::last_write_time(path, error).time_since_epoch().count());
  const std::lock_guard lock(mutex_);
  if (!is_read_) read_memory();
  const auto found =
      entries_.find(Key(fs::absolute(path).lexically_normal().string(), letter_of(part)));
  if (found == entries_.end() || found->second.size != size || found->second.changed != changed)
    return std::nullopt;
  return found->second.hash;
}

std::string FileHashes::get(const fs::path& path, HashedPart part, const StopToken& stop) {
  if (std::optional<std::string> known = find(path, part)) return *std::move(known);
  // Looked at before and after: a file that changed under our hands is answered but not remembered.
  const auto look = [&] {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path, error);
    return std::pair(size, static_cast<std::intmax_t>(
                               fs::last_write_time(path, error).time_since_epoch().count()));
  };
  const auto before = look();
  std::string hash = hash_file(path, part, stop);
  if (look() == before) {
    remember(Key(fs::absolute(path).lexically_normal().string(), letter_of(part)),
             Entry{before.first, before.second, hash});
  }
  return hash;
}

std::string FileHashes::auto_v2(const fs::path& path, const StopToken& stop) {
  return get(path, HashedPart::whole, stop).substr(0, 10);
}

std::string FileHashes::auto_v3(const fs::path& path, const StopToken& stop) {
  return get(path, HashedPart::data, stop).substr(0, 12);
}

std::string FileHashes::legacy(const fs::path& path, const StopToken& stop) {
  return get(path, HashedPart::legacy, stop).substr(0, 8);
}

}  // namespace velatura
