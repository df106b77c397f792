// What an adapter file says of itself for people: title, trigger words, recommended weight;
// sidecars beside it included. Shown, never applied unasked but for the recommended weight of a
// bare name. Not here: scanning folders.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace velatura::lora {

struct FileMetadata {
  std::string title;  ///< name, modelspec.title, ss_output_name, else the stem
  std::vector<std::string>
      trigger_words;  ///< file order kept, no doubles (behaviour.md §5); caption tags are none
  std::optional<double> recommended_weight;  ///< first hit of behaviour.md §5, then sidecars
};

/// `header` is the file's own metadata. Sidecars that are damaged count as absent: they are other
/// programs' notes.
FileMetadata read_metadata(const std::filesystem::path& path,
                           const std::map<std::string, std::string>& header);

}  // namespace velatura::lora
