// The notes and pictures that other programs lay beside an adapter file: which names they have and
// how they are read. Not here: what of them counts (metadata.h).
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::lora::library {

/// Whose layout a note has.
enum class NoteKind {
  web_ui,     ///< "x.json", A1111's user metadata
  civitai,    ///< "x.civitai.info", the hub's answer
  manager,    ///< "x.metadata.json", ComfyUI-Lora-Manager
  stability,  ///< "x.cm-info.json", StabilityMatrix
  swarm,      ///< "x.swarm.json", modelspec keys
  peft,       ///< "adapter_config.json" in a folder of PEFT
  text,       ///< "x.txt", "x.description.txt"
};

struct NoteSuffix {
  std::string_view suffix;
  NoteKind kind;
};

/// In order of trust (behaviour.md §5, then the others).
std::span<const NoteSuffix> note_suffixes();
/// Of pictures, in the order they are looked for (lora-formats §4.4).
std::span<const std::string_view> preview_suffixes();

/// The path that suffixes are put after: of a file without its extension, of a folder the folder.
std::filesystem::path sidecar_stem(const std::filesystem::path& adapter, bool is_folder);

/// Whether `name` exists beside the adapter. A scan answers from a folder it has listed.
using HasName = std::function<bool(const std::string& name)>;

/// The file names beside an adapter whose stem's last part is `stem_name`.
struct Sidecars {
  std::vector<std::pair<std::string, NoteKind>> notes;
  std::vector<std::string> previews;
};
Sidecars find_sidecars(const std::string& stem_name, const HasName& has_name);

/// The whole text of a note; nullopt where it is no regular file, larger than 8 MB or unreadable:
/// other programs' notes may be damaged.
std::optional<std::string> read_note(const std::filesystem::path& path);

}  // namespace velatura::lora::library
