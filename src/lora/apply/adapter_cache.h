// Adapters of one model that stay bound between jobs, by what they contain. Not here: finding files
// by name, the models (engine/).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lora/bind/bind.h"

namespace velatura::lora {

/// Least recently used first out, beyond `most_bytes` of tensors; the one asked for stays, however
/// large. Files of equal content are one adapter, under whatever names: it goes by the name of the
/// first. Thread-safe; one that is being opened or bound holds up those alone that ask for it.
class AdapterCache {
 public:
  static constexpr std::uintmax_t kMostBytes = std::uintmax_t{1} << 30;
  using Open = std::function<std::shared_ptr<const AdapterFile>(const std::filesystem::path&)>;
  /// `open` reads files, from any thread.
  explicit AdapterCache(std::uintmax_t most_bytes = kMostBytes, Open open = &AdapterFile::open)
      : most_bytes_(most_bytes), open_(std::move(open)) {}

  /// `path` (a file, or a folder that PEFT saved) bound to the model. Opened again where its size
  /// or time changed, or that of the configuration beside it. All calls name the same model;
  /// clear() before another. Throws what AdapterFile::open and bind throw.
  std::shared_ptr<const BoundAdapter> get(const std::filesystem::path& path,
                                          std::span<const Component> components,
                                          const NameIndex& names);
  /// Forgets everything, and what is being bound is not kept: when the model that the adapters are
  /// bound to goes.
  void clear();

  /// What was done since it was made: for tests and reports.
  struct Counts {
    std::size_t opened = 0;  ///< files read
    std::size_t bound = 0;   ///< adapters bound
    std::size_t known = 0;   ///< paths whose content is remembered now
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
  /// What one thread does while others wait for it: reading a path, binding a content.
  class Turn;
  static std::vector<Stamp> stamps(const std::filesystem::path& path);
  std::shared_ptr<const BoundAdapter> resident(const std::string& hash);
  void remember(const std::string& name, Known known);
  void make_room();

  mutable std::mutex mutex_;
  std::uintmax_t most_bytes_;
  Open open_;
  Counts counts_;
  std::map<std::string, Known> known_;  ///< by canonical path
  std::list<Entry> entries_;            ///< most recently used first
  std::set<std::string> busy_;          ///< paths being read and hashes being bound
  std::condition_variable done_;        ///< one left busy_
  std::uint64_t cleared_ = 0;           ///< how often
};

}  // namespace velatura::lora
