#include "weights/formats/zip_directory.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string_view>

#include "base/error.h"

namespace velatura::weights {

namespace {

// Signatures and fixed sizes of the records, APPNOTE 4.3.
constexpr std::uint32_t kLocalSignature = 0x04034b50, kCentralSignature = 0x02014b50,
                        kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50, kLocator64Signature = 0x07064b50;
constexpr std::uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kLocator64Bytes = 20;
constexpr std::uint16_t kZip64Field = 0x0001, kMethodStored = 0, kMethodDeflated = 8;
constexpr std::uint32_t kIn64 = 0xffffffffu;
/// Deflate turns one bit into at most 258 bytes; zlib's documentation gives 1032:1.
constexpr std::uint64_t kMaxDeflateRatio = 1032;
constexpr std::uint64_t kMaxEntries = 1'000'000;

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t count = 0;
};

std::uint64_t find_end_record(const Blob& blob) {
  constexpr std::uint64_t kMaxComment = 0xffff;
  if (blob.size() >= kEndBytes) {
    const std::uint64_t last = blob.size() - kEndBytes;
    const std::uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
    for (std::uint64_t at = last + 1; at-- > first;) {
      if (blob.read<std::uint32_t>(at, "the zip directory") == kEndSignature &&
          at + kEndBytes + blob.read<std::uint16_t>(at + 20, "the zip comment") == blob.size()) {
        return at;
      }
    }
  }
  fail(ErrorKind::bad_file,
       "\"{}\" is truncated: it begins as a zip archive, but the directory at its end is missing; "
       "download or copy it "
       "again",
       blob.description());
}

Directory find_directory(const Blob& blob) {
  constexpr const char* kWhat = "the zip directory";
  const std::uint64_t end = find_end_record(blob);
  Directory directory{.offset = blob.read<std::uint32_t>(end + 16, kWhat),
                      .bytes = blob.read<std::uint32_t>(end + 12, kWhat),
                      .count = blob.read<std::uint16_t>(end + 10, kWhat)};
  std::uint64_t limit = end;
  if (end >= kLocator64Bytes &&
      blob.read<std::uint32_t>(end - kLocator64Bytes, kWhat) == kLocator64Signature) {
    const auto at = blob.read<std::uint64_t>(end - kLocator64Bytes + 8, kWhat);
    if (blob.bytes_at(at, 56, kWhat).empty() ||
        blob.read<std::uint32_t>(at, kWhat) != kEnd64Signature) {
      fail(ErrorKind::bad_file, "\"{}\": the zip64 directory is not where its locator points",
           blob.description());
    }
    directory = {.offset = blob.read<std::uint64_t>(at + 48, kWhat),
                 .bytes = blob.read<std::uint64_t>(at + 40, kWhat),
                 .count = blob.read<std::uint64_t>(at + 32, kWhat)};
    limit = at;
  }
  if (directory.offset > limit || directory.bytes > limit - directory.offset ||
      directory.count > kMaxEntries || directory.count > directory.bytes / kCentralBytes) {
    fail(ErrorKind::bad_file,
         "\"{}\": the zip directory claims {} entries in {} bytes at {}, which the file of {} "
         "bytes does not hold",
         blob.description(), directory.count, directory.bytes, directory.offset, blob.size());
  }
  return directory;
}

/// 64-bit values stand in an extra field, in this order, only where the 32-bit field is all ones.
void read_zip64_field(const Blob& blob, std::uint64_t at, std::uint64_t end, ZipEntry& entry,
                      std::uint64_t& local) {
  while (end - at >= 4) {
    const auto id = blob.read<std::uint16_t>(at, "a zip field");
    const auto length = blob.read<std::uint16_t>(at + 2, "a zip field");
    at += 4;
    if (length > end - at) break;
    if (id == kZip64Field) {
      std::uint64_t field = at;
      for (std::uint64_t* value : {&entry.bytes, &entry.stored_bytes, &local}) {
        if (*value != kIn64) continue;
        if (at + length - field < 8) break;
        *value = blob.read<std::uint64_t>(field, "a zip64 field");
        field += 8;
      }
      return;
    }
    at += length;
  }
}

/// The central directory names the local header; the data begins after that one's own name and
/// extra field.
void locate_data(const Blob& blob, const Directory& directory, std::uint64_t local,
                 ZipEntry& entry) {
  const std::string& file = blob.description();
  if (local > directory.offset || directory.offset - local < kLocalBytes ||
      blob.read<std::uint32_t>(local, "a zip entry") != kLocalSignature) {
    fail(ErrorKind::bad_file, "\"{}\": zip entry \"{}\" does not begin at {} as the directory says",
         file, entry.name, local);
  }
  const auto name_bytes = blob.read<std::uint16_t>(local + 26, "a zip entry");
  const auto extra_bytes = blob.read<std::uint16_t>(local + 28, "a zip entry");
  entry.offset = local + kLocalBytes + name_bytes + extra_bytes;
  if (entry.offset > directory.offset || entry.stored_bytes > directory.offset - entry.offset) {
    fail(ErrorKind::bad_file,
         "\"{}\": zip entry \"{}\" of {} bytes at {} reaches into the directory at {}", file,
         entry.name, entry.stored_bytes, entry.offset, directory.offset);
  }
  const std::span<const std::byte> name =
      blob.bytes_at(local + kLocalBytes, name_bytes, "a zip entry");
  if (std::string_view(reinterpret_cast<const char*>(name.data()), name.size()) != entry.name) {
    fail(ErrorKind::bad_file, "\"{}\": zip entry \"{}\" has another name in its own header", file,
         entry.name);
  }
}

void check_entries(const std::vector<ZipEntry>& entries, const std::string& file) {
  std::set<std::string_view> names;
  std::vector<const ZipEntry*> order;
  for (const ZipEntry& entry : entries) {
    if (!names.insert(entry.name).second)
      fail(ErrorKind::bad_file, "\"{}\": zip entry \"{}\" appears twice", file, entry.name);
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const ZipEntry* a, const ZipEntry* b) {
    return std::pair(a->offset, a->stored_bytes) < std::pair(b->offset, b->stored_bytes);
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->offset + order[i - 1]->stored_bytes > order[i]->offset) {
      fail(ErrorKind::bad_file, "\"{}\": zip entries \"{}\" and \"{}\" overlap", file,
           order[i - 1]->name, order[i]->name);
    }
  }
}

}  // namespace

