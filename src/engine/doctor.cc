// What this machine offers and what would be used on it.
#include <fmt/format.h>
#include <omp.h>

#include <nlohmann/json.hpp>

#include "backend/cpu/cpu.h"
#include "engine/device.h"
#include "engine/roots.h"
#include "velatura/inspect.h"

namespace velatura {

namespace {

using engine::AssetKind;

constexpr std::pair<AssetKind, const char*> kKinds[] = {{AssetKind::checkpoint, "checkpoints"},
                                                        {AssetKind::lora, "loras"},
                                                        {AssetKind::embedding, "embeddings"},
                                                        {AssetKind::upscaler, "upscalers"},
                                                        {AssetKind::vae, "vae"}};

}  // namespace

Inspection doctor(const std::vector<std::filesystem::path>& model_dirs) {
  const backend::cpu::CpuFeatures features = backend::cpu::cpu_features();
  const engine::Device device = engine::make_device("cpu", "auto", 0);
  nlohmann::ordered_json json;
  json["threads"] = device.threads;
  json["avx512"] = features.avx512;
  json["avx512_bf16"] = features.avx512_bf16;
  json["precision"] = to_string(device.compute);
  json["backend"] = device.table->name();
  const auto demo = engine::Roots::demo();
  json["demo"] = demo ? demo->string() : "";
  std::string text =
      fmt::format("processor   {} threads; AVX-512 {}, bf16 dot products {}\n", device.threads,
                  features.avx512 ? "yes" : "no", features.avx512_bf16 ? "yes" : "no");
  text += fmt::format(
      "computes    {} on backend {}{}\n", to_string(device.compute),
      std::string(device.table->name()),
      features.avx512_bf16 ? "" : " (without bf16 dot products f32 is the faster type)");
  text += fmt::format("demo model  {}\n",
                      demo ? demo->string() : "not found: reinstall, or give --model");
  const engine::Roots roots(model_dirs);
  for (const auto& [kind, noun] : kKinds) {
    const std::size_t count = roots.list(kind).size();
    json["models"][noun] = {{"files", count}, {"folders", nlohmann::ordered_json::array()}};
    text += fmt::format("{:<12}{} files", noun, count);
    for (const auto& folder : roots.folders(kind)) {
      json["models"][noun]["folders"].push_back(folder.string());
      text += "\n            in " + folder.string();
    }
    text += '\n';
  }
  text.pop_back();
  return {.text = std::move(text), .json = json.dump(2)};
}

}  // namespace velatura
