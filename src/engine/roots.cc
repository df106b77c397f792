#include "engine/roots.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>

#include "base/error.h"
#include "base/platform/process.h"
#include "base/text.h"

namespace velatura::engine {

namespace fs = std::filesystem;

namespace {

struct KindRow {
  AssetKind kind;
  std::string_view noun;
  std::array<std::string_view, 8>
      folders;  ///< ours first, then other programs'; empty entries are unused
  std::array<std::string_view, 5> extensions;
};

constexpr auto kKinds = std::to_array<KindRow>({
    {AssetKind::checkpoint,
     "model",
     {"models/checkpoints", "checkpoints", "models/Stable-diffusion", "Stable-diffusion",
      "models/diffusers"},
     {".safetensors", ".ckpt", ".pt", ".pth"}},
    {AssetKind::lora,
     "LoRA",
     {"models/loras", "loras", "models/Lora", "Lora", "models/LyCORIS", "LyCORIS"},
     {".safetensors", ".pt", ".bin", ".ckpt"}},
    {AssetKind::embedding,
     "embedding",
     {"models/embeddings", "embeddings"},
     {".safetensors", ".pt", ".bin", ".ckpt"}},
    {AssetKind::upscaler,
     "upscaler",
     {"models/upscalers", "upscalers", "models/upscale_models", "upscale_models", "models/ESRGAN",
      "ESRGAN", "models/RealESRGAN", "RealESRGAN"},
     {".safetensors", ".pth", ".pt"}},
    {AssetKind::vae,
     "VAE",
     {"models/vae", "vae", "models/VAE", "VAE", "models/vae_approx", "vae_approx"},
     {".safetensors", ".pt", ".ckpt", ".pth"}},
});

const KindRow& row_of(AssetKind kind) {
  return *std::ranges::find(kKinds, kind, &KindRow::kind);
}

bool has_extension(const fs::path& path, const KindRow& row) {
  const std::string extension = lowered(path.extension().string());
  return !extension.empty() && std::ranges::find(row.extensions, extension) != row.extensions.end();
}

bool is_diffusers_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path / "model_index.json", ignored);
}

/// Files (and, for checkpoints, diffusers folders) below `folder`, sorted. Unreadable folders are
/// passed over; links are followed, a folder is visited once.
void collect(const fs::path& folder, const KindRow& row, std::set<fs::path>& visited,
             std::vector<fs::path>& found) {
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (error || !visited.insert(real).second) return;
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && at != end; at.increment(error)) {
    entries.push_back(at->path());
  }
  std::ranges::sort(entries);
  for (const fs::path& entry : entries) {
    if (fs::is_directory(entry, error)) {
      if (row.kind == AssetKind::checkpoint && is_diffusers_folder(entry)) {
        found.push_back(entry);
      } else {
        collect(entry, row, visited, found);
      }
    } else if (has_extension(entry, row)) {
      found.push_back(entry);
    }
  }
}

fs::path home() {
  if (const char* given = std::getenv("VELATURA_HOME"); given && *given) return given;
  if (const char* data = std::getenv("XDG_DATA_HOME"); data && *data)
    return fs::path(data) / "velatura";
  if (const char* user = std::getenv("HOME"); user && *user)
    return fs::path(user) / ".local/share/velatura";
  return {};
}

/// The one of `named`, files of one name below `folder`, that is meant: the first where they lie
/// side by side under several extensions.
const fs::path& only(const std::vector<fs::path>& named, const fs::path& folder, const KindRow& row,
                     const std::string& name) {
  const fs::path parent = named[0].parent_path();
  if (std::ranges::all_of(named,
                          [&](const fs::path& path) { return path.parent_path() == parent; }))
    return named[0];
  constexpr std::size_t kShown = 3;
  std::vector<std::string> paths;
  for (const fs::path& path : std::span(named).first(std::min(named.size(), kShown)))
    paths.push_back(fmt::format("\"{}\"", path.lexically_relative(folder).generic_string()));
  fail(ErrorKind::invalid_argument,
       "{} \"{}\" is the name of {} files: say which by its path, {}{}", row.noun, name,
       named.size(), fmt::join(paths, ", "), named.size() > kShown ? " …" : "");
}

