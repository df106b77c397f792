#include "lora/library/scan.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/platform/file_stamp.h"
#include "base/stop_token.h"
#include "base/text.h"
#include "lora/library/clean_text.h"

namespace velatura::lora::library {

namespace fs = std::filesystem;
using platform::FileStamp;
using platform::stamp_of;

namespace {

constexpr auto kExtensions =
    std::to_array<std::string_view>({".safetensors", ".pt", ".bin", ".ckpt"});
constexpr std::string_view kPeftConfig = "adapter_config.json";
constexpr auto kPeftWeights =
    std::to_array<std::string_view>({"adapter_model.safetensors", "adapter_model.bin"});

bool has_adapter_extension(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == 0 || dot == name.npos) return false;
  const std::string extension = lowered(name.substr(dot));
  return std::ranges::find(kExtensions, extension) != kExtensions.end();
}

/// The name that `name` would be a note or a picture of: each by the suffixes it ends with.
template <typename OnStem>
void each_stem_beside(std::string_view name, OnStem on_stem) {
  const auto try_suffix = [&](std::string_view suffix) {
    if (name.ends_with(suffix)) on_stem(name.substr(0, name.size() - suffix.size()));
  };
  for (const NoteSuffix& row : note_suffixes()) try_suffix(row.suffix);
  for (const std::string_view suffix : preview_suffixes()) try_suffix(suffix);
}

/// Names in a folder, and whether they are known to be folders (nullopt: a link, or the file system
/// does not say).
using Names = std::unordered_map<std::string, std::optional<bool>>;

class FolderReader {
 public:
  explicit FolderReader(const fs::path& folder) : folder_(folder) {}

  FolderContents read() {
    const std::optional<FileStamp> stamp = stamp_of(folder_.c_str());
    if (!stamp || stamp->kind != FileStamp::Kind::folder) {
      contents_.problem = "there is no such folder";
      return std::move(contents_);
    }
    contents_.changed = told_time(stamp->changed);
    contents_.device = stamp->device;
    contents_.inode = stamp->inode;
    if (!read_names()) return std::move(contents_);
    const std::string_view peft =
        names_.contains(std::string(kPeftConfig)) ? first_of_peft() : std::string_view();
    for (const auto& [name, is_folder] : names_) {
      each_stem_beside(name, [&](std::string_view stem) { accompanied_.emplace(stem); });
    }
    for (const auto& [name, is_folder] : names_) {
      if (name.starts_with('.')) continue;
      if (has_adapter_extension(name) && is_folder != true) {
        if (name != peft) add_file(name);
      } else if (is_folder == true || (!is_folder && is_link_to_folder(name))) {
        contents_.folders.push_back(folder_ / name);
      }
    }
    if (!peft.empty()) add_peft(std::string(peft));
    std::ranges::sort(contents_.candidates, {}, &Candidate::path);
    std::ranges::sort(contents_.folders);
    return std::move(contents_);
  }

 private:
  /// A folder may change again within the tick of the clock in which it was read: a time so young
  /// is remembered as an earlier one, so that who compares times reads it once more. A time that
  /// lies ahead (a clock that was set back, another machine's folder) is none of those: it would be
  /// read again without end.
  static std::int64_t told_time(std::int64_t changed) {
    constexpr std::int64_t kTick = 50'000'000;
    const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
    return std::abs(now - changed) < kTick ? changed - 1 : changed;
  }

  bool read_names() {
    std::error_code error;
    fs::directory_iterator at(folder_, error);
    for (const fs::directory_iterator end; !error && at != end; at.increment(error)) {
      // What the listing itself says, where the file system tells kinds: nothing more is asked.
      std::error_code ignored;
      const bool is_link = at->is_symlink(ignored);
      const std::string& path = at->path().native();
      names_.emplace(path.substr(path.rfind('/') + 1),
                     is_link                        ? std::nullopt
                     : at->is_directory(ignored)    ? std::optional(true)
                     : at->is_regular_file(ignored) ? std::optional(false)
                                                    : std::nullopt);
    }
    if (error) contents_.problem = error.message();
    return !error;
  }

  bool is_link_to_folder(const std::string& name) const {
    const auto stamp = stamp_of((folder_ / name).c_str());
    return stamp && stamp->kind == FileStamp::Kind::folder;
  }

  std::string_view first_of_peft() const {
    for (const std::string_view name : kPeftWeights) {
      if (names_.contains(std::string(name))) return name;
    }
    return {};
  }

