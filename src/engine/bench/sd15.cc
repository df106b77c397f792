#include "engine/bench/sd15.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/platform/process.h"
#include "engine/bench/ceiling.h"
#include "engine/bench/counting_table.h"
#include "engine/bench/lora.h"
#include "engine/bench/workbench.h"
#include "models/autoencoder_kl/autoencoder_kl.h"
#include "models/clip/text_encoder.h"
#include "models/manifest.h"
#include "models/unet/unet.h"
#include "nn/model.h"

namespace velatura::engine::bench {

namespace fs = std::filesystem;
using models::autoencoder_kl::AutoencoderKl;
using models::autoencoder_kl::AutoencoderKlConfig;
using models::clip::ClipTextConfig;
using models::clip::TextEncoder;
using models::unet::UNet;
using models::unet::UNetConfig;

namespace {

// Odd, so that the median is a run; the step takes seconds.
constexpr int kRuns = 5;
constexpr auto kAdapterParts = std::to_array<std::string_view>(
    {"lora_1_overhead", "lora_8_overhead", "strength_change", "switch_set"});

class Sd15Bench {
 public:
  Sd15Bench(const BenchRequest& request, const Device& device, double ceiling,
            const std::function<void(const BenchPart&)>& done)
      : request_(request),
        device_(device),
        ceiling_(ceiling),
        done_(done),
        latent_side_(request.size / 8) {}

  void run() {
    if (wants("unet_step")) measure_unet();
    if (wants_adapters()) measure_lora(adapters_alone(), device_, done_);
    if (wants("vae_decode") || wants("vae_encode")) measure_codec();
    if (wants("text_encoder")) measure_text_encoder();
    if (wants("start") || wants("peak_memory")) measure_program();
  }

 private:
  bool wants(std::string_view part) const {
    return request_.parts.empty() ||
           std::ranges::find(request_.parts, part) != request_.parts.end();
  }
  bool wants_adapters() const { return !adapters_alone().parts.empty(); }
  /// The request for those of its parts that `velatura bench lora` measures in full.
  BenchRequest adapters_alone() const {
    BenchRequest adapters = request_;
    adapters.parts.clear();
    for (const std::string_view part : kAdapterParts) {
      if (wants(part)) adapters.parts.emplace_back(part);
    }
    return adapters;
  }

  /// `work` once under the counter, then timed.
  void measure(const char* name, const std::function<void(ops::Context&)>& work) {
    CountingTable counting(*device_.table);
    Workspace workspace;
    ops::Context counted(counting, workspace, device_.compute);
    work(counted);
    ops::Context context(*device_.table, workspace, device_.compute);
    BenchPart part{.name = name,
                   .seconds = median_seconds(kRuns, [&] { work(context); }),
                   .flops = counting.flops()};
    part.share = part.flops / part.seconds / (ceiling_ * 1e9);
    done_(part);
  }

  void measure_unet() {
    const auto unet = synthetic_model<UNet>("sd15.unet.diffusers", UNetConfig{});
    const Tensor sample = noise({2, 4, latent_side_, latent_side_}), text = noise({2, 77, 768});
    const std::array timestep = {500.0f};
    measure("unet_step", [&](ops::Context& context) {
      nn::Run run{.ops = context};
      (*unet)->forward(run, sample, timestep, text);
    });
  }

  void measure_codec() {
    const auto codec = synthetic_model<AutoencoderKl>("kl4.vae.diffusers", AutoencoderKlConfig{});
    const Tensor latent = noise({1, 4, latent_side_, latent_side_}),
                 picture = noise({1, 3, request_.size, request_.size});
    if (wants("vae_decode")) {
      measure("vae_decode", [&](ops::Context& context) {
        nn::Run run{.ops = context};
        (*codec)->decode(run, latent);
      });
    }
    if (wants("vae_encode")) {
      measure("vae_encode", [&](ops::Context& context) {
        nn::Run run{.ops = context};
        (*codec)->encode(run, picture);
      });
    }
  }

  void measure_text_encoder() {
    const auto encoder = synthetic_model<TextEncoder>("clip_l", ClipTextConfig{});
    Tensor ids = Tensor::allocate({2, 77}, DType::i64);
    for (std::int64_t i = 0; i < ids.count(); ++i) ids.mutable_data<std::int64_t>()[i] = 100 + i;
    measure("text_encoder", [&](ops::Context& context) {
      nn::Run run{.ops = context};
      (*encoder)->forward(run, {.ids = ids}, 0);
    });
  }

  /// A child `velatura generate` on a full-size checkpoint in the page cache: what a user waits for
  /// and what it takes.
  void measure_program() {
    const TemporaryFolder folder;
    const fs::path checkpoint = folder.path() / "sd15.safetensors";
    write_sd15_checkpoint(checkpoint);
    const fs::path program =
        request_.program.empty() ? platform::executable_path() : fs::path(request_.program);
    const std::string command = fmt::format(
        "XDG_CACHE_HOME='{0}' '{1}' generate --model '{2}' --prompt bench --seed 1 --steps 2 "
        "--width {3} --height {3} --out '{0}/out.png' --json "
        "--precision {4} --backend {5} --threads {6} 2>/dev/null",
        folder.path().string(), program.string(), checkpoint.string(), request_.size,
        to_string(device_.compute), device_.table->name(), device_.threads);
    const auto json = run_child(command);
    if (wants("start")) done_({.name = "start", .seconds = json.at("start_seconds")});
    if (wants("peak_memory")) done_({.name = "peak_memory", .bytes = json.at("peak_bytes")});
  }

  static nlohmann::json run_child(const std::string& command) {
    std::FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) fail(ErrorKind::io, "cannot start the program to measure: {}", command);
    std::string output;
    std::array<char, 4096> block{};
    for (std::size_t got = 0; (got = std::fread(block.data(), 1, block.size(), pipe)) > 0;)
      output.append(block.data(), got);
    if (const int status = ::pclose(pipe); status != 0)
      fail(ErrorKind::internal, "the measured program failed with status {}: {}", status, command);
    return nlohmann::json::parse(output);
  }

  const BenchRequest& request_;
  const Device& device_;
  double ceiling_;
  const std::function<void(const BenchPart&)>& done_;
  int latent_side_;
};

constexpr auto kParts = std::to_array<std::string_view>(
    {"unet_step", "lora_1_overhead", "lora_8_overhead", "strength_change", "switch_set",
     "vae_decode", "vae_encode", "text_encoder", "start", "peak_memory"});

}  // namespace

std::span<const std::string_view> sd15_parts() {
  return kParts;
}

void measure_sd15(const BenchRequest& request, const Device& device, double ceiling,
                  const std::function<void(const BenchPart&)>& done) {
  Sd15Bench(request, device, ceiling, done).run();
}

}  // namespace velatura::engine::bench
