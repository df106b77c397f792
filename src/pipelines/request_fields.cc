#include "velatura/request_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "pipelines/prompt/adapter_items.h"

namespace velatura {

namespace {

using Request = GenerateRequest;
using Values = std::vector<std::string>;

[[noreturn]] void bad_value(std::string_view field, const std::string& value,
                            std::string_view expected) {
  fail(ErrorKind::invalid_argument, "--{}: \"{}\" is not {}", field, value, expected);
}

template <typename T>
T parse_number(std::string_view field, const std::string& value, T low, T high,
               std::string_view expected) {
  T number{};
  const char* end = value.data() + value.size();
  const auto [stopped, code] = std::from_chars(value.data(), end, number);
  if (code != std::errc() || stopped != end || !(number >= low) || !(number <= high))
    bad_value(field, value, expected);
  return number;
}

int parse_int(std::string_view field, const std::string& value, int low, int high) {
  return parse_number<int>(field, value, low, high,
                           fmt::format("a whole number from {} to {}", low, high));
}

double parse_real(std::string_view field, const std::string& value, double low, double high) {
  return parse_number<double>(field, value, low, high,
                              fmt::format("a number from {} to {}", low, high));
}

/// Shortest text that reads back to the same number.
std::string text_of(double number) {
  return fmt::format("{}", number);
}

Values unless(bool is_default, std::string value) {
  return is_default ? Values{} : Values{std::move(value)};
}

// Sizes and counts are bounded so that their products fit; memory ends far earlier.
constexpr int kLargestSide = 16384;
constexpr int kMostSteps = 10000;

constexpr pipelines::prompt::ItemRules kOptionRules{.order = LoraOrder::denoiser_first,
                                                    .names_files = true};

constexpr char kBetweenAdapters = ';';

/// "ink:0.5;clay", the adapters of one picture.
std::vector<LoraRequest> parse_loras(const std::string& text) {
  std::vector<LoraRequest> loras;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(kBetweenAdapters, begin), text.size());
    const std::string one = text.substr(begin, end - begin);
    if (one.find_first_not_of(' ') != std::string::npos)
      loras.push_back(parse_lora(one.substr(one.find_first_not_of(' '))));
    begin = end + 1;
  }
  return loras;
}

std::string loras_text(const std::vector<LoraRequest>& loras) {
  std::string text;
  for (const LoraRequest& lora : loras) {
    if (!text.empty()) text += kBetweenAdapters;
    text += to_text(lora);
  }
  return text;
}

LoraMask parse_mask(const std::string& text) {
  constexpr std::string_view kExpected = "NAME=FILE or NAME=FILE:PIXELS";
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    bad_value("lora-mask", text, kExpected);
  LoraMask mask{.name = text.substr(0, equals), .mask = text.substr(equals + 1), .feather = 0};
  const std::string file = mask.mask.string();
  const std::size_t colon = file.rfind(':');
  if (colon == std::string::npos || std::filesystem::exists(mask.mask)) return mask;
  const std::string pixels = file.substr(colon + 1);
  double feather = 0;
  const auto [stopped, code] =
      std::from_chars(pixels.data(), pixels.data() + pixels.size(), feather);
  if (code != std::errc() || stopped != pixels.data() + pixels.size()) return mask;
  if (!std::isfinite(feather) || feather < 0 || colon == 0) bad_value("lora-mask", text, kExpected);
  mask.mask = file.substr(0, colon);
  mask.feather = feather;
  return mask;
}

std::string mask_text(const LoraMask& mask) {
  const std::string pixels = mask.feather > 0 ? ":" + text_of(mask.feather) : "";
  return mask.name + "=" + mask.mask.string() + pixels;
}

EmbeddingRequest parse_embedding(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos || std::filesystem::exists(text))
    return {.path = text, .token = std::nullopt};
  if (equals == 0 || equals + 1 == text.size()) bad_value("embedding", text, "PATH or PATH=token");
  return {.path = text.substr(0, equals), .token = text.substr(equals + 1)};
}