  void add_file(const std::string& name) {
    const std::string path = within_ + name;
    const auto stamp = stamp_of(path.c_str());
    if (stamp && stamp->kind == FileStamp::Kind::folder) {
      contents_.folders.push_back(folder_ / name);
      return;
    }
    Candidate candidate{.path = path, .weights = path};
    candidate.name = name.substr(0, name.rfind('.'));
    if (!stamp) {
      std::error_code error;
      if (!fs::is_symlink(path, error)) return;  // it has vanished since
      candidate.problem = "the link leads nowhere";
    } else if (stamp->kind != FileStamp::Kind::file) {
      candidate.problem = "this is no regular file";
    } else {
      candidate.stamp = {.bytes = stamp->bytes, .changed = stamp->changed};
    }
    if (accompanied_.contains(candidate.name)) {
      candidate.sidecars = find_sidecars(
          candidate.name, [&](const std::string& beside) { return names_.contains(beside); });
      candidate.stamp.sidecars = stamp_sidecars(folder_, candidate.sidecars);
    }
    contents_.candidates.push_back(std::move(candidate));
  }

  void add_peft(const std::string& weights) {
    Candidate candidate{.path = folder_.native(), .weights = within_ + weights};
    candidate.name = folder_.filename().string();
    const auto stamp = stamp_of(candidate.weights.c_str());
    if (!stamp) return;
    candidate.stamp = {.bytes = stamp->bytes, .changed = stamp->changed};
    candidate.sidecars = find_sidecars(candidate.name, [&](const std::string& beside) {
      const auto found = stamp_of((folder_.parent_path() / beside).c_str());
      return found && found->kind == FileStamp::Kind::file;
    });
    candidate.sidecars.notes.emplace_back((folder_.filename() / std::string(kPeftConfig)).string(),
                                          NoteKind::peft);
    candidate.stamp.sidecars = stamp_sidecars(folder_.parent_path(), candidate.sidecars);
    contents_.candidates.push_back(std::move(candidate));
  }

  static std::uint64_t stamp_sidecars(const fs::path& folder, const Sidecars& sidecars) {
    std::string text;
    const auto add = [&](const fs::path& path) {
      const auto stamp = stamp_of(path.c_str());
      text += fmt::format("{}\n{} {}\n", path.filename().string(), stamp ? stamp->bytes : 0,
                          stamp ? stamp->changed : 0);
    };
    for (const auto& [name, kind] : sidecars.notes) add(folder / name);
    for (const std::string& name : sidecars.previews) add(folder / name);
    return text.empty() ? 0 : XXH3_64bits(text.data(), text.size());
  }

  const fs::path& folder_;
  const std::string within_ = (folder_ / "").native();  ///< with a slash at the end
  Names names_;
  std::unordered_set<std::string> accompanied_;  ///< stems that may have notes or pictures
  FolderContents contents_;
};

}  // namespace

FolderContents read_folder(const fs::path& folder) {
  try {
    return FolderReader(folder).read();
  } catch (const std::exception& error) {
    FolderContents contents;
    contents.problem = error.what();
    return contents;
  }
}

void walk(const fs::path& root, const Walk& how, Tree& tree) {
  std::vector<fs::path> level = {root};
  while (!level.empty()) {
    throw_if_stopped(how.stop);
    std::vector<FolderContents> found(level.size());
    std::vector<std::size_t> unread;
    for (std::size_t i = 0; i < level.size(); ++i) {
      const auto known = how.known == nullptr ? Tree::const_iterator() : how.known->find(level[i]);
      if (how.known != nullptr && known != how.known->end() && !how.is_stale(level[i])) {
        found[i] = known->second;
      } else {
        unread.push_back(i);
      }
    }
    const auto count = static_cast<std::ptrdiff_t>(unread.size());
    const int threads = count < 4 ? 1 : how.threads;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      const std::size_t at = unread[static_cast<std::size_t>(i)];
      found[at] = read_folder(level[at]);
    }
    std::vector<fs::path> next;
    for (std::size_t i = 0; i < level.size(); ++i) {
      FolderContents& contents = found[i];
      if (contents.inode != 0 && !how.seen.emplace(contents.device, contents.inode).second)
        continue;
      next.insert(next.end(), contents.folders.begin(), contents.folders.end());
      tree.insert_or_assign(level[i], std::move(contents));
    }
    level = std::move(next);
  }
}

}  // namespace velatura::lora::library
