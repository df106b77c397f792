// Adapters of one model that stay bound between jobs, by what they contain. Not here: finding files
// by name, the models (engine/).
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "lora/bind/bind.h"

namespace velatura::lora {

/// Least recently used first out, beyond `most_bytes` of tensors; the one asked for stays, however
/// large. Files of equal content are one adapter, under whatever names: it goes by the name of the
/// first. Thread-safe; one that is being opened holds up others.
class AdapterCache {
 public:
  static constexpr std::uintmax_t kMostBytes = std::uintmax_t{1} << 30;
  explicit AdapterCache(std::uintmax_t most_bytes = kMostBytes) : most_bytes_(most_bytes) {}

  /// `path` (a file, or a folder that PEFT saved) bound to the model. Opened again where its size
  /// or time changed, or that of the configuration beside it. All calls name the same model;
  /// clear() before another. Throws what AdapterFile::open and bind throw.
  std::shared_ptr<const BoundAdapter> get(const std::filesystem::path& path,
                                          std::span<const Component> components,
                                          const NameIndex& names);
  /// Forgets everything: when the model that the adapters are bound to goes.
  void clear();

  /// What was done since it was made: for tests and reports.
  struct Counts {
    std::size_t opened = 0;  ///< files read
    std::size_t bound = 0;   ///< adapters bound
  };
  Counts counts() const;

 private:
  /// What tells whether a file is still the one that was read.
  struct Stamp {
    std::string path;
    std::uintmax_t size = 0;
    std::filesystem::file_time_type changed{};
    bool operator==(const Stamp&) const = default;
  };
  struct Known {
    std::vector<Stamp> stamps;
    std::string hash;
  };
  struct Entry {
    std::string hash;
    std::shared_ptr<const BoundAdapter> adapter;
    std::uintmax_t bytes = 0;
  };
  static std::vector<Stamp> stamps(const std::filesystem::path& path);
  std::shared_ptr<const BoundAdapter> resident(const std::string& hash);
  void make_room();

  mutable std::mutex mutex_;
  std::uintmax_t most_bytes_;
  Counts counts_;
  std::map<std::string, Known> known_;  ///< by canonical path
  std::list<Entry> entries_;            ///< most recently used first
};

}  // namespace velatura::lora
