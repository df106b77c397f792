// The library of adapter files: what lies in the model folders, what each file says of itself, and
// which file a name means. Only headers are read; what was read is remembered in an index on disk.
// Not here: applying adapters (engine.h), what an adapter does to a model (lora.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace velatura {

/// A text and where it stands: "modelspec.trigger_phrase", "ink.civitai.info".
struct SourcedText {
  std::string text;
  std::string source;
  bool operator==(const SourcedText&) const = default;
};

/// A caption tag of the training pictures and how often it occurs.
struct TagCount {
  std::string tag;
  std::int64_t count = 0;
  bool operator==(const TagCount&) const = default;
};

/// Numbered blocks of one kind that a file touches: {"double_blocks", {0, 1, 2}}.
struct BlockNumbers {
  std::string kind;
  std::vector<int> numbers;
  bool operator==(const BlockNumbers&) const = default;
};

/// Hex digits; empty where nobody has computed it yet, or where the range is empty (of a file of
/// less than a megabyte the legacy hash is that of nothing, and identifies nothing).
struct FileHashValues {
  std::string sha256;   ///< of the whole file, 64 digits
  std::string auto_v1;  ///< "legacy": 0x10000 bytes from 0x100000 on, 8 digits
  std::string auto_v2;  ///< first 10 digits of sha256
  std::string auto_v3;  ///< of a safetensors file behind its header, 64 digits; programs show 12
  bool operator==(const FileHashValues&) const = default;
};

/// One adapter file, or a folder that PEFT wrote. Texts are valid UTF-8 without control characters
/// and cut at bounds that suit a list; Library::details() has the long ones whole.
struct LibraryEntry {
  std::string name;           ///< file name without extension, or the folder's name
  std::string relative_path;  ///< within `root`, with '/': "styles/ink.safetensors"
  std::filesystem::path path;
  std::filesystem::path root;
  std::uint64_t bytes = 0;
  std::int64_t changed = 0;  ///< nanoseconds since 1970
  std::string problem;       ///< why this is no adapter that can be used; empty: it is one

  std::string family;           ///< sd15, sdxl, flux, zimage, or another's name; empty: not known
  std::string family_evidence;  ///< the tensor that decides
  std::vector<std::string> algorithms;  ///< of the modules, the most frequent first
  int modules = 0;
  int tensors = 0;
  std::uint64_t parameters = 0;
  std::int64_t min_rank = 0, max_rank = 0, common_rank = 0;  ///< over modules; 0: without ranks
  std::optional<double> network_alpha;                       ///< as the header states it
  std::vector<std::string>
      targets;  ///< attention_qkv attention_out feed_forward adaLN conv text_encoder other
  std::vector<BlockNumbers> blocks;
  std::vector<std::string> types;  ///< element types: "bf16"

  std::string title, output_name, base_model, author;
  std::string description, notes, negative_text;
  std::vector<SourcedText> trigger_words;       ///< file order, each once, in order of trust
  std::vector<SourcedText> trigger_candidates;  ///< hints that no one called trigger words
  std::vector<TagCount> frequent_tags;          ///< the 24 most frequent
  std::vector<std::string> tags;                ///< what people file it under
  std::optional<double> recommended_weight;
  std::optional<double> min_weight, max_weight, text_weight;  ///< "usage tips"
  std::string weight_source;
  std::vector<std::string> previews;  ///< files beside it, then "header:modelspec.thumbnail" …

  FileHashValues hashes;                    ///< known ones; compute_hashes() fills in
  std::vector<std::string> claimed_hashes;  ///< stated by the header and by notes beside the file
};
using LibraryEntries = std::vector<std::shared_ptr<const LibraryEntry>>;

enum class LibraryOrder { name, family, rank, algorithm, size, date };

/// Empty fields let everything pass; all given ones must hold.
struct LibraryQuery {
  std::string family;     ///< "sdxl", "SD 1.5": compared without case and punctuation
  std::string algorithm;  ///< a part of an algorithm's name: "lokr", "dora"
  std::string tag;        ///< a whole trigger word, tag or frequent tag
  std::string text;       ///< every word of it occurs somewhere: name, path, title, notes, tags …
  std::optional<std::int64_t> min_rank, max_rank;  ///< of the most common rank
  bool problems_only = false;
  LibraryOrder order = LibraryOrder::name;  ///< name: folder, then file
  bool reverse = false;
  std::size_t limit = 0;  ///< 0: all
};

