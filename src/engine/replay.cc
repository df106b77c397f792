#include "engine/replay.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "image/codec.h"
#include "pipelines/generation_text.h"
#include "pipelines/load_model.h"
#include "velatura/request_fields.h"
#include "weights/part_files.h"

namespace velatura::engine {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

Json to_json(const FileReference& file) {
  return {{"name", file.name}, {"hash", file.hash}};
}

FileReference reference_from(const Json& json) {
  return {json.value("name", ""), json.value("hash", "")};
}

struct Kind {
  AssetKind asset;
  std::string_view noun;
  std::string (FileHashes::*hash)(const fs::path&, const StopToken&);
};
constexpr Kind kModel{AssetKind::checkpoint, "model", &FileHashes::auto_v2};
constexpr Kind kLora{AssetKind::lora, "LoRA", &FileHashes::auto_v3};
constexpr Kind kVae{AssetKind::vae, "VAE", &FileHashes::auto_v2};

std::optional<std::string> hash_of(const fs::path& path, const Kind& kind, FileHashes& hashes) {
  try {
    return (hashes.*kind.hash)(kind.asset == AssetKind::checkpoint ? hashed_file(path) : path, {});
  } catch (const Error&) {
    return std::nullopt;  // unreadable: not the one looked for
  }
}

/// By name where the hash agrees, else by hash alone.
fs::path find(const FileReference& file, const Kind& kind, const Roots& roots, FileHashes& hashes) {
  std::optional<fs::path> named;
  try {
    named = roots.resolve(kind.asset, file.name);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
  if (named && (file.hash.empty() || hash_of(*named, kind, hashes) == file.hash)) return *named;
  for (const fs::path& path : roots.list(kind.asset)) {
    if (!file.hash.empty() && hash_of(path, kind, hashes) == file.hash) return path;
  }
  if (named) {
    fail(ErrorKind::not_found,
         "the picture's {} is \"{}\" with hash {}; the \"{}\" found here has other content",
         kind.noun, file.name, file.hash, named->string());
  }
  fail(ErrorKind::not_found,
       "the picture's {} \"{}\" (hash {}) was not found in the model folders; add the folder with "
       "--models{}",
       kind.noun, file.name, file.hash.empty() ? "unknown" : file.hash,
       kind.asset == AssetKind::checkpoint ? " or give the model with --model" : "");
}

/// Those of the request, then those of its pictures.
std::vector<LoraRequest*> adapters_of(GenerateRequest& request) {
  std::vector<LoraRequest*> adapters;
  for (LoraRequest& lora : request.loras) adapters.push_back(&lora);
  for (auto& loras : request.picture_loras) {
    for (LoraRequest& lora : loras) adapters.push_back(&lora);
  }
  return adapters;
}

void find_adapters(const Json& json, GenerateRequest& request, const Roots& roots,
                   FileHashes& hashes) {
  const std::vector<LoraRequest*> adapters = adapters_of(request);
  std::size_t index = 0;
  for (const Json& entry : json.value("loras", Json::array())) {
    const fs::path path = find(reference_from(entry), kLora, roots, hashes);
    if (index < adapters.size())
      adapters[index]->name = path.string();  // in pictures of older versions the rest were tags
    ++index;
  }
  const Json masks = json.value("masks", Json::array());
  index = 0;
  for (const LoraRequest* lora : adapters) {
    if (lora->mask.empty()) continue;
    const FileReference mask =
        index < masks.size() ? reference_from(masks[index]) : FileReference{};
    ++index;
    if (fs::exists(lora->mask) && hashes.auto_v2(lora->mask) == mask.hash) continue;
    fail(ErrorKind::not_found,
         "the picture was made with the mask \"{}\" (SHA-256 {}…), which is not here; put it into "
         "the working folder",
         mask.name, mask.hash);
  }
}

GenerateRequest from_own(const std::string& text, bool keep_model, const Roots& roots,
                         FileHashes& hashes) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("request"))
    fail(ErrorKind::bad_file,
         "the picture's \"{}\" text is damaged: a JSON object with a request is expected",
         kReplayKey);
  if (json.value("changed_live", false)) {
    fail(
        ErrorKind::unsupported,
        "the strengths of its LoRAs were moved while this picture was made: it cannot be repeated");
  }
  GenerateRequest request = request_from_json(json["request"].dump());
  const FileReference model = reference_from(json.value("model", Json::object()));
  if (!request.model.empty() && !keep_model)
    request.model = find(model, kModel, roots, hashes).string();
  if (const auto vae = json.find("vae"); vae != json.end() && !request.vae.empty())
    request.vae = find(reference_from(*vae), kVae, roots, hashes);
  find_adapters(json, request, roots, hashes);
  if (!request.init.empty()) {
    const FileReference init = reference_from(json.value("init", Json::object()));
    if (fs::exists(request.init) && hashes.auto_v2(request.init) == init.hash) return request;
    fail(ErrorKind::not_found,
         "the picture was made from \"{}\" (SHA-256 {}…), which is not here; give it with --init",
         init.name, init.hash);
  }
  return request;
}