std::vector<ZipEntry> read_zip_directory(const Blob& blob) {
  constexpr const char* kWhat = "the zip directory";
  const Directory directory = find_directory(blob);
  std::vector<ZipEntry> entries;
  std::uint64_t at = directory.offset;
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    if (blob.read<std::uint32_t>(at, kWhat) != kCentralSignature) {
      fail(ErrorKind::bad_file, "\"{}\": entry {} of the zip directory is damaged",
           blob.description(), i);
    }
    ZipEntry entry;
    const auto flags = blob.read<std::uint16_t>(at + 8, kWhat);
    const auto method = blob.read<std::uint16_t>(at + 10, kWhat);
    entry.crc32 = blob.read<std::uint32_t>(at + 16, kWhat);
    entry.stored_bytes = blob.read<std::uint32_t>(at + 20, kWhat);
    entry.bytes = blob.read<std::uint32_t>(at + 24, kWhat);
    const auto name_bytes = blob.read<std::uint16_t>(at + 28, kWhat);
    const auto extra_bytes = blob.read<std::uint16_t>(at + 30, kWhat);
    const auto comment_bytes = blob.read<std::uint16_t>(at + 32, kWhat);
    std::uint64_t local = blob.read<std::uint32_t>(at + 42, kWhat);
    const std::span<const std::byte> name = blob.bytes_at(at + kCentralBytes, name_bytes, kWhat);
    entry.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
    const std::uint64_t extra = at + kCentralBytes + name_bytes;
    blob.bytes_at(extra, extra_bytes, kWhat);
    read_zip64_field(blob, extra, extra + extra_bytes, entry, local);
    if ((flags & 1) != 0 || (method != kMethodStored && method != kMethodDeflated)) {
      fail(ErrorKind::unsupported,
           "\"{}\": zip entry \"{}\" is encrypted or packed by method {}; only stored and deflated "
           "entries are read",
           blob.description(), entry.name, method);
    }
    entry.deflated = method == kMethodDeflated;
    locate_data(blob, directory, local, entry);
    if (entry.deflated ? entry.bytes / kMaxDeflateRatio > entry.stored_bytes
                       : entry.bytes != entry.stored_bytes) {
      fail(ErrorKind::bad_file, "\"{}\": zip entry \"{}\" claims to unpack {} bytes into {}",
           blob.description(), entry.name, entry.stored_bytes, entry.bytes);
    }
    entries.push_back(std::move(entry));
    at = extra + extra_bytes + comment_bytes;
  }
  check_entries(entries, blob.description());
  return entries;
}

std::vector<std::byte> unpack(const Blob& blob, const ZipEntry& entry) {
  const std::span<const std::byte> packed =
      blob.bytes_at(entry.offset, entry.stored_bytes, "a zip entry");
  if (!entry.deflated) return {packed.begin(), packed.end()};
  // zlib refuses a null destination, which an empty vector has.
  std::vector<std::byte> bytes(std::max<std::uint64_t>(entry.bytes, 1));
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    fail(ErrorKind::out_of_memory, "zlib cannot be started");
  std::uint64_t taken = 0, made = 0;
  int status = Z_OK;
  while (status == Z_OK) {  // zlib counts in 32 bits, so large entries go in pieces
    constexpr std::uint64_t kPiece = std::numeric_limits<uInt>::max();
    const auto in = static_cast<uInt>(std::min(kPiece, packed.size() - taken));
    const auto out = static_cast<uInt>(std::min(kPiece, entry.bytes - made));
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data() + taken));
    stream.avail_in = in;
    stream.next_out = reinterpret_cast<Bytef*>(bytes.data() + made);
    stream.avail_out = out;
    status = inflate(&stream, Z_NO_FLUSH);
    taken += in - stream.avail_in;
    made += out - stream.avail_out;
    if (status == Z_OK && in == stream.avail_in && out == stream.avail_out) status = Z_BUF_ERROR;
  }
  inflateEnd(&stream);
  bytes.resize(entry.bytes);
  if (status != Z_STREAM_END || made != bytes.size() ||
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()) != entry.crc32) {
    fail(ErrorKind::bad_file,
         "\"{}\": zip entry \"{}\" is damaged: it does not unpack into its {} bytes",
         blob.description(), entry.name, entry.bytes);
  }
  return bytes;
}

}  // namespace velatura::weights