std::string display_name(const fs::path& path, AssetKind kind) {
  return kind == AssetKind::checkpoint && is_diffusers_folder(path) ? path.filename().string()
                                                                    : path.stem().string();
}

}  // namespace

std::optional<fs::path> Roots::demo() {
  std::error_code ignored;
  const fs::path program = platform::executable_path();
  for (const fs::path& candidate :
       {program.parent_path().parent_path() / "share/velatura/demo", fs::path(VELATURA_DEMO_DIR)}) {
    if (!candidate.empty() && fs::is_directory(candidate / "model", ignored)) return candidate;
  }
  return std::nullopt;
}

Roots::Roots(std::vector<fs::path> model_dirs) {
  if (fs::path own = home(); !own.empty()) roots_.push_back(std::move(own));
  for (fs::path& dir : model_dirs) {
    std::error_code ignored;
    if (!fs::is_directory(dir, ignored)) {
      fail(ErrorKind::not_found, "--models \"{}\": there is no such folder", dir.string());
    }
    roots_.push_back(std::move(dir));
  }
  if (const auto found = demo()) roots_.push_back(*found);
}

std::vector<fs::path> Roots::folders(AssetKind kind) const {
  const KindRow& row = row_of(kind);
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const fs::path& root : roots_) {
    bool structured = false;
    for (const KindRow& any : kKinds) {
      for (const std::string_view folder : any.folders) {
        if (folder.empty() || !fs::is_directory(root / folder, ignored)) continue;
        structured = true;
        if (any.kind == row.kind) found.push_back(root / folder);
      }
    }
    if (!structured && fs::is_directory(root, ignored)) found.push_back(root);
  }
  return found;
}

std::vector<fs::path> Roots::list(AssetKind kind) const {
  std::vector<fs::path> found;
  std::set<fs::path> visited;
  for (const fs::path& folder : folders(kind)) collect(folder, row_of(kind), visited, found);
  return found;
}

fs::path Roots::resolve(AssetKind kind, const std::string& name) const {
  const KindRow& row = row_of(kind);
  std::error_code ignored;
  if (name.empty()) fail(ErrorKind::invalid_argument, "the name of a {} is empty", row.noun);
  for (const fs::path& folder : folders(kind)) {  // a path relative to a folder of the kind
    const fs::path exact = folder / name;
    if (fs::is_regular_file(exact, ignored) ||
        (kind == AssetKind::checkpoint && is_diffusers_folder(exact)))
      return exact;
    for (const std::string_view extension : row.extensions) {
      if (extension.empty()) continue;
      fs::path with = exact;
      with += extension;
      if (fs::is_regular_file(with, ignored)) return with;
    }
  }
  if (fs::exists(name, ignored)) return name;
  std::set<fs::path> visited;
  std::vector<std::string> known;
  const bool is_path = name.find('/') != std::string::npos;
  for (const fs::path& folder : folders(kind)) {
    std::vector<fs::path> files, named;
    collect(folder, row, visited, files);
    for (const fs::path& path : files) {
      if (display_name(path, kind) == name || path.filename() == name) named.push_back(path);
      const fs::path within = path.lexically_relative(folder);
      known.push_back(is_path ? (within.parent_path() / display_name(path, kind)).generic_string()
                              : display_name(path, kind));
    }
    if (!named.empty()) return only(named, folder, row, name);
  }
  std::ranges::sort(known);
  known.erase(std::ranges::unique(known).begin(), known.end());
  const bool has_nearest = !known.empty() && !fs::path(name).is_absolute();
  const std::string nearest =
      has_nearest ? fmt::format("{}", fmt::join(nearest_names(name, known, 3), ", ")) : "";
  if (is_path || has_extension(name, row)) {
    fail(ErrorKind::not_found,
         "{} \"{}\": there is no such file, neither here nor in the model folders{}{}", row.noun,
         name, nearest.empty() ? "" : "; nearest names: ", nearest);
  }
  if (known.empty()) {
    fail(ErrorKind::not_found,
         "{} \"{}\" was not found: the model folders hold none at all (add one with --models DIR)",
         row.noun, name);
  }
  fail(ErrorKind::not_found, "{} \"{}\" was not found; nearest names: {}", row.noun, name, nearest);
}

}  // namespace velatura::engine
