// The entries of a zip archive inside a Blob (PKWARE APPNOTE 6.3, with zip64), as far as torch.save
// and its rewriters use it: stored or deflated, not encrypted, one disk. Own code because stored
// entries are handed out in place, and libzip does not tell where an entry's bytes begin.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "weights/blob.h"

namespace velatura::weights {

struct ZipEntry {
  std::string name;
  std::uint64_t offset = 0;        ///< of its data in the blob
  std::uint64_t stored_bytes = 0;  ///< as they lie in the file
  std::uint64_t bytes = 0;         ///< unpacked; equal to stored_bytes unless deflated
  std::uint32_t crc32 = 0;
  bool deflated = false;
};

/// All entries, in the directory's order. Throws bad_file when the directory is damaged, names
/// repeat, or entries overlap (the classic archive bomb); unsupported for other compression methods
/// and encryption.
std::vector<ZipEntry> read_zip_directory(const Blob& blob);

/// The unpacked bytes of `entry`. A deflated entry is checked against its size and CRC; memory is
/// bounded by the size in the directory, which is refused where deflate cannot reach it from the
/// stored bytes.
std::vector<std::byte> unpack(const Blob& blob, const ZipEntry& entry);

}  // namespace velatura::weights
