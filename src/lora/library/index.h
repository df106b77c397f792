// What the library has read, kept in an SQLite file: records by path, size and time, and hashes,
// which outlive the record of a file that is gone for a while. The index saves time and nothing
// hangs on it: one that is damaged, of another version or not writable is replaced, by an empty one
// or by one in memory, and a note says so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::lora::library {

/// When two are equal, the file has not changed as far as anyone can tell without reading it.
struct Stamp {
  std::uint64_t bytes = 0;
  std::int64_t changed = 0;    ///< nanoseconds since 1970
  std::uint64_t sidecars = 0;  ///< over names, sizes and times of what lies beside it
  bool operator==(const Stamp&) const = default;
};

enum class HashKind { sha256, auto_v1, auto_v3 };

/// Thread-safe, also between processes (write-ahead log; a writer waits for another up to 5 s, and
/// gives up with a note).
class Index {
 public:
  /// An empty path: in memory. Creates the folder.
  explicit Index(const std::filesystem::path& path);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  struct Record {
    std::string path;
    Stamp stamp;
    std::string bytes;
  };
  using OnRecord = std::function<void(std::string_view path, const Stamp&, std::string_view bytes)>;
  /// Every record; the views live until the call returns.
  void each_record(const OnRecord& on_record);
  void put(std::span<const Record> records);
  void remove(std::span<const std::string> paths);

  struct Hash {
    std::string path;
    HashKind kind = HashKind::sha256;
    std::uint64_t bytes = 0;
    std::int64_t changed = 0;
    std::string hex;
  };
  void each_hash(const std::function<void(const Hash&)>& on_hash);
  void put_hashes(std::span<const Hash> hashes);

  /// What happened to the file since the last call, for people.
  std::vector<std::string> take_notes();

 private:
  struct Connection;
  class Statement;
  void open();
  void open_when_free();
  void open_in_memory(const std::string& why);
  /// Runs `work`; on a damaged file starts anew and runs it again, on other failures leaves a note.
  void guarded(const char* doing, const std::function<void()>& work);
  void replace_damaged(const std::string& why);

  std::filesystem::path path_;
  std::mutex mutex_;  ///< guards all below
  std::unique_ptr<Connection> connection_;
  std::vector<std::string> notes_;
};

}  // namespace velatura::lora::library
