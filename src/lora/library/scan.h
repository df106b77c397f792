// Which adapter files there are: folders walked, names sorted out, nothing opened. Not here: what
// the files hold (summary.h, metadata.h).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "lora/library/index.h"
#include "lora/library/sidecars.h"

namespace velatura::lora::library {

/// One adapter on disk: a *.safetensors, *.pt, *.bin or *.ckpt (in any case), or a folder with
/// adapter_config.json and the weights that PEFT writes beside it.
struct Candidate {
  // Texts: taking a path apart costs as much as asking the system for the file.
  std::string path;     ///< of the file or the folder
  std::string weights;  ///< `path`, or the file in the folder
  std::string name;     ///< stem, or the folder's name
  Stamp stamp;          ///< of `weights` and what lies beside it
  Sidecars sidecars;    ///< names beside `path`
  std::string problem;  ///< known without opening it: a link that leads nowhere
};

/// What one folder holds.
struct FolderContents {
  std::vector<Candidate> candidates;
  std::vector<std::filesystem::path> folders;  ///< to be looked at too
  std::int64_t changed = 0;                    ///< the folder's own time, before it was read
  std::uint64_t device = 0, inode = 0;
  std::string problem;  ///< why it could not be read
};

/// Reads one folder. Links are followed; names that begin with a dot are passed over. Never throws
/// for what is on disk.
FolderContents read_folder(const std::filesystem::path& folder);

/// Folders by path.
using Tree = std::map<std::filesystem::path, FolderContents>;

/// Walks `root`, several folders at once, leaving out what `seen` has (device and inode) and adding
/// to it: loops of links end, and a folder under two paths counts once. Folders that `known` has
/// are taken from there unless `is_stale` says otherwise. Throws cancelled.
struct Walk {
  std::set<std::pair<std::uint64_t, std::uint64_t>>& seen;
  const Tree* known = nullptr;
  std::function<bool(const std::filesystem::path&)> is_stale;
  int threads = 1;
  std::stop_token stop;
};
void walk(const std::filesystem::path& root, const Walk& how, Tree& tree);

}  // namespace velatura::lora::library
