#include "engine/library.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/roots.h"
#include "lora/library/follow.h"
#include "lora/library/query.h"
#include "lora/library/shelf.h"

namespace velatura {

namespace fs = std::filesystem;
using lora::library::Shelf;

struct Library::State {
  explicit State(Shelf::Options options) : shelf(std::move(options)) {}
  void remember(const LibraryScan& scan) {
    const std::lock_guard lock(mutex);
    last = scan;
  }
  Shelf shelf;
  std::mutex mutex;
  LibraryScan last;  ///< guarded by `mutex`
  std::optional<lora::library::Follower> follower;
};

Library::Library(const LibraryOptions& options, std::stop_token stop) {
  const engine::Roots roots(options.model_dirs);
  state_ = std::make_unique<State>(
      Shelf::Options{.roots = roots.folders(engine::AssetKind::lora),
                     .index = options.index ? *options.index : engine::default_index(),
                     .threads = options.threads,
                     .on_progress = options.on_progress});
  refresh(std::move(stop));
  if (options.watch) {
    State& state = *state_;
    state.follower.emplace(state.shelf,
                           [&state](const LibraryScan& scan) { state.remember(scan); });
  }
}

Library::~Library() = default;
Library::Library(Library&&) noexcept = default;
Library& Library::operator=(Library&&) noexcept = default;

LibraryEntries Library::list(const LibraryQuery& query) const {
  return lora::library::select(state_->shelf.snapshot()->entries, query);
}

LibraryScan Library::refresh(std::stop_token stop) {
  const LibraryScan scan = state_->shelf.refresh(stop);
  state_->remember(scan);
  return scan;
}

LibraryScan Library::last_scan() const {
  const std::lock_guard lock(state_->mutex);
  return state_->last;
}

std::shared_ptr<const LibraryEntry> Library::find(std::string_view name) const {
  const auto snapshot = state_->shelf.snapshot();
  return snapshot->entries[snapshot->names.find(name)];
}

std::vector<FileHashValues> Library::compute_hashes(
    std::span<const std::shared_ptr<const LibraryEntry>> entries, std::stop_token stop,
    const std::function<void(const LibraryEntry&)>& on_done) {
  return state_->shelf.compute_hashes(entries, stop, on_done);
}

LibraryDetails Library::details(const LibraryEntry& entry) const {
  return lora::library::read_details(entry);
}

std::optional<LibraryPreview> Library::preview(const LibraryEntry& entry) const {
  return lora::library::read_preview(entry);
}

bool Library::contains(const fs::path& path) const {
  return state_->shelf.contains(path);
}

LibraryOrder parse_library_order(std::string_view name) {
  struct Row {
    std::string_view name;
    LibraryOrder order;
  };
  static constexpr auto kOrders = std::to_array<Row>({{"name", LibraryOrder::name},
                                                      {"family", LibraryOrder::family},
                                                      {"rank", LibraryOrder::rank},
                                                      {"algorithm", LibraryOrder::algorithm},
                                                      {"size", LibraryOrder::size},
                                                      {"date", LibraryOrder::date}});
  for (const Row& row : kOrders) {
    if (row.name == name) return row.order;
  }
  fail(ErrorKind::invalid_argument,
       "--sort \"{}\" is not one of name, family, rank, algorithm, size, date", name);
}

void parse_rank_range(std::string_view text, LibraryQuery& query) {
  const auto number = [&](std::string_view part) -> std::optional<std::int64_t> {
    if (part.empty()) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || value < 0) {
      fail(ErrorKind::invalid_argument,
           "--rank \"{}\": expected a number (16) or a range (8-32, 16-, -8)", text);
    }
    return value;
  };
  const std::size_t dash = text.find('-');
  query.min_rank = number(text.substr(0, dash));
  query.max_rank = dash == text.npos ? query.min_rank : number(text.substr(dash + 1));
  if (!query.min_rank && !query.max_rank) {
    fail(ErrorKind::invalid_argument, "--rank \"{}\" names no number", text);
  }
  if (query.min_rank && query.max_rank && *query.min_rank > *query.max_rank) {
    fail(ErrorKind::invalid_argument, "--rank \"{}\": the smaller number comes first", text);
  }
}

namespace engine {

fs::path default_index() {
  const auto folder = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  if (const fs::path home = folder("VELATURA_HOME"); !home.empty())
    return home / "index" / "adapters.sqlite";
  // The XDG base directory specification: relative values are to be ignored.
  if (const fs::path cache = folder("XDG_CACHE_HOME"); cache.is_absolute())
    return cache / "velatura" / "adapters.sqlite";
  if (const fs::path user = folder("HOME"); user.is_absolute())
    return user / ".cache" / "velatura" / "adapters.sqlite";
  return {};
}

fs::path resolve_lora(const Library& library, std::string_view name) {
  try {
    return library.find(name)->path;
  } catch (const Error& error) {
    std::error_code ignored;
    if (error.kind() != ErrorKind::not_found || !fs::exists(fs::path(name), ignored)) throw;
    return name;
  }
}

}  // namespace engine

}  // namespace velatura