struct LibraryOptions {
  std::vector<std::filesystem::path> model_dirs;  ///< as EngineOptions::model_dirs
  /// The index file. Absent: $VELATURA_HOME/index/adapters.sqlite where that is set, else
  /// velatura/adapters.sqlite under $XDG_CACHE_HOME or ~/.cache. An empty path: in memory.
  std::optional<std::filesystem::path> index;
  /// Follow new, changed and vanished files from then on, in a thread of the library's own.
  bool watch = false;
  int threads = 0;  ///< for reading headers and hashing; 0: as many as suit the machine
  /// Told while headers are read for the first time, from the scanning thread.
  std::function<void(std::size_t done, std::size_t total)> on_progress;
};

struct LibraryScan {
  std::size_t files = 0;     ///< entries found
  std::size_t read = 0;      ///< headers that had to be read
  std::size_t vanished = 0;  ///< entries that are gone
  std::size_t folders = 0;   ///< folders looked at
  double seconds = 0;
  std::vector<std::string> notes;  ///< unreadable folders, an index built anew
};

/// What a list has no room for.
struct LibraryDetails {
  std::vector<std::pair<std::string, std::string>> metadata;  ///< the header's, raw
  std::string description, notes, negative_text;              ///< whole
  std::vector<TagCount> frequent_tags;                        ///< all of them, up to 10,000
};

struct LibraryPreview {
  std::string media_type;  ///< "image/png", by the bytes themselves
  std::vector<std::byte> bytes;
};

/// Thread-safe. Entries are immutable: a change makes new ones.
class Library {
 public:
  /// Scans the folders once. Throws not_found for a model folder that does not exist, and
  /// cancelled.
  explicit Library(const LibraryOptions& options = {}, std::stop_token stop = {});
  ~Library();
  Library(Library&&) noexcept;
  Library& operator=(Library&&) noexcept;

  LibraryEntries list(const LibraryQuery& query = {}) const;
  /// Looks for new, changed and vanished files.
  LibraryScan refresh(std::stop_token stop = {});
  /// Of the last complete scan.
  LibraryScan last_scan() const;

  /// The file that a name means, as typed in a prompt's tag: a path within a model folder (with or
  /// without extension), a file name without extension, a title that is unique and no file's name,
  /// at least 8 digits of a hash. Throws not_found with the three nearest names, invalid_argument
  /// where several files are meant.
  std::shared_ptr<const LibraryEntry> find(std::string_view name) const;

  /// The hashes of `entries`, in their order; computed where not remembered, several at once.
  /// A file that cannot be read has none. `on_done` is called with each, from any thread but never
  /// twice at once. Throws cancelled; what was computed until then stays.
  std::vector<FileHashValues> compute_hashes(
      std::span<const std::shared_ptr<const LibraryEntry>> entries, std::stop_token stop = {},
      const std::function<void(const LibraryEntry&)>& on_done = {});

  /// Throws not_found, bad_file, io.
  LibraryDetails details(const LibraryEntry& entry) const;
  /// The first of entry.previews that is a PNG, JPEG, WebP or GIF of at most 8 MB.
  std::optional<LibraryPreview> preview(const LibraryEntry& entry) const;

  /// Whether `path`, with every link followed, lies in a folder of the library: what a program
  /// asks before it opens a path that came over a network.
  bool contains(const std::filesystem::path& path) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// One object an entry, in the order given.
std::string to_json(const LibraryEntries& entries);

/// "name", "family", "rank", "algorithm", "size", "date". Throws invalid_argument.
LibraryOrder parse_library_order(std::string_view name);
/// "16", "8-32", "16-", "-8" into min_rank and max_rank. Throws invalid_argument.
void parse_rank_range(std::string_view text, LibraryQuery& query);

}  // namespace velatura
