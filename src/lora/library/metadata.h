// What an adapter file says of itself for people, and what lies beside it: title, trigger words,
// recommended weight, notes. Shown, never applied unasked but for the recommended weight of a bare
// name. Not here: scanning folders (scan.h), what follows from the tensors (summary.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lora/library/sidecars.h"
#include "velatura/library.h"

namespace velatura::lora {

/// Texts are valid UTF-8 without control characters. Every list and text has a bound: a header may
/// hold 100 MB.
struct FileMetadata {
  std::string title;               ///< name, modelspec.title, ss_output_name, else the stem
  std::string output_name;         ///< ss_output_name: the alias of web UIs
  std::string base_model, author;  ///< as stated; tensors know better (summary.h)
  std::string description, notes, negative_text;
  std::optional<double> network_alpha;  ///< ss_network_alpha where it is a number

  std::vector<std::string> trigger_words;  ///< the texts of `triggers`
  /// File order kept, no doubles, in order of trust (behaviour.md §5); caption tags are none.
  std::vector<SourcedText> triggers;
  /// Usage hints, training comments, tags that stand on every picture of their folder: maybe.
  std::vector<SourcedText> trigger_candidates;
  std::vector<TagCount> frequent_tags;  ///< most frequent first, ties in file order
  std::vector<std::string> tags;        ///< what people file it under

  std::optional<double> recommended_weight;  ///< first hit of behaviour.md §5, then notes
  std::string weight_source;
  std::optional<double> min_weight, max_weight, text_weight;

  std::vector<std::string> previews;        ///< names beside the file, then "header:<key>"
  std::vector<std::string> claimed_hashes;  ///< lower-case hex; never the hash of nothing
};

/// How much of long texts and lists is kept.
struct MetadataBounds {
  std::size_t text_bytes = 1000;
  std::size_t frequent_tags = 24;  ///< as many as web UIs show
};
inline constexpr MetadataBounds kWholeMetadata = {.text_bytes = 1u << 20, .frequent_tags = 10'000};

/// `header` is the file's own metadata; `path` the file, or the folder of PEFT. Notes that are
/// damaged count as absent: they are other programs'.
FileMetadata read_metadata(const std::filesystem::path& path,
                           const std::map<std::string, std::string>& header,
                           const library::Sidecars& sidecars, const MetadataBounds& bounds = {});
/// The same, with what lies beside the file now.
FileMetadata read_metadata(const std::filesystem::path& path,
                           const std::map<std::string, std::string>& header);

/// SHA-256 of nothing, which several tools have written as a file's hash (lora-formats §4.7), and
/// its beginnings.
bool is_hash_of_nothing(std::string_view hex);

}  // namespace velatura::lora
