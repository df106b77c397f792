// From a file to its entry, and to what an entry leaves out.
#include <fmt/format.h>

#include "base/error.h"
#include "lora/library/clean_text.h"
#include "lora/library/metadata.h"
#include "lora/library/previews.h"
#include "lora/library/shelf.h"
#include "lora/library/summary.h"

namespace velatura::lora::library {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLongestProblem = 400;
constexpr std::string_view kInHeader = "header:";

void take_metadata(FileMetadata&& data, LibraryEntry& entry) {
  entry.title = std::move(data.title);
  entry.output_name = std::move(data.output_name);
  entry.base_model = std::move(data.base_model);
  entry.author = std::move(data.author);
  entry.description = std::move(data.description);
  entry.notes = std::move(data.notes);
  entry.negative_text = std::move(data.negative_text);
  entry.network_alpha = data.network_alpha;
  entry.trigger_words = std::move(data.triggers);
  entry.trigger_candidates = std::move(data.trigger_candidates);
  entry.frequent_tags = std::move(data.frequent_tags);
  entry.tags = std::move(data.tags);
  entry.recommended_weight = data.recommended_weight;
  entry.weight_source = std::move(data.weight_source);
  entry.min_weight = data.min_weight;
  entry.max_weight = data.max_weight;
  entry.text_weight = data.text_weight;
  entry.previews = std::move(data.previews);
  entry.claimed_hashes = std::move(data.claimed_hashes);
}

/// As a scan would find it: the file, or the folder's weights.
Candidate candidate_of(const fs::path& path) {
  std::error_code error;
  const bool is_folder = fs::is_directory(path, error);
  const FolderContents contents = read_folder(is_folder ? path : path.parent_path());
  for (const Candidate& candidate : contents.candidates) {
    if (candidate.path == path) return candidate;
  }
  fail(ErrorKind::not_found, "\"{}\": there is no adapter", path.string());
}

}  // namespace

void place_entry(LibraryEntry& entry, const fs::path& root) {
  entry.root = root;
  // What a scan found lies below its root as it is written; taking paths apart takes long.
  const std::string &path = entry.path.native(), &folder = root.native();
  if (path.size() > folder.size() + 1 && path.starts_with(folder) && path[folder.size()] == '/') {
    entry.relative_path = path.substr(folder.size() + 1);
    return;
  }
  const fs::path within = entry.path.lexically_relative(root);
  // A folder of PEFT may be the root itself.
  const bool is_root = within.empty() || within == ".";
  entry.relative_path = (is_root ? entry.path.filename() : within).generic_string();
}

fs::path weights_of(const LibraryEntry& entry) {
  std::error_code error;  // reading the folder for each of its files would take their square
  if (!fs::is_directory(entry.path, error)) return entry.path;
  return candidate_of(entry.path).weights;
}

LibraryEntry read_entry(const Candidate& candidate, const fs::path& root) {
  LibraryEntry entry;
  entry.name = candidate.name;
  entry.path = candidate.path;
  place_entry(entry, root);
  entry.bytes = candidate.stamp.bytes;
  entry.changed = candidate.stamp.changed;
  entry.problem = candidate.problem;
  std::shared_ptr<const AdapterFile> file;
  if (entry.problem.empty()) {
    try {
      file = open_header(candidate.weights);
      summarise(*file, entry);
    } catch (const std::bad_alloc&) {
      entry.problem = "its header needs more memory than there is";
    } catch (const std::exception& error) {
      entry.problem = clean_line(error.what(), kLongestProblem);
    }
  }
  static const std::map<std::string, std::string> kNone;
  try {
    take_metadata(
        read_metadata(candidate.path, file ? file->source().metadata() : kNone, candidate.sidecars),
        entry);
  } catch (const std::exception& error) {
    entry.problem =
        clean_line(fmt::format("its notes cannot be read: {}", error.what()), kLongestProblem);
  }
  return entry;
}

LibraryDetails read_details(const LibraryEntry& entry) {
  const Candidate candidate = candidate_of(entry.path);
  const auto file = open_header(candidate.weights);
  FileMetadata data =
      read_metadata(candidate.path, file->source().metadata(), candidate.sidecars, kWholeMetadata);
  return {.metadata = {file->source().metadata().begin(), file->source().metadata().end()},
          .description = std::move(data.description),
          .notes = std::move(data.notes),
          .negative_text = std::move(data.negative_text),
          .frequent_tags = std::move(data.frequent_tags)};
}

std::optional<LibraryPreview> read_preview(const LibraryEntry& entry) {
  for (const std::string& name : entry.previews) {
    if (!name.starts_with(kInHeader)) {
      if (auto picture = preview_in_file(entry.path.parent_path() / name)) return picture;
      continue;
    }
    const auto file = open_header(candidate_of(entry.path).weights);
    const auto& metadata = file->source().metadata();
    const auto value = metadata.find(name.substr(kInHeader.size()));
    if (value == metadata.end()) continue;
    if (auto picture = preview_in_value(value->second)) return picture;
  }
  return std::nullopt;
}

}  // namespace velatura::lora::library
