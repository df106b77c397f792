#include "engine/bench/library.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "base/error.h"
#include "engine/bench/ceiling.h"
#include "engine/bench/library_files.h"
#include "lora/library/follow.h"
#include "lora/library/shelf.h"

namespace velatura::engine::bench {

namespace fs = std::filesystem;
using lora::library::Shelf;

namespace {

class LibraryBench {
 public:
  LibraryBench(const BenchRequest& request, const std::function<void(const BenchPart&)>& done)
      : request_(request), done_(done), folder_(fs::temp_directory_path() / unique_name()) {}
  ~LibraryBench() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  LibraryBench(const LibraryBench&) = delete;
  LibraryBench& operator=(const LibraryBench&) = delete;

  void run() {
    const double header_bytes = generate();
    {
      Shelf shelf(options());
      const double seconds = seconds_of([&] { scan(shelf, request_.files); });
      done_({.name = "first_scan", .seconds = seconds, .bytes = header_bytes});
    }
    done_({.name = "second_start",
           .seconds = median_of_starts(),
           .bytes = static_cast<double>(fs::file_size(index()))});
    Shelf shelf(options());
    shelf.refresh();
    done_({.name = "new_file_seen", .seconds = median_until_seen(shelf)});
    done_({.name = "name_lookup", .seconds = seconds_of_look_up(shelf)});
  }

 private:
  static std::string unique_name() {
    return fmt::format("velatura-bench-library-{:x}",
                       std::chrono::steady_clock::now().time_since_epoch().count());
  }
  fs::path index() const { return folder_ / "index.sqlite"; }
  Shelf::Options options() const {
    return {.roots = {folder_ / "loras"}, .index = index(), .threads = request_.threads};
  }
  fs::path file(int number) const {
    return folder_ / "loras" / fmt::format("folder {:03}", number % request_.folders) /
           fmt::format("style_{:05}.safetensors", number);
  }

  double generate() {
    for (int i = 0; i < request_.folders; ++i) fs::create_directories(file(i).parent_path());
    double bytes = 0;
    for (int i = 0; i < request_.files; ++i) bytes += static_cast<double>(files_.write(file(i), i));
    return bytes;
  }

  /// Checks the result before its time counts.
  void scan(Shelf& shelf, int expected_read) const {
    const LibraryScan scan = shelf.refresh();
    VELATURA_CHECK(scan.files == static_cast<std::size_t>(request_.files));
    VELATURA_CHECK(scan.read == static_cast<std::size_t>(expected_read));
    for (const auto& entry : shelf.snapshot()->entries)
      VELATURA_CHECK(entry->problem.empty() && !entry->family.empty());
  }

  double median_of_starts() const {
    constexpr int kRuns = 3;
    std::vector<double> times;
    for (int run = 0; run < kRuns; ++run) {
      std::optional<Shelf> shelf;  // its end is no part of a start
      times.push_back(seconds_of([&] {
        shelf.emplace(options());
        scan(*shelf, 0);
      }));
    }
    return median(std::move(times));
  }

  double median_until_seen(Shelf& shelf) const {
    const lora::library::Follower follower(shelf);
    constexpr int kRuns = 3;
    constexpr std::chrono::seconds kWorst{30};
    // The follower's first look at all folders is not what is measured.
    std::this_thread::sleep_for(std::chrono::seconds(2));
    std::vector<double> times;
    for (int run = 0; run < kRuns; ++run) {
      const fs::path arrived = file(request_.files + run);
      const fs::path beside = arrived.parent_path() / ".download";
      files_.write(beside, request_.files + run);
      const auto has_it = [&] {
        return std::ranges::any_of(shelf.snapshot()->entries,
                                   [&](const auto& entry) { return entry->path == arrived; });
      };
      const auto begin = std::chrono::steady_clock::now();
      fs::rename(beside, arrived);
      while (!has_it() && std::chrono::steady_clock::now() - begin < kWorst)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      VELATURA_CHECK(has_it());
      times.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return median(std::move(times));
  }

  double seconds_of_look_up(const Shelf& shelf) const {
    const auto snapshot = shelf.snapshot();
    std::size_t found = 0;
    const double seconds = median_seconds(3, [&] {
      for (const auto& entry : snapshot->entries) found += snapshot->names.find(entry->name);
    });
    VELATURA_CHECK(found > 0 || snapshot->entries.size() < 2);
    return seconds / static_cast<double>(snapshot->entries.size());
  }

  const BenchRequest& request_;
  const std::function<void(const BenchPart&)>& done_;
  fs::path folder_;
  AdapterFiles files_;
};

}  // namespace

void measure_library(const BenchRequest& request,
                     const std::function<void(const BenchPart&)>& done) {
  constexpr int kMostFiles = 1'000'000;
  if (request.files < 1 || request.files > kMostFiles || request.folders < 1 ||
      request.folders > request.files) {
    fail(
        ErrorKind::invalid_argument,
        "bench library: --files {} --folders {}: expected 1 to {} files in at most as many folders",
        request.files, request.folders, kMostFiles);
  }
  LibraryBench(request, done).run();
}

}  // namespace velatura::engine::bench
