#include "pipelines/generation_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <tuple>

#include "pipelines/prompt/adapter_items.h"

namespace velatura::pipelines {

namespace {

struct Label {
  std::string_view name;   ///< ours
  std::string_view label;  ///< the web UI's
};

// A1111 1.10, modules/sd_samplers_kdiffusion.py and sd_samplers_timesteps.py; those it lacks are
// spelled likewise.
constexpr auto kSamplers = std::to_array<Label>({{"euler", "Euler"},
                                                 {"euler_a", "Euler a"},
                                                 {"heun", "Heun"},
                                                 {"dpm2", "DPM2"},
                                                 {"dpm2_a", "DPM2 a"},
                                                 {"lms", "LMS"},
                                                 {"dpmpp_2m", "DPM++ 2M"},
                                                 {"dpmpp_2s", "DPM++ 2S"},
                                                 {"dpmpp_2s_a", "DPM++ 2S a"},
                                                 {"dpmpp_sde", "DPM++ SDE"},
                                                 {"dpmpp_2m_sde", "DPM++ 2M SDE"},
                                                 {"dpmpp_3m_sde", "DPM++ 3M SDE"},
                                                 {"dpm_fast", "DPM fast"},
                                                 {"ddim", "DDIM"},
                                                 {"ddpm", "DDPM"},
                                                 {"plms", "PLMS"},
                                                 {"unipc", "UniPC"},
                                                 {"deis", "DEIS"},
                                                 {"lcm", "LCM"}});
// modules/sd_schedulers.py. Its "Uniform" is k-diffusion's list, which everybody else calls normal.
constexpr auto kSchedules = std::to_array<Label>({{"automatic", "Automatic"},
                                                  {"normal", "Normal"},
                                                  {"normal", "Uniform"},
                                                  {"karras", "Karras"},
                                                  {"exponential", "Exponential"},
                                                  {"polyexponential", "Polyexponential"},
                                                  {"sgm_uniform", "SGM Uniform"},
                                                  {"simple", "Simple"},
                                                  {"ddim_uniform", "DDIM"},
                                                  {"beta", "Beta"},
                                                  {"kl_optimal", "KL Optimal"},
                                                  {"align_your_steps", "Align Your Steps"}});

std::string to_label(std::span<const Label> table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &Label::name);
  return std::string(found == table.end() ? name : found->label);
}

std::string from_label(std::span<const Label> table, std::string_view label) {
  const auto found = std::ranges::find(table, label, &Label::label);
  return std::string(found == table.end() ? label : found->name);
}

template <typename T>
std::optional<T> number_in(const std::string* text) {
  if (text == nullptr) return std::nullopt;
  T value{};
  const auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), value);
  return code == std::errc() && end == text->data() + text->size() ? std::optional(value)
                                                                   : std::nullopt;
}

/// As A1111 reads it, the text encoder's number first. A mask has no place in a tag.
std::string tag_of(const LoraRequest& lora) {
  return "<lora:" +
         prompt::write_items(lora, {.order = LoraOrder::text_first, .names_files = false}) + ">";
}

}  // namespace

std::string sampler_label(std::string_view sampler) {
  return to_label(kSamplers, sampler);
}
std::string schedule_label(std::string_view schedule) {
  return to_label(kSchedules, schedule);
}

image::Infotext write_generation(const GenerateRequest& request, const GenerationFacts& facts) {
  image::Infotext text;
  text.prompt = facts.prompt;
  for (const GenerationFacts::Lora& lora : facts.loras)
    text.prompt += (text.prompt.empty() ? "" : " ") + tag_of(lora.lora);
  text.negative = request.negative;
  const auto add = [&](std::string key, std::string value) {
    text.fields.emplace_back(std::move(key), std::move(value));
  };
  add("Steps", std::to_string(request.steps));
  add("Sampler", sampler_label(request.sampler));
  add("Schedule type", schedule_label(request.schedule));
  add("CFG scale", fmt::format("{}", facts.cfg));
  add("Seed", std::to_string(facts.seed));
  add("Size", fmt::format("{}x{}", facts.width, facts.height));
  if (!facts.model_hash.empty()) add("Model hash", facts.model_hash);
  add("Model", facts.model_name);
  if (!facts.vae_name.empty()) add("VAE", facts.vae_name);
  if (!request.init.empty()) add("Denoising strength", fmt::format("{}", request.strength));
  if (request.clip_skip != 1) add("Clip skip", std::to_string(request.clip_skip));
  if (request.guidance_rescale != 0)
    add("Guidance rescale", fmt::format("{}", request.guidance_rescale));
  if (!facts.upscaler.empty()) {
    add("Base size", fmt::format("{}x{}", facts.base_width, facts.base_height));
    add("Postprocess upscaler", facts.upscaler);
  }
  std::vector<std::pair<std::string, std::string>> hashes;
  for (const GenerationFacts::Lora& lora : facts.loras)
    hashes.emplace_back(lora.lora.name, lora.hash);
  if (!hashes.empty()) add("Lora hashes", image::join_hashes(hashes));
  if (facts.changed_live) add("Lora strengths", "changed while it ran");
  add("Version", facts.version);
  return text;
}

ReadGeneration read_generation(const image::Infotext& text) {
  ReadGeneration read;
  GenerateRequest& request = read.request;
  request.prompt = text.prompt;
  request.negative = text.negative;
  if (const auto steps = number_in<int>(text.find("Steps"))) request.steps = *steps;
  if (const std::string* label = text.find("Sampler"))
    request.sampler = from_label(kSamplers, *label);
  if (const std::string* label = text.find("Schedule type"))
    request.schedule = from_label(kSchedules, *label);
  request.cfg = number_in<double>(text.find("CFG scale"));
  request.seed = number_in<std::uint64_t>(text.find("Seed"));
  const std::string* size = text.find("Base size");
  if (size == nullptr) size = text.find("Size");
  if (size != nullptr) {
    if (const auto sides = image::parse_size(*size))
      std::tie(request.width, request.height) = *sides;
  }
  if (const auto skip = number_in<int>(text.find("Clip skip"))) request.clip_skip = *skip;
  if (const auto rescale = number_in<double>(text.find("Guidance rescale")))
    request.guidance_rescale = *rescale;
  if (const std::string* name = text.find("Postprocess upscaler")) request.upscale = *name;
  if (const std::string* name = text.find("Model")) request.model = *name;
  if (const std::string* hash = text.find("Model hash")) read.model_hash = *hash;
  if (const std::string* hashes = text.find("Lora hashes"))
    read.lora_hashes = image::split_hashes(*hashes);
  return read;
}

}  // namespace velatura::pipelines
