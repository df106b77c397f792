#include "models/ldm_checkpoint.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <set>

#include "base/error.h"
#include "models/autoencoder_kl/names.h"
#include "models/clip/names.h"
#include "models/unet/names.h"
#include "weights/name_map.h"

namespace velatura::models {

namespace {

/// Buffers of CompVis' DDPM class, which are computed from the schedule anyway.
constexpr std::array<std::string_view, 15> kScheduleBuffers = {"betas",
                                                               "alphas_cumprod",
                                                               "alphas_cumprod_prev",
                                                               "sqrt_alphas_cumprod",
                                                               "sqrt_one_minus_alphas_cumprod",
                                                               "log_one_minus_alphas_cumprod",
                                                               "sqrt_recip_alphas_cumprod",
                                                               "sqrt_recipm1_alphas_cumprod",
                                                               "posterior_variance",
                                                               "posterior_log_variance_clipped",
                                                               "posterior_mean_coef1",
                                                               "posterior_mean_coef2",
                                                               "logvar",
                                                               "lvlb_weights",
                                                               "scale_factor"};
/// Averaged weights, training losses, and the tensors that mark a prediction type.
constexpr std::array<std::string_view, 7> kIgnoredPrefixes = {
    "model_ema.", "first_stage_model.loss.",     "loss.", "v_pred", "ztsnr",
    "edm_vpred.", "cond_stage_model.logit_scale"};

/// Names below one prefix.
class Part {
 public:
  Part(const weights::Source& source, std::string prefix)
      : source_(source), prefix_(std::move(prefix)) {}
  const weights::TensorInfo* find(const std::string& name) const {
    return source_.find(prefix_ + name);
  }
  bool has(const std::string& name) const { return find(name) != nullptr; }
  /// Extent `axis` of a tensor that the part cannot be without.
  int extent(const std::string& name, int axis) const {
    constexpr std::int64_t kMost = 1 << 20;
    const weights::TensorInfo* info = find(name);
    if (info == nullptr || info->shape.rank() <= axis || info->shape[axis] < 1 ||
        info->shape[axis] > kMost) {
      fail(ErrorKind::bad_file, "\"{}\": tensor \"{}{}\" is missing or has an unusable shape",
           source_.description(), prefix_, name);
    }
    return static_cast<int>(info->shape[axis]);
  }
  /// How many of name(0), name(1), … follow one another.
  static int count(const std::function<bool(int)>& present) {
    constexpr int kMost = 1024;
    int n = 0;
    while (n < kMost && present(n)) ++n;
    return n;
  }