constexpr auto kFields = std::to_array<RequestField>({
    {"model", "NAME|PATH",
     "checkpoint: a name in the model folders, a diffusers folder, a .safetensors or .ckpt file "
     "(default: the demonstration model)",
     false, [](Request& r, const std::string& v) { r.model = v; },
     [](const Request& r) { return unless(r.model.empty(), r.model); }},
    {"config", "DIR", "folder with the configuration files of a single-file model", false,
     [](Request& r, const std::string& v) { r.config = v; },
     [](const Request& r) { return unless(r.config.empty(), r.config.string()); }},
    {"vae", "NAME|PATH", "another picture codec: a full one or the tiny one (taesd)", false,
     [](Request& r, const std::string& v) { r.vae = v; },
     [](const Request& r) { return unless(r.vae.empty(), r.vae.string()); }},
    {"prompt", "T",
     "what to draw; (word:1.2) weighs, <lora:name:te:unet> adds an adapter, BREAK starts a new "
     "chunk",
     false, [](Request& r, const std::string& v) { r.prompt = v; },
     [](const Request& r) { return unless(r.prompt.empty(), r.prompt); }},
    {"negative", "T", "what to stay away from", false,
     [](Request& r, const std::string& v) { r.negative = v; },
     [](const Request& r) { return unless(r.negative.empty(), r.negative); }},
    {"width", "N", "pixels (default 512, the demo 64)", false,
     [](Request& r, const std::string& v) { r.width = parse_int("width", v, 1, kLargestSide); },
     [](const Request& r) { return unless(r.width == 0, std::to_string(r.width)); }},
    {"height", "N", "pixels (default 512, the demo 64)", false,
     [](Request& r, const std::string& v) { r.height = parse_int("height", v, 1, kLargestSide); },
     [](const Request& r) { return unless(r.height == 0, std::to_string(r.height)); }},
    {"steps", "N", "steps of the sampler (default 20)", false,
     [](Request& r, const std::string& v) { r.steps = parse_int("steps", v, 1, kMostSteps); },
     [](const Request& r) { return unless(r.steps == Request{}.steps, std::to_string(r.steps)); }},
    {"cfg", "X", "guidance: how strongly the prompt pulls (default 7, the demo 4; 1 is off)", false,
     [](Request& r, const std::string& v) { r.cfg = parse_real("cfg", v, -1000, 1000); },
     [](const Request& r) { return r.cfg ? Values{text_of(*r.cfg)} : Values{}; }},
    {"guidance-rescale", "X", "pull the guided picture's contrast back, 0 to 1 (default 0)", false,
     [](Request& r, const std::string& v) {
       r.guidance_rescale = parse_real("guidance-rescale", v, 0, 1);
     },
     [](const Request& r) { return unless(r.guidance_rescale == 0, text_of(r.guidance_rescale)); }},
    {"seed", "N", "picture i of a run has seed + i (default: random, printed)", false,
     [](Request& r, const std::string& v) {
       r.seed =
           parse_number<std::uint64_t>("seed", v, 0, UINT64_MAX, "a whole number from 0 to 2^64-1");
     },
     [](const Request& r) { return r.seed ? Values{std::to_string(*r.seed)} : Values{}; }},
    {"batch", "N", "pictures made at once (default 1)", false,
     [](Request& r, const std::string& v) { r.batch = parse_int("batch", v, 1, 256); },
     [](const Request& r) { return unless(r.batch == 1, std::to_string(r.batch)); }},
    {"count", "N", "batches made one after another (default 1)", false,
     [](Request& r, const std::string& v) { r.count = parse_int("count", v, 1, 1000000); },
     [](const Request& r) { return unless(r.count == 1, std::to_string(r.count)); }},
    {"pick", "N",
     "of each batch keep picture N alone, from 0: what --from needs to repeat one of a batch",
     false, [](Request& r, const std::string& v) { r.pick = parse_int("pick", v, 0, 255); },
     [](const Request& r) { return r.pick ? Values{std::to_string(*r.pick)} : Values{}; }},
    {"sampler", "NAME",
     "euler euler_a heun dpm2 dpm2_a lms dpmpp_2m dpmpp_2s dpmpp_2s_a dpmpp_sde dpmpp_2m_sde "
     "dpmpp_3m_sde dpm_fast ddim ddpm plms unipc deis lcm (default euler)",
     false, [](Request& r, const std::string& v) { r.sampler = v; },
     [](const Request& r) { return unless(r.sampler == "euler", r.sampler); }},
    {"schedule", "NAME",
     "automatic normal karras exponential polyexponential sgm_uniform simple ddim_uniform beta "
     "kl_optimal "
     "align_your_steps, or diffusers' leading trailing linspace with +karras +exponential +beta "
     "(default automatic)",
     false, [](Request& r, const std::string& v) { r.schedule = v; },
     [](const Request& r) { return unless(r.schedule == "automatic", r.schedule); }},
    {"prediction", "P", "what the model predicts: auto, epsilon, v (default auto)", false,
     [](Request& r, const std::string& v) {
       if (v != "auto" && v != "epsilon" && v != "v")
         bad_value("prediction", v, "auto, epsilon or v");
       r.prediction = v;
     },
     [](const Request& r) { return unless(r.prediction == "auto", r.prediction); }},
    {"clip-skip", "N", "1: the text encoder's last layer, 2: the layer before (default 1)", false,
     [](Request& r, const std::string& v) { r.clip_skip = parse_int("clip-skip", v, 1, 64); },
     [](const Request& r) { return unless(r.clip_skip == 1, std::to_string(r.clip_skip)); }},
    {"lora", "NAME|PATH[:W[:TE]][:KEY=…]",
     "an adapter; W for the denoiser, TE for the text encoder (omitted: W); bare: the file's "
     "recommended weight, else 1. W may be points over the run, 0@0,1@0.5. KEY: lbw lbwe x (block "
     "weights), start stop step (steps), te1 te2, dyn (ranks), mask feather. The prompt tag "
     "<lora:name:te:unet> has the other order",
     true, [](Request& r, const std::string& v) { r.loras.push_back(parse_lora(v)); },
     [](const Request& r) {
       Values values;
       for (const LoraRequest& lora : r.loras) values.push_back(to_text(lora));
       return values;
     },
     [](Request& r) { r.loras.clear(); }},
    {"lora-mask", "NAME=FILE[:PIXELS]",
     "where on the picture the adapter NAME acts: FILE's transparency, else its brightness; PIXELS "
     "soften the edges",
     true, [](Request& r, const std::string& v) { r.lora_masks.push_back(parse_mask(v)); },
     [](const Request& r) {
       Values values;
       for (const LoraMask& mask : r.lora_masks) values.push_back(mask_text(mask));
       return values;
     },
     [](Request& r) { r.lora_masks.clear(); }},
    {"lora-each", "LORA[;LORA…]",
     "adapters of one picture of the batch, written as --lora is; once for each picture in order, "
     "\"\" for none",
     true, [](Request& r, const std::string& v) { r.picture_loras.push_back(parse_loras(v)); },
     [](const Request& r) {
       Values values;
       for (const auto& loras : r.picture_loras) values.push_back(loras_text(loras));
       return values;
     },
     [](Request& r) { r.picture_loras.clear(); }},
    {"lora-order", "text-first|denoiser-first",
     "what <lora:name:a:b> means: a for the text encoder (default, as A1111 has it), or for the "
     "denoiser (as SwarmUI has it)",
     false,
     [](Request& r, const std::string& v) {
       if (v != "text-first" && v != "denoiser-first")
         bad_value("lora-order", v, "text-first or denoiser-first");
       r.lora_order = v == "text-first" ? LoraOrder::text_first : LoraOrder::denoiser_first;
     },
     [](const Request& r) {
       return unless(r.lora_order == LoraOrder::text_first, "denoiser-first");
     }},
    {"lora-mode", "live|fused", "live: beside the untouched base (default); fused: new weights",
     false,
     [](Request& r, const std::string& v) {
       if (v != "live" && v != "fused") bad_value("lora-mode", v, "live or fused");
       r.lora_mode = v == "live" ? LoraMode::live : LoraMode::fused;
     },
     [](const Request& r) { return unless(r.lora_mode == LoraMode::live, "fused"); }},
    {"embedding", "PATH[=TOKEN]",
     "a textual inversion and the word that calls it; those in models/embeddings are called by "
     "name",
     true, [](Request& r, const std::string& v) { r.embeddings.push_back(parse_embedding(v)); },
     [](const Request& r) {
       Values values;
       for (const EmbeddingRequest& e : r.embeddings)
         values.push_back(e.path.string() + (e.token ? "=" + *e.token : ""));
       return values;
     },
     [](Request& r) { r.embeddings.clear(); }},
    {"init", "IMG", "start from this picture, scaled to cover and cropped", false,
     [](Request& r, const std::string& v) { r.init = v; },
     [](const Request& r) { return unless(r.init.empty(), r.init.string()); }},
    {"strength", "X", "how far to leave the init picture, 0 to 1 (default 0.75)", false,
     [](Request& r, const std::string& v) { r.strength = parse_real("strength", v, 0, 1); },
     [](const Request& r) {
       return unless(r.strength == Request{}.strength, text_of(r.strength));
     }},
    {"upscale", "NAME|PATH",
     "enlarge the picture with this network; none: do not (the demo: emoji-x4)", false,
     [](Request& r, const std::string& v) { r.upscale = v; },
     [](const Request& r) { return unless(r.upscale.empty(), r.upscale); }},
    {"raw-prompt", "", "take the prompt as plain text: no weights, no tags, cut at 77 tokens",
     false,
     [](Request& r, const std::string& v) {
       if (v != "true" && v != "false") bad_value("raw-prompt", v, "true or false");
       r.raw_prompt = v == "true";
     },
     [](const Request& r) { return unless(!r.raw_prompt, "true"); }},
});

