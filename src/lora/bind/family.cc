#include "lora/bind/family.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "lora/bind/markers.h"
#include "lora/bind/traits.h"

namespace velatura::lora {

namespace {

using weights::TensorInfo;

struct Title {
  std::string_view id, title;
};
constexpr auto kTitles = std::to_array<Title>(
    {{"sd15", "SD1.5"}, {"sdxl", "SDXL"}, {"flux", "FLUX.1"}, {"zimage", "Z-Image"}});

constexpr std::string_view kClipAlone = "CLIP-L alone: SDXL and FLUX.1 have it, too";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

bool contains_any(std::string_view text, std::span<const std::string_view> parts) {
  return std::ranges::any_of(parts, [&](std::string_view part) { return contains(text, part); });
}

/// One question after the other about one file.
class Detection {
 public:
  explicit Detection(const AdapterFile& file) : file_(file), traits_(file) {}
  FamilyVerdict run();

 private:
  using Test = FamilyVerdict (Detection::*)() const;
  FamilyVerdict first_of(std::initializer_list<Test> tests) const;

  FamilyVerdict another_kind() const;
  FamilyVerdict embedding() const;
  FamilyVerdict ordered() const;
  FamilyVerdict other_family() const;
  FamilyVerdict codec() const;
  FamilyVerdict flux() const;
  FamilyVerdict z_image() const;
  FamilyVerdict unet() const;
  FamilyVerdict text_encoders() const;

  FamilyVerdict flux_by_size() const;
  FamilyVerdict unet_by_text_width() const;
  FamilyVerdict unet_by_names() const;
  FamilyVerdict clip_alone(const TensorInfo* seen) const;

  FamilyVerdict make(std::string_view id_or_name, const TensorInfo* tensor,
                     std::string_view because = {}, std::string_view remark = {},
                     std::string_view rival = {}) const;
  FamilyVerdict by_markers(std::span<const Marker> markers) const;
  template <typename Accept>
  std::optional<InputSide> inputs_of(Accept accept) const;
  template <typename Accept>
  std::optional<InputSide> outputs_of(Accept accept) const;
  std::optional<InputSide> cross_attention() const;

