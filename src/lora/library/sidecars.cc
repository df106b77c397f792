#include "lora/library/sidecars.h"

#include <fstream>

namespace velatura::lora::library {

namespace fs = std::filesystem;

std::span<const NoteSuffix> note_suffixes() {
  static constexpr auto kSuffixes = std::to_array<NoteSuffix>({
      {".json", NoteKind::web_ui},
      {".civitai.info", NoteKind::civitai},
      {".metadata.json", NoteKind::manager},
      {".cm-info.json", NoteKind::stability},
      {".swarm.json", NoteKind::swarm},
      {".txt", NoteKind::text},
      {".description.txt", NoteKind::text},
  });
  return kSuffixes;
}

std::span<const std::string_view> preview_suffixes() {
  static constexpr auto kSuffixes = std::to_array<std::string_view>(
      {".preview.png", ".preview.jpg", ".preview.jpeg", ".preview.webp", ".preview.gif", ".png",
       ".jpg", ".jpeg", ".webp", ".gif", ".thumb.jpg", ".thumb.png"});
  return kSuffixes;
}

fs::path sidecar_stem(const fs::path& adapter, bool is_folder) {
  return is_folder ? adapter : adapter.parent_path() / adapter.stem();
}

Sidecars find_sidecars(const std::string& stem_name, const HasName& has_name) {
  Sidecars found;
  for (const NoteSuffix& row : note_suffixes()) {
    if (std::string name = stem_name + std::string(row.suffix); has_name(name))
      found.notes.emplace_back(std::move(name), row.kind);
  }
  for (const std::string_view suffix : preview_suffixes()) {
    if (std::string name = stem_name + std::string(suffix); has_name(name))
      found.previews.push_back(std::move(name));
  }
  return found;
}

std::optional<std::string> read_note(const fs::path& path) {
  constexpr std::uintmax_t kLargest = std::uintmax_t{8} << 20;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error || size > kLargest) return std::nullopt;
  std::ifstream stream(path, std::ios::binary);
  std::string text(size, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (stream.bad()) return std::nullopt;
  return text;
}

}  // namespace velatura::lora::library
