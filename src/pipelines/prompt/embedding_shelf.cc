#include "pipelines/prompt/embedding_shelf.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "pipelines/prompt/triggers.h"

namespace velatura::pipelines::prompt {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kExtensions = {".safetensors", ".pt", ".bin", ".ckpt"};

std::string fold(std::string_view text) {
  std::string folded(text);
  for (char& c : folded) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    if (c == '\\') c = '/';
  }
  return folded;
}

bool has_known_extension(const fs::path& path) {
  const std::string extension = fold(path.extension().string());
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

void scan(const fs::path& folder, std::vector<EmbeddingShelf::File>& files) {
  std::vector<EmbeddingShelf::File> found;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied,
                                         error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;  // a link to nowhere is no file
    const fs::path& path = entry->path();
    if (!has_known_extension(path) || !fs::is_regular_file(path, ignored)) continue;
    const fs::path below = path.lexically_relative(folder);
    found.push_back({.path = path,
                     .stem = path.stem().string(),
                     .name = (below.parent_path() / below.stem()).generic_string()});
  }
  if (error && error != std::errc::no_such_file_or_directory &&
      error != std::errc::not_a_directory) {
    fail(ErrorKind::io, "{}: the folder of embeddings cannot be read: {}", folder.string(),
         error.message());
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  files.insert(files.end(), found.begin(), found.end());
}

std::vector<std::string> triggers_of(const EmbeddingShelf::File& file) {
  if (file.name == file.stem) return {file.stem};
  return {file.stem, file.name};
}

}  // namespace

EmbeddingShelf::EmbeddingShelf(std::span<const fs::path> folders) {
  for (const fs::path& folder : folders) scan(folder, files_);
}

fs::path EmbeddingShelf::resolve(std::string_view name) const {
  const fs::path as_path(name);
  std::error_code ignored;
  if (fs::is_regular_file(as_path, ignored)) return as_path;
  const std::string wanted = fold(name);
  const std::string bare = has_known_extension(as_path)
                               ? fold((as_path.parent_path() / as_path.stem()).string())
                               : wanted;
  for (const File& file : files_) {
    const std::string extension = fold(file.path.extension().string());
    for (const std::string& trigger : triggers_of(file)) {
      const std::string known = fold(trigger);
      if (known == wanted || (known == bare && wanted == bare + extension)) return file.path;
    }
  }
  std::vector<std::string> names;
  for (const File& file : files_) names.push_back(file.name);
  const std::vector<std::string> nearest = nearest_names(bare, names);
  fail(ErrorKind::not_found,
       "no embedding '{}': neither a file nor a name under models/embeddings{}{}", name,
       nearest.empty() ? "" : "; nearest: ", fmt::join(nearest, ", "));
}

EmbeddingArgument read_embedding_argument(std::string_view argument, const EmbeddingShelf& shelf) {
  std::error_code ignored;
  const std::size_t equals = argument.rfind('=');
  if (equals == argument.npos || fs::is_regular_file(fs::path(argument), ignored)) {
    return {.path = shelf.resolve(argument), .token = std::nullopt};
  }
  const std::string token(argument.substr(equals + 1));
  if (token.find_first_not_of(" \t\r\n") == token.npos) {
    fail(ErrorKind::invalid_argument, "--embedding {}: no token follows '='", argument);
  }
  return {.path = shelf.resolve(argument.substr(0, equals)), .token = token};
}

std::vector<Embedding> load_embeddings(const EmbeddingShelf& shelf,
                                       std::span<const EmbeddingArgument> arguments,
                                       std::span<const std::string> prompts, PromptReading reading,
                                       const tokenizers::ClipBpe& tokenizer, std::int64_t width) {
  std::vector<Embedding> embeddings;
  std::vector<std::vector<std::string>> triggers;
  for (const EmbeddingArgument& argument : arguments) {
    const auto source = weights::open_source(argument.path);
    for (Embedding& embedding : read_embeddings(
             *source,
             {.stem = argument.path.stem().string(), .token = argument.token, .width = width})) {
      triggers.push_back(embedding.triggers);
      embeddings.push_back(std::move(embedding));
    }
  }
  const std::size_t given = triggers.size();
  for (const EmbeddingShelf::File& file : shelf.files()) triggers.push_back(triggers_of(file));

  const TriggerIndex index(tokenizer, triggers);
  std::set<std::size_t> mentioned;  // indices into the shelf's files
  for (const std::string& prompt : prompts) {
    for (const Fragment& fragment : read_fragments(prompt, reading)) {
      for (const Unit& unit : index.read(fragment.text)) {
        if (unit.embedding && *unit.embedding >= given) mentioned.insert(*unit.embedding - given);
      }
    }
  }
  for (const std::size_t i : mentioned) {
    const EmbeddingShelf::File& file = shelf.files()[i];
    const auto source = weights::open_source(file.path);
    std::vector<Embedding> read =
        read_embeddings(*source, {.stem = file.stem, .token = std::nullopt, .width = width});
    if (read.size() == 1 && file.name != file.stem) read[0].triggers.push_back(file.name);
    std::move(read.begin(), read.end(), std::back_inserter(embeddings));
  }
  return embeddings;
}

}  // namespace velatura::pipelines::prompt