  const AdapterFile& file_;
  const Traits traits_;
};

FamilyVerdict Detection::make(std::string_view id_or_name, const TensorInfo* tensor,
                              std::string_view because, std::string_view remark,
                              std::string_view rival) const {
  FamilyVerdict verdict;
  const std::string_view title = family_title(id_or_name);
  if (title != id_or_name) verdict.id = id_or_name;
  verdict.name = title;
  verdict.remark = remark;
  verdict.rival = rival;
  if (tensor == nullptr) return verdict;
  verdict.evidence = fmt::format("\"{}\" {}", shortened(tensor->name), tensor->shape.to_string());
  if (!because.empty()) verdict.evidence += fmt::format(", {}", because);
  for (const FileModule& module : file_.modules()) {
    const auto is_it = [&](const auto& entry) { return entry.second == tensor->name; };
    if (std::ranges::any_of(module.tensors, is_it)) verdict.module = module.name;
  }
  return verdict;
}

FamilyVerdict Detection::by_markers(std::span<const Marker> markers) const {
  for (const Marker& marker : markers) {
    if (const TensorInfo* seen = traits_.with(marker.part)) return make(marker.name, seen);
  }
  return {};
}

/// Of the first module whose pattern is accepted and whose kind shows its width.
template <typename Accept>
std::optional<InputSide> Detection::inputs_of(Accept accept) const {
  return traits_.side_where(accept, input_side);
}

template <typename Accept>
std::optional<InputSide> Detection::outputs_of(Accept accept) const {
  return traits_.side_where(accept, output_side);
}

FamilyVerdict Detection::another_kind() const {
  // CLIP's own "mlp.fc1" flattens to the same: the dot before it tells Nunchaku's.
  for (const TensorInfo& info : file_.source().tensors()) {
    if (!contains(info.name, ".mlp_fc")) continue;
    if (contains(info.name, ".mlp_fc1") || contains(info.name, ".mlp_fc2")) {
      FamilyVerdict verdict = make("Nunchaku (a packed SVDQuant file)", &info);
      verdict.is_adapter = false;
      return verdict;
    }
  }
  FamilyVerdict verdict = by_markers(kind_markers());
  verdict.is_adapter = false;
  if (!verdict.name.empty()) return verdict;
  const TensorInfo* numbered =
      traits_.where([](std::string_view pattern) { return pattern.starts_with("#_to_"); });
  if (numbered == nullptr) return {};
  verdict = make("IP-Adapter (FaceID's LoRA part)", numbered);
  verdict.is_adapter = false;
  return verdict;
}

/// A file of vectors for new words and nothing else.
FamilyVerdict Detection::embedding() const {
  if (traits_.has_matrices() || file_.source().tensors().empty()) return {};
  FamilyVerdict verdict = by_markers(network_markers());
  verdict.is_adapter = false;
  if (!verdict.name.empty()) return verdict;
  constexpr auto kNames = std::to_array<std::string_view>(
      {"clip_l", "clip_g", "t5", "clip_l_out", "clip_g_out", "t5_out"});
  const bool vectors_alone =
      std::ranges::all_of(file_.source().tensors(), [&](const TensorInfo& info) {
        const bool is_token = info.name.starts_with('<') && info.name.ends_with('>');
        return info.shape.rank() >= 1 && info.shape.rank() <= 2 &&
               (is_token || std::ranges::find(kNames, info.name) != kNames.end());
      });
  if (!vectors_alone) return {};
  verdict = make("textual inversion", &file_.source().tensors().front());
  verdict.is_adapter = false;
  return verdict;
}

/// The first trainer's lists: SD 1.x and 2.x are all there was, and 1024 occurs in 2.x alone.
FamilyVerdict Detection::ordered() const {
  if (!file_.is_ordered()) return {};
  constexpr std::int64_t kText1 = 768, kText2 = 1024;
  const TensorInfo* text = nullptr;
  bool text_in_unet = false;
  for (const FileModule& module : file_.modules()) {
    const bool in_unet = module.name.starts_with("unet:");
    for (const auto& [role, name] : module.tensors) {
      const TensorInfo* info = file_.source().find(name);
      if (info->shape.rank() < 2) continue;
      const std::int64_t width = role == Role::down ? info->shape[1] : info->shape[0];
      if (width == kText2) return make("SD2.x", info, "text width 1024");
      if (width != kText1 || text_in_unet) continue;
      if (text == nullptr || in_unet) text = info;
      text_in_unet = in_unet;
    }
  }
  const bool unet = std::ranges::any_of(
      file_.modules(), [](const FileModule& module) { return module.name.starts_with("unet:"); });
  return make("sd15", text != nullptr ? text : &file_.source().tensors().front(),
              text != nullptr ? "text width 768" : "", unet ? "" : kClipAlone);
}

FamilyVerdict Detection::other_family() const {
  return by_markers(family_markers());
}

FamilyVerdict Detection::codec() const {
  if (traits_.has_matrices()) return {};
  const auto is_codec = [](std::string_view pattern) {
    constexpr auto kParts = std::to_array<std::string_view>(
        {"decoder_", "encoder_", "quant_conv_", "post_quant_conv_", "first_stage_model_"});
    return std::ranges::any_of(kParts,
                               [&](std::string_view part) { return pattern.starts_with(part); }) &&
           !contains(pattern, "_layers_#") && !contains(pattern, "_block_#_layer_");
  };
  if (file_.source().tensors().empty() || !traits_.every(is_codec)) return {};
  return make("VAE", &file_.source().tensors().front());
}

// --- Transformers of FLUX.1's kind -------------------------------------------------------------

bool is_flux(std::string_view pattern) {
  return contains_any(pattern, flux_parts()) && !contains_any(pattern, unet_parts());
}

bool has_single_blocks(std::string_view pattern) {
  return contains(pattern, "double_blocks_#") || contains(pattern, "single_blocks_#") ||
         contains(pattern, "single_transformer_blocks_#");
}

/// Layers that read the hidden state.
bool reads_hidden(std::string_view pattern) {
  constexpr auto kEnds = std::to_array<std::string_view>(
      {"attn_qkv", "attn_proj", "attn_to_q", "attn_to_k", "attn_to_v", "attn_to_out_#",
       "add_q_proj", "add_k_proj", "add_v_proj", "_linear1", "proj_mlp", "mod_lin",
       "modulation_lin", "norm_linear", "norm1_linear", "ff_net_#_proj"});
  return is_flux(pattern) &&
         std::ranges::any_of(kEnds, [&](std::string_view end) { return pattern.ends_with(end); });
}

FamilyVerdict Detection::flux() const {
  const TensorInfo* seen = traits_.where(is_flux);
  if (seen == nullptr) return {};
  if (FamilyVerdict other = flux_by_size(); !other.name.empty()) return other;
  if (traits_.where(has_single_blocks) != nullptr) return make("flux", seen);
  constexpr int kLastDouble = 18;
  const auto deepest = traits_.greatest("transformer_blocks_", is_flux);
  if (deepest.index > kLastDouble) {
    return make("Qwen-Image", deepest.tensor,
                fmt::format("block {}, where FLUX.1 ends at {}", deepest.index, kLastDouble));
  }
  const bool attention_alone = traits_.every([](std::string_view pattern) {
    return !is_flux(pattern) ||
           (contains(pattern, "transformer_blocks_#_attn_") && !contains(pattern, "_norm"));
  });
  return make("flux", seen, {},
              attention_alone
                  ? "attention of the first blocks alone: Qwen-Image's adapters look the same"
                  : "",
              attention_alone ? "Qwen-Image" : "");
}

/// By widths that FLUX.1 (3072, text 4096, MLP four times as wide) does not have. A width of no
/// published model says nothing: layers will not fit, or the model is no published one.
FamilyVerdict Detection::flux_by_size() const {
  constexpr std::int64_t kHidden = 3072;
  if (const auto text = inputs_of([](std::string_view pattern) {
        return pattern.ends_with("txt_in") || pattern.ends_with("context_embedder");
      });
      text && (text->width == 7680 || text->width == 12288 || text->width == 15360))
    return make("FLUX.2", text->tensor, fmt::format("text width {}", text->width));
  const bool single = traits_.where(has_single_blocks) != nullptr;
  // Factors of Kronecker products may multiply to anything in files made up by hand.
  const auto of_pairs = [](const AdapterFile& file, const FileModule& module) {
    const bool is_product =
        module.tensors.contains(Role::lokr_w1) || module.tensors.contains(Role::lokr_w1_a);
    return is_product ? std::nullopt : input_side(file, module);
  };
  const std::optional<InputSide> hidden = traits_.side_where(reads_hidden, of_pairs);
  if (hidden) {
    const std::string because = fmt::format("hidden width {}", hidden->width);
    if (!single && (hidden->width == 1536 || hidden->width == 2432))
      return make(hidden->width == 2432 ? "SD3.5" : "SD3 or SD3.5", hidden->tensor, because);
    if (hidden->width == 4096 || hidden->width == 6144)
      return make("FLUX.2", hidden->tensor, because);
  }
  const auto gated = outputs_of([](std::string_view pattern) {
    return pattern.ends_with("img_mlp_#") || pattern.ends_with("txt_mlp_#");
  });
  if (gated && gated->width == 6 * kHidden)
    return make("FLUX.2", gated->tensor, fmt::format("MLP rows {}", gated->width));
  // A whole transformer has the weights themselves.
  if (!traits_.has_matrices()) {
    for (const TensorInfo& info : file_.source().tensors()) {
      const std::string pattern = pattern_of(info.name);
      if (info.shape.rank() != 2 || !contains(pattern, "img_attn_qkv_weight")) continue;
      const std::int64_t width = info.shape[1];
      const auto* mlp = traits_.with("img_mlp_#_weight");
      const bool is_gated = mlp != nullptr && mlp->shape.rank() == 2 && mlp->shape[0] == 6 * width;
      if (width == 4096 || width == 6144 || is_gated)
        return make("FLUX.2", is_gated ? mlp : &info, fmt::format("hidden width {}", width));
    }
  }
  return {};
}

// --- Transformers of Z-Image's kind ------------------------------------------------------------

FamilyVerdict Detection::z_image() const {
  const TensorInfo* seen = traits_.where([](std::string_view pattern) {
    return contains_any(pattern, z_image_parts()) && !contains_any(pattern, unet_parts());
  });
  if (seen == nullptr) return {};
  const auto hidden = inputs_of([](std::string_view pattern) {
    return contains(pattern, "_attention_to_") || pattern.ends_with("_attention_qkv") ||
           pattern.ends_with("feed_forward_w1") || pattern.ends_with("feed_forward_w3");
  });
  constexpr std::int64_t kLumina2 = 2304;
  if (hidden && hidden->width == kLumina2) return make("Lumina 2", hidden->tensor, "width 2304");
  return make("zimage", seen);
}

// --- UNets -------------------------------------------------------------------------------------

FamilyVerdict Detection::unet() const {
  if (traits_.where([](std::string_view pattern) { return contains_any(pattern, unet_parts()); }) ==
      nullptr)
    return {};
  if (FamilyVerdict verdict = unet_by_text_width(); !verdict.name.empty()) return verdict;
  return unet_by_names();
}

bool is_cross_attention(std::string_view pattern) {
  return contains(pattern, "attn2") && (contains(pattern, "to_k") || contains(pattern, "to_v"));
}

std::optional<InputSide> Detection::cross_attention() const {
  if (auto side = inputs_of(is_cross_attention)) return side;
  for (const TensorInfo& info : file_.source().tensors()) {
    if (info.name.ends_with("attn2.to_k.weight") && info.shape.rank() == 2)
      return InputSide{&info, info.shape[1]};
  }
  return std::nullopt;
}

/// Cross-attention's keys and values read the text.
FamilyVerdict Detection::unet_by_text_width() const {
  struct Row {
    std::int64_t width;
    std::string_view family;
  };
  constexpr auto kWidths =
      std::to_array<Row>({{768, "sd15"}, {1024, "SD2.x"}, {2048, "sdxl"}, {1280, "SDXL refiner"}});
  const auto side = cross_attention();
  if (!side) return {};
  for (const Row& row : kWidths) {
    if (row.width == side->width)
      return make(row.family, side->tensor, fmt::format("text width {}", row.width));
  }
  return {};
}

std::string lower_letters(std::string_view text) {
  std::string letters;
  for (const char c : text) {
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')) letters += c;
    if (c >= 'A' && c <= 'Z') letters += static_cast<char>(c - 'A' + 'a');
  }
  return letters;
}

FamilyVerdict Detection::unet_by_names() const {
  const auto in_unet = [](std::string_view pattern) { return contains_any(pattern, unet_parts()); };
  if (const auto deep = traits_.greatest("transformer_blocks_", in_unet); deep.index >= 1)
    return make("sdxl", deep.tensor, "several transformer blocks in one attention");
  for (const char* part :
       {"lora_te2_", "text_encoder_#_", "clip_g_", "label_emb", "add_embedding"}) {
    if (const TensorInfo* seen = traits_.with(part)) return make("sdxl", seen);
  }
  // The fourth level is SD 1.x's and 2.x's; SDXL has three. Then what only the two have at 320
  // channels, then how their text encoders differ.
  const auto version_two = inputs_of([](std::string_view pattern) {
    return contains(pattern, "text_model_encoder_layers_#_self_attn");
  });
  if (version_two && version_two->width == 1024)
    return make("SD2.x", version_two->tensor, "text width 1024");
  for (const TensorInfo& info : file_.source().tensors()) {
    const std::string flat = flatten(info.name);
    for (const char* part : {"down_blocks_3", "up_blocks_3", "input_blocks_9", "input_blocks_10",
                             "input_blocks_11", "output_blocks_9", "output_blocks_10",
                             "output_blocks_11", "down_blocks_0_attentions", "input_blocks_1_1_"}) {
      if (contains(flat, part)) return make("sd15", &info);
    }
  }
  for (const FileModule& module : file_.modules()) {
    if (!module.name.ends_with("proj_in")) continue;
    const auto side = input_side(file_, module);
    if (side && side->tensor->shape.rank() == 4)
      return make("sd15", side->tensor, "a convolution; SDXL has a linear layer");
  }
  const auto& metadata = file_.source().metadata();
  const TensorInfo* first = traits_.where(in_unet);
  if (const auto base = metadata.find("ss_base_model_version"); base != metadata.end()) {
    const std::string version = lower_letters(base->second);
    if (version.starts_with("sdxl")) return make("sdxl", first, "by its metadata alone");
    if (version.starts_with("sdv2") || version.starts_with("sd2"))
      return make("SD2.x", first, "by its metadata alone");
  }
  if (const auto two = metadata.find("ss_v2"); two != metadata.end() && two->second == "True")
    return make("SD2.x", first, "by its metadata alone");
  return make("sd15", first, {}, "a UNet of SD1.5, SD2.x or SDXL: nothing in the file tells which");
}

// --- Text encoders alone -----------------------------------------------------------------------

FamilyVerdict Detection::text_encoders() const {
  const TensorInfo* t5 = traits_.with("encoder_block_#_layer_#_");
  if (t5 != nullptr) return make("flux", t5, {}, "T5 alone, without a denoiser");
  const TensorInfo* clip = traits_.where([](std::string_view pattern) {
    return contains(pattern, "text_model_") || contains(pattern, "resblocks_#") ||
           contains(pattern, "encoder_layers_#_self_attn");
  });
  if (clip != nullptr) return clip_alone(clip);
  const TensorInfo* llama = traits_.where([](std::string_view pattern) {
    return contains(pattern, "layers_#_self_attn_") ||
           contains(pattern, "layers_#_mlp_gate_proj") ||
           contains(pattern, "layers_#_mlp_up_proj") || contains(pattern, "layers_#_mlp_down_proj");
  });
  if (llama == nullptr) return {};
  const auto width = inputs_of([](std::string_view pattern) {
    return pattern.ends_with("_q_proj") || pattern.ends_with("_gate_proj");
  });
  constexpr std::int64_t kAnima = 1024;
  if (width && width->width == kAnima) return make("Anima", width->tensor, "width 1024");
  return make("zimage", llama, {}, "Qwen3 alone, without a denoiser");
}

FamilyVerdict Detection::clip_alone(const TensorInfo* seen) const {
  auto width = inputs_of([](std::string_view pattern) {
    return contains(pattern, "self_attn_") || contains(pattern, "mlp_fc1") ||
           contains(pattern, "attn_in_proj") || contains(pattern, "mlp_c_fc");
  });
  const TensorInfo* whole = traits_.where([](std::string_view pattern) {
    return pattern.ends_with("_attn_in_proj_weight") || pattern.ends_with("_attn_q_proj_weight");
  });
  if (!width && whole != nullptr && whole->shape.rank() == 2)
    width = InputSide{whole, whole->shape[1]};
  if (width && width->width == 1024) return make("SD2.x", width->tensor, "text width 1024");
  for (const char* part : {"lora_te2_", "text_encoder_#_", "clip_g_", "resblocks_#"}) {
    if (const TensorInfo* second = traits_.with(part)) return make("sdxl", second);
  }
  if (width && width->width == 1280) return make("sdxl", width->tensor, "text width 1280");
  if (traits_.with("lora_te1_") != nullptr)
    return make("sdxl", seen, {}, "CLIP-L alone: FLUX.1 and SD1.5 have it, too");
  return make("sd15", seen, {}, kClipAlone);
}

FamilyVerdict Detection::first_of(std::initializer_list<Test> tests) const {
  for (const Test test : tests) {
    if (FamilyVerdict verdict = (this->*test)(); !verdict.name.empty()) return verdict;
  }
  return {};
}

FamilyVerdict Detection::run() {
  FamilyVerdict verdict =
      first_of({&Detection::another_kind, &Detection::embedding, &Detection::ordered,
                &Detection::other_family, &Detection::codec, &Detection::flux, &Detection::z_image,
                &Detection::unet});
  const bool text_alone = verdict.name.empty();
  if (text_alone) verdict = text_encoders();
  if (traits_.has_matrices() || verdict.name.empty() || !verdict.is_adapter) return verdict;
  // The names of a family, and no adapter's matrices: the network itself, but for what calls itself
  // an adapter.
  if (const TensorInfo* strange = traits_.with("_lora_"); strange != nullptr) {
    verdict = make("adapter of an unknown kind for " + verdict.name, strange);
  } else if (verdict.name != "VAE") {
    verdict.name =
        (text_alone ? "checkpoint of a text encoder of " : "checkpoint of ") + verdict.name;
  }
  verdict.id.clear();
  verdict.remark.clear();
  verdict.is_adapter = false;
  return verdict;
}

/// Whether the model has the module that decided, with as many inputs.
bool model_has(const FamilyVerdict& verdict, const AdapterFile& file, const NameIndex& names) {
  const auto module = std::ranges::find(file.modules(), verdict.module, &FileModule::name);
  if (module == file.modules().end()) return false;
  const NameIndex::Entry* entry = names.find(file.lookup_name(*module));
  if (entry == nullptr) return false;
  const auto side = input_side(file, *module);
  const Shape& weight = entry->placement->weight;
  if (!side) return true;
  // A convolution may be stored with two axes: its inputs are then the kernel's elements, too.
  return weight.rank() >= 2 &&
         (weight[1] == side->width || (weight[0] > 0 && weight.count() / weight[0] == side->width));
}

}  // namespace

FamilyVerdict detect_family(const AdapterFile& file) {
  return Detection(file).run();
}

std::string_view family_title(std::string_view id) {
  const auto found = std::ranges::find(kTitles, id, &Title::id);
  return found == kTitles.end() ? id : found->title;
}

std::string_view family_of_model(std::span<const Component> components) {
  const auto has = [&](weights::Part part) {
    return std::ranges::find(components, part, &Component::part) != components.end();
  };
  if (has(weights::Part::flux) || has(weights::Part::t5)) return "flux";
  if (has(weights::Part::z_image) || has(weights::Part::qwen3)) return "zimage";
  const bool is_sdxl = std::ranges::any_of(components, [](const Component& component) {
    return component.part == weights::Part::clip_g ||
           std::ranges::any_of(component.modules, [](const ModuleShape& module) {
             return module.path == "add_embedding.linear_1";
           });
  });
  return is_sdxl ? "sdxl" : "sd15";
}

void require_family(const FamilyVerdict& verdict, const AdapterFile& file,
                    std::span<const Component> components, const NameIndex& names) {
  const std::string_view model = family_of_model(components);
  if (verdict.name.empty() || verdict.id == model) return;
  const std::string name = file.path().filename().string();
  if (!verdict.is_adapter) {
    fail(ErrorKind::mismatch, "{} is a file of another kind, {} ({}): nothing was applied", name,
         verdict.name, verdict.evidence);
  }
  if (model_has(verdict, file, names)) return;
  fail(ErrorKind::mismatch, "{} was made for {}; the loaded model is {} ({}): nothing was applied",
       name, verdict.name, family_title(model), verdict.evidence);
}

}  // namespace velatura::lora