const RequestField& field_named(const std::string& name) {
  Values known;
  for (const RequestField& field : kFields) {
    if (field.name == name) return field;
    known.emplace_back(field.name);
  }
  const Values near = nearest_names(name, known, 3);
  fail(ErrorKind::invalid_argument, "request: unknown field \"{}\"; did you mean {}?", name,
       fmt::join(near, ", "));
}

}  // namespace

std::span<const RequestField> request_fields() {
  return kFields;
}

std::string to_json(const GenerateRequest& request) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const RequestField& field : kFields) {
    const Values values = field.get(request);
    if (values.empty()) continue;
    if (field.repeatable) {
      json[std::string(field.name)] = values;
    } else {
      json[std::string(field.name)] = values.front();
    }
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

GenerateRequest request_from_json(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) fail(ErrorKind::invalid_argument, "request: a JSON object is expected");
  const auto as_text = [](const nlohmann::json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number() || value.is_boolean()) return value.dump();
    fail(ErrorKind::invalid_argument, "request: text, a number or true/false is expected, found {}",
         value.type_name());
  };
  GenerateRequest request;
  for (const auto& [key, value] : json.items()) {
    const RequestField& field = field_named(key);
    if (!value.is_array()) {
      field.set(request, as_text(value));
      continue;
    }
    if (!field.repeatable)
      fail(ErrorKind::invalid_argument, "request: \"{}\" takes one value, found a list", key);
    for (const auto& element : value) field.set(request, as_text(element));
  }
  return request;
}

LoraRequest parse_lora(const std::string& text) {
  using namespace pipelines::prompt;
  const std::vector<std::string_view> items = split_items(text);
  std::size_t first = 1;  // of those behind the name
  while (first < items.size() && !is_item(items[first])) ++first;
  std::error_code ignored;
  if (std::filesystem::exists(text, ignored)) first = items.size();
  const auto length = first == items.size()
                          ? text.size()
                          : static_cast<std::size_t>(items[first].data() - text.data()) - 1;
  const std::string name = text.substr(0, length);
  if (name.empty() || name.ends_with(':'))
    bad_value("lora", text, "a name or path, then :weight with numbers");
  return read_items(name, std::span(items).subspan(first), kOptionRules,
                    fmt::format("--lora \"{}\"", text));
}

std::string to_text(const LoraRequest& lora) {
  return pipelines::prompt::write_items(lora, kOptionRules);
}

}  // namespace velatura