/// Replaces the name in every tag <lora:NAME…> of the prompt.
std::string with_renamed_tags(std::string prompt, const std::string& from, const std::string& to) {
  for (const std::string_view kind : {"<lora:", "<lyco:"}) {
    std::size_t at = 0;
    while ((at = prompt.find(kind, at)) != std::string::npos) {
      at += kind.size();
      const std::size_t end = at + from.size();
      if (prompt.compare(at, from.size(), from) != 0 || end >= prompt.size() ||
          (prompt[end] != ':' && prompt[end] != '>'))
        continue;
      prompt.replace(at, from.size(), to);
      at += to.size();
    }
  }
  return prompt;
}

/// Web UIs name adapters as their files were called when the picture was made. One that has another
/// name by now is known by its hash; one that is not found at all stays as it is, for the job to
/// say.
std::string with_present_names(std::string prompt,
                               const std::vector<std::pair<std::string, std::string>>& loras,
                               const Roots& roots, FileHashes& hashes) {
  for (const auto& [name, hash] : loras) {
    fs::path path;
    try {
      roots.resolve(AssetKind::lora, name);
      continue;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
    }
    for (const fs::path& candidate : roots.list(AssetKind::lora)) {
      if (hash_of(candidate, kLora, hashes) == hash) path = candidate;
      if (!path.empty()) break;
    }
    // A tag ends its name at a colon: such a path can't be said there, its stem can.
    if (path.empty()) continue;
    const bool can_be_said = path.native().find_first_of(":<>") == std::string::npos;
    prompt = with_renamed_tags(std::move(prompt), name,
                               can_be_said ? path.string() : path.stem().string());
  }
  return prompt;
}

GenerateRequest from_web_ui(const std::string& text, bool keep_model, const Roots& roots,
                            FileHashes& hashes) {
  pipelines::ReadGeneration read = pipelines::read_generation(image::parse_infotext(text));
  if (!keep_model && !(read.request.model.empty() && read.model_hash.empty())) {
    read.request.model =
        find({read.request.model, read.model_hash}, kModel, roots, hashes).string();
  }
  read.request.prompt =
      with_present_names(std::move(read.request.prompt), read.lora_hashes, roots, hashes);
  return read.request;
}

std::string stem_of(const fs::path& path) {
  return path.stem().string();
}

}  // namespace

fs::path hashed_file(const fs::path& model) {
  std::error_code ignored;
  return fs::is_directory(model, ignored) ? weights::find_part_weights(model / "unet") : model;
}

std::string write_replay(GenerateRequest request, const ReplayFacts& facts) {
  // A name is all that may leave this machine: paths tell where its owner keeps things.
  if (!request.model.empty()) request.model = facts.model.name;
  if (!request.vae.empty()) request.vae = facts.vae.name;
  if (!request.config.empty()) request.config = request.config.filename();
  if (!request.init.empty()) request.init = request.init.filename();
  for (LoraRequest* lora : adapters_of(request)) lora->mask = lora->mask.filename();
  for (EmbeddingRequest& embedding : request.embeddings) embedding.path = embedding.path.filename();
  if (!request.upscale.empty() && request.upscale != "none")
    request.upscale = stem_of(request.upscale);
  Json json;
  json["version"] = facts.version;
  json["request"] = Json::parse(to_json(request));
  json["model"] = to_json(facts.model);
  if (!facts.vae.name.empty()) json["vae"] = to_json(facts.vae);
  if (!facts.init.name.empty()) json["init"] = to_json(facts.init);
  json["loras"] = Json::array();
  for (const FileReference& lora : facts.loras) json["loras"].push_back(to_json(lora));
  if (!facts.masks.empty()) {
    json["masks"] = Json::array();
    for (const FileReference& mask : facts.masks) json["masks"].push_back(to_json(mask));
  }
  if (facts.changed_live) json["changed_live"] = true;
  json["backend"] = facts.backend;
  json["precision"] = facts.precision;
  json["threads"] = facts.threads;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

GenerateRequest read_replay(const fs::path& path, bool keep_model, const Roots& roots,
                            FileHashes& hashes) {
  const image::Picture picture = image::read_file(path);
  if (const std::string* own = image::find_text(picture.texts, kReplayKey))
    return from_own(*own, keep_model, roots, hashes);
  if (const std::string* parameters = image::find_parameters(picture.texts))
    return from_web_ui(*parameters, keep_model, roots, hashes);
  fail(ErrorKind::bad_file,
       "\"{}\" does not tell how it was made: it has neither a \"{}\" nor a \"parameters\" text",
       path.string(), kReplayKey);
}

}  // namespace velatura::engine
