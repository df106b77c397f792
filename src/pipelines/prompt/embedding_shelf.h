// Which textual-inversion files a prompt needs: the folders that hold them, names to paths, and
// loading those that prompts mention. Not here: the containers (textual_inversion.h) and how a
// mention is recognised (triggers.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/prompt/chunks.h"
#include "pipelines/prompt/textual_inversion.h"
#include "tokenizers/clip_bpe/clip_bpe.h"

namespace velatura::pipelines::prompt {

/// The embedding files (.safetensors .pt .bin .ckpt) below some folders, read once at construction;
/// immutable.
class EmbeddingShelf {
 public:
  struct File {
    std::filesystem::path path;
    std::string stem;  ///< name without folder and extension
    std::string
        name;  ///< path below its folder without extension, with '/'; equals stem at the top
  };

  EmbeddingShelf() = default;
  /// Folders in order of preference; those that do not exist are skipped. Folders inside are read
  /// too, but links to folders are not followed.
  explicit EmbeddingShelf(std::span<const std::filesystem::path> folders);

  /// By folder, then by name.
  const std::vector<File>& files() const { return files_; }

  /// The path of `name`: an existing file, or a file of the shelf by stem or relative path,
  /// extension or not, upper and lower case alike; the first of several. Throws not_found with the
  /// nearest names.
  std::filesystem::path resolve(std::string_view name) const;

 private:
  std::vector<File> files_;
};

/// `PATH[=token]` as the option --embedding has it; PATH may be a name of the shelf, and may
/// contain '=' where such a file exists.
struct EmbeddingArgument {
  std::filesystem::path path;
  std::optional<std::string> token;
};
EmbeddingArgument read_embedding_argument(std::string_view argument, const EmbeddingShelf& shelf);

/// The embeddings of `arguments`, then those of the shelf that `prompts` mention, ready for
/// tokenize_prompt. Throws what read_embeddings throws: a mentioned file that does not fit the text
/// encoder's `width` is never passed over.
std::vector<Embedding> load_embeddings(const EmbeddingShelf& shelf,
                                       std::span<const EmbeddingArgument> arguments,
                                       std::span<const std::string> prompts, PromptReading reading,
                                       const tokenizers::ClipBpe& tokenizer, std::int64_t width);

}  // namespace velatura::pipelines::prompt
