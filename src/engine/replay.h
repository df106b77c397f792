// A picture's complete request as a text chunk, and the request back from a picture. Not here: the
// web UIs' text (pipelines/generation_text.h).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/file_hash.h"
#include "engine/roots.h"
#include "velatura/engine.h"

namespace velatura::engine {

inline constexpr std::string_view kReplayKey = "velatura";  ///< of the PNG chunk

/// What a file was, so that it is found again under another name.
struct FileReference {
  std::string name;  ///< stem; never a path
  std::string hash;
};

struct ReplayFacts {
  std::string version;
  FileReference model, vae, init;  ///< AutoV2; an empty name: none
  /// AutoV3, of request.loras and then of each picture's.
  std::vector<FileReference> loras;
  std::vector<FileReference> masks;  ///< AutoV2, of those among the same that have one
  bool changed_live = false;         ///< strengths were moved while the picture was made
  std::string precision, backend;
  int threads = 0;
};

/// One JSON document: the request with every path replaced by its stem, and the facts.
std::string write_replay(GenerateRequest request, const ReplayFacts& facts);

/// Reads the chunk, else the web UIs' text. Files are found by name where the hash agrees, else by
/// hash among all of their kind. Throws bad_file for a file that is no picture or tells nothing,
/// not_found naming what is missing, unsupported for a picture whose adapters were moved while it
/// was made. `keep_model`: the caller gives the model, so it need not be
/// found.
GenerateRequest read_replay(const std::filesystem::path& picture, bool keep_model,
                            const Roots& roots, FileHashes& hashes);

/// The file whose hash is a model's: the file itself, of a diffusers folder its denoiser's weights.
std::filesystem::path hashed_file(const std::filesystem::path& model);

}  // namespace velatura::engine
