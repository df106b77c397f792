// The hashes by which programs name weight files, and their memory on disk: hashing 2 GB takes
// about a second at best, and a file rarely changes. Not here: hashes that files state about
// themselves.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "base/stop_token.h"

namespace velatura {

/// Which bytes are hashed.
enum class HashedPart {
  whole,   ///< the file: 64 digits; AutoV2 is the first 10
  data,    ///< a safetensors file from the end of its header, so edited metadata keep it; else the
           ///< whole file, as web UIs do. 64 digits; AutoV3 is the first 12
  legacy,  ///< 0x10000 bytes from 0x100000 on (of a shorter file what there is, maybe nothing)
};

/// SHA-256 of that part, 64 lower-case hex digits. Streams the file.
/// Throws not_found / io, and cancelled within some 10 ms of a stop.
std::string hash_file(const std::filesystem::path& path, HashedPart part,
                      const StopToken& stop = {});

/// Remembers hash_file() by path, size and time of change. Thread-safe, also between processes: the
/// file is replaced whole, and what two writers lose to each other is only computed again.
class FileHashes {
 public:
  /// `memory` is read when first needed and written after each new hash. A file that is damaged, of
  /// another version or cannot be written is ignored: the memory saves time and nothing hangs on
  /// it. An empty path keeps the memory in this object alone.
  explicit FileHashes(std::filesystem::path memory = default_memory());

  /// $XDG_CACHE_HOME/velatura/hashes, else $HOME/.cache/velatura/hashes; empty where neither is
  /// set.
  static std::filesystem::path default_memory();

  /// 64 hex digits. Throws as hash_file.
  std::string get(const std::filesystem::path& path, HashedPart part, const StopToken& stop = {});

  /// The remembered hash; nullopt when it would have to be computed. Throws not_found / io.
  std::optional<std::string> find(const std::filesystem::path& path, HashedPart part);

  /// First 10 digits of the whole file: the web UIs' "Model hash".
  std::string auto_v2(const std::filesystem::path& path, const StopToken& stop = {});
  /// First 12 digits of the data: the web UIs' "Lora hashes".
  std::string auto_v3(const std::filesystem::path& path, const StopToken& stop = {});
  /// First 8 digits of the legacy part.
  std::string legacy(const std::filesystem::path& path, const StopToken& stop = {});

 private:
  /// Absolute path and part.
  using Key = std::tuple<std::string, char>;
  struct Entry {
    std::uintmax_t size;
    std::intmax_t changed;
    std::string hash;
  };

  void read_memory();
  void remember(const Key& key, const Entry& entry);

  std::filesystem::path memory_;
  std::mutex mutex_;  ///< guards all below
  bool is_read_ = false;
  std::map<Key, Entry> entries_;
};

}  // namespace velatura