 private:
  const weights::Source& source_;
  std::string prefix_;
};

/// The prefix under which `source` has `name`, out of `prefixes`.
std::optional<std::string> prefix_of(const weights::Source& source, std::string_view name,
                                     std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (source.find(std::string(prefix) + std::string(name)) != nullptr) return std::string(prefix);
  }
  return std::nullopt;
}

std::optional<std::string> unet_prefix(const weights::Source& source) {
  return prefix_of(source, "input_blocks.0.0.weight", {unet::kLdmPrefix, "diffusion_model.", ""});
}
std::optional<std::string> vae_prefix(const weights::Source& source) {
  return prefix_of(source, "decoder.mid.block_1.conv1.weight", {autoencoder_kl::kLdmPrefix, ""});
}
std::optional<std::string> text_prefix(const weights::Source& source) {
  const std::string model = std::string(clip::kLdmPrefix) + "text_model.";
  return prefix_of(source, "embeddings.token_embedding.weight",
                   {model, clip::kLdmPrefix, "text_model.", ""});
}

int transformer_blocks(const Part& part, const std::string& item) {
  return Part::count([&](int n) {
    return part.has(item + ".1.transformer_blocks." + std::to_string(n) + ".norm1.weight");
  });
}

unet::UNetConfig detect_unet(const Part& part) {
  unet::UNetConfig config;
  config.block_channels.clear();
  config.layers.clear();
  config.down_attention.clear();
  config.transformer_layers.clear();
  config.in_channels = part.extent("input_blocks.0.0.weight", 1);
  config.out_channels = part.extent("out.2.weight", 0);
  config.time_embedding_dim = part.extent("time_embed.0.weight", 0);
  bool new_block = true;
  for (int item = 1;; ++item) {
    const std::string name = "input_blocks." + std::to_string(item);
    if (part.has(name + ".0.op.weight")) {
      new_block = true;
      continue;
    }
    if (!part.has(name + ".0.in_layers.2.weight")) break;
    if (new_block) {
      config.block_channels.push_back(part.extent(name + ".0.in_layers.2.weight", 0));
      config.layers.push_back(0);
      config.down_attention.push_back(part.has(name + ".1.norm.weight"));
      config.transformer_layers.push_back(std::max(1, transformer_blocks(part, name)));
      new_block = false;
    }
    ++config.layers.back();
  }
  if (config.layers.empty()) fail(ErrorKind::bad_file, "the denoiser has no blocks");
  config.up_attention.clear();
  int item = 0;
  for (auto layers = config.layers.rbegin(); layers != config.layers.rend(); ++layers) {
    config.up_attention.push_back(
        part.has("output_blocks." + std::to_string(item) + ".1.norm.weight"));
    item += *layers + 1;
  }
  const int heads = unet::UNetConfig{}.heads.front();
  config.heads.assign(config.block_channels.size(), heads);
  const std::string transformer = "middle_block.1";
  config.cross_attention_dim =
      part.extent(transformer + ".transformer_blocks.0.attn2.to_k.weight", 1);
  config.linear_projection = part.find(transformer + ".proj_in.weight") != nullptr &&
                             part.find(transformer + ".proj_in.weight")->shape.rank() == 2;
  return config;
}

autoencoder_kl::AutoencoderKlConfig detect_vae(const Part& part) {
  autoencoder_kl::AutoencoderKlConfig config;
  const auto level_name = [](int level) {
    return "decoder.up." + std::to_string(level) + ".block.";
  };
  const int levels = Part::count([&](int n) { return part.has(level_name(n) + "0.conv1.weight"); });
  config.block_channels.clear();
  for (int level = 0; level < levels; ++level) {
    config.block_channels.push_back(part.extent(level_name(level) + "0.conv1.weight", 0));
  }
  config.layers = Part::count([&](int n) {
                    return part.has(level_name(0) + std::to_string(n) + ".conv1.weight");
                  }) -
                  1;
  if (levels == 0 || config.layers < 1)
    fail(ErrorKind::bad_file, "the codec's decoder has no blocks");
  config.picture_channels = part.extent("decoder.conv_out.weight", 0);
  config.latent_channels = part.extent("decoder.conv_in.weight", 1);
  config.mid_attention = part.has("decoder.mid.attn_1.q.weight");
  config.quant_conv = part.has("quant_conv.weight");
  config.post_quant_conv = part.has("post_quant_conv.weight");
  return config;
}

clip::ClipTextConfig detect_text_encoder(const Part& part) {
  constexpr int kHeadWidth = 64;  // of every published CLIP text encoder
  clip::ClipTextConfig config;
  const std::string layer = "encoder.layers.";
  config.vocabulary = part.extent("embeddings.token_embedding.weight", 0);
  config.width = part.extent("embeddings.token_embedding.weight", 1);
  config.positions = part.extent("embeddings.position_embedding.weight", 0);
  config.feed_forward_width = part.extent(layer + "0.mlp.fc1.weight", 0);
  config.layers =
      Part::count([&](int n) { return part.has(layer + std::to_string(n) + ".mlp.fc1.weight"); });
  config.heads = std::max(1, config.width / kHeadWidth);
  return config;
}

}  // namespace

LdmConfigs detect_ldm(const weights::Source& file) {
  LdmConfigs configs;
  if (const auto prefix = unet_prefix(file)) configs.unet = detect_unet(Part(file, *prefix));
  if (const auto prefix = vae_prefix(file)) configs.vae = detect_vae(Part(file, *prefix));
  if (const auto prefix = text_prefix(file))
    configs.text_encoder = detect_text_encoder(Part(file, *prefix));
  return configs;
}

bool is_known_unused(std::string_view name) {
  return name.ends_with("position_ids") ||
         std::find(kScheduleBuffers.begin(), kScheduleBuffers.end(), name) !=
             kScheduleBuffers.end() ||
         std::any_of(kIgnoredPrefixes.begin(), kIgnoredPrefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

LdmCheckpoint open_ldm(const std::shared_ptr<const weights::Source>& file,
                       const LdmConfigs& configs) {
  LdmCheckpoint parts;
  std::set<std::string> leftover;
  for (const weights::TensorInfo& info : file->tensors()) leftover.insert(info.name);
  const auto map = [&](weights::NameMap rows) -> std::shared_ptr<const weights::Source> {
    for (const weights::NameRow& row : rows) leftover.erase(row.file);
    return std::make_shared<weights::MappedSource>(file, std::move(rows));
  };
  if (const auto prefix = unet_prefix(*file))
    parts.unet = map(unet::ldm_names(configs.unet, *prefix));
  if (const auto prefix = vae_prefix(*file))
    parts.vae = map(autoencoder_kl::ldm_names(configs.vae, *prefix));
  if (text_prefix(*file)) parts.text_encoder = map(clip::names(configs.text_encoder));
  for (const weights::TensorInfo& info : file->tensors()) {
    if (!leftover.contains(info.name)) continue;
    (is_known_unused(info.name) ? parts.known_unused : parts.unknown).push_back(info.name);
  }
  return parts;
}

}  // namespace velatura::models
