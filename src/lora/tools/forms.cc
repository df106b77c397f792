#include "lora/tools/forms.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace velatura::lora::tools {

namespace {

using weights::Part;

struct FormRow {
  Form form;
  std::string_view name;
};
constexpr auto kForms = std::to_array<FormRow>({{Form::kohya, "kohya"},
                                                {Form::diffusers, "diffusers"},
                                                {Form::diffusers, "peft"},
                                                {Form::comfy, "comfy"},
                                                {Form::comfy, "comfyui"}});

struct PrefixRow {
  std::string_view family;  ///< empty: every other
  Part part;
  std::string_view kohya, diffusers, comfy;
};
// Of several spellings the one that most programs read (lora-formats §2.3, §6.7).
constexpr auto kPrefixes = std::to_array<PrefixRow>({
    {"sd15", Part::clip_l, "lora_te_", "text_encoder.", "text_encoders.clip_l.transformer."},
    {"", Part::clip_l, "lora_te1_", "text_encoder.", "text_encoders.clip_l.transformer."},
    {"", Part::clip_g, "lora_te2_", "text_encoder_2.", "text_encoders.clip_g.transformer."},
    {"", Part::t5, "lora_te3_", "text_encoder_2.", "text_encoders.t5xxl.transformer."},
    {"", Part::qwen3, "lora_te_", "text_encoder.", "text_encoders.qwen3_4b.transformer."},
    {"", Part::unet, "lora_unet_", "unet.", "diffusion_model."},
    {"", Part::flux, "lora_unet_", "transformer.", "diffusion_model."},
    {"", Part::z_image, "lora_unet_", "transformer.", "diffusion_model."},
});

std::string_view prefix_of(Form form, std::string_view family, Part part) {
  for (const PrefixRow& row : kPrefixes) {
    if (row.part != part || (!row.family.empty() && row.family != family)) continue;
    return form == Form::kohya ? row.kohya : form == Form::diffusers ? row.diffusers : row.comfy;
  }
  VELATURA_CHECK(false);
  return {};
}

/// kohya's SD1.5 and Z-Image files have diffusers' paths, its SDXL and FLUX.1 files the single
/// file's.
bool is_native(Form form, std::string_view family, Part part) {
  if (weights::is_text_encoder(part) || form == Form::diffusers) return false;
  return form == Form::comfy || family == "sdxl" || family == "flux";
}

std::string module_name(Form form, std::string_view prefix, Part part, std::string path) {
  // Single llama-type encoders: "lora_te_layers_0_…" is what ComfyUI reads.
  constexpr std::string_view kModel = "model.";
  if (form == Form::kohya && part == Part::qwen3 && path.starts_with(kModel))
    path.erase(0, kModel.size());
  return std::string(prefix) + (form == Form::kohya ? flatten(path) : path);
}

/// canonical weight name → native module path.
std::map<std::string, std::string> native_paths(const Component& component) {
  constexpr std::string_view kEnd = ".weight";
  std::map<std::string, std::string> paths;
  for (const weights::NameRow& row : component.native) {
    if (row.file.ends_with(kEnd))
      paths.emplace(row.canonical, row.file.substr(0, row.file.size() - kEnd.size()));
  }
  return paths;
}

struct SuffixRow {
  Role role;
  std::string_view kohya;      ///< and ComfyUI's
  std::string_view diffusers;  ///< empty: not in this form
};
constexpr auto kSuffixes = std::to_array<SuffixRow>({
    {Role::down, ".lora_down.weight", ".lora_A.weight"},
    {Role::up, ".lora_up.weight", ".lora_B.weight"},
    {Role::mid, ".lora_mid.weight", ""},
    {Role::alpha, ".alpha", ""},
    {Role::scale, ".scale", ""},
    {Role::scalar, ".scalar", ""},
    {Role::down_bias, ".lora_down.bias", ".lora_A.bias"},
    {Role::up_bias, ".lora_up.bias", ".lora_B.bias"},
    {Role::dora_scale, ".dora_scale", ".lora_magnitude_vector"},
    {Role::hada_w1_a, ".hada_w1_a", ""},
    {Role::hada_w1_b, ".hada_w1_b", ""},
    {Role::hada_w2_a, ".hada_w2_a", ""},
    {Role::hada_w2_b, ".hada_w2_b", ""},
    {Role::hada_t1, ".hada_t1", ""},
    {Role::hada_t2, ".hada_t2", ""},
    {Role::lokr_w1, ".lokr_w1", ""},
    {Role::lokr_w1_a, ".lokr_w1_a", ""},
    {Role::lokr_w1_b, ".lokr_w1_b", ""},
    {Role::lokr_w2, ".lokr_w2", ""},
    {Role::lokr_w2_a, ".lokr_w2_a", ""},
    {Role::lokr_w2_b, ".lokr_w2_b", ""},
    {Role::lokr_t1, ".lokr_t1", ""},
    {Role::lokr_t2, ".lokr_t2", ""},
    {Role::glora_a1, ".a1.weight", ""},
    {Role::glora_a2, ".a2.weight", ""},
    {Role::glora_b1, ".b1.weight", ""},
    {Role::glora_b2, ".b2.weight", ""},
    {Role::glora_bm, ".bm.weight", ""},
    {Role::ia3_on_input, ".on_input", ""},
    {Role::oft_blocks, ".oft_blocks", ""},
    {Role::oft_diag, ".oft_diag", ""},
    {Role::oft_r, ".oft_R.weight", ""},
    {Role::oft_scaled, ".oft_R.scaled_oft", ""},
    {Role::rescale, ".rescale", ""},
    {Role::diff, ".diff", ""},
    {Role::diff_b, ".diff_b", ""},
    {Role::norm_w, ".w_norm", ""},
    {Role::norm_b, ".b_norm", ""},
    {Role::set_weight, ".set_weight", ""},
    {Role::set_bias, ".bias.set_weight", ""},
    {Role::reshape_weight, ".reshape_weight", ""},
    {Role::sparse_indices, ".bias_indices", ""},
    {Role::sparse_values, ".bias_values", ""},
    {Role::sparse_size, ".bias_size", ""},
    {Role::tlora_q, ".q_layer.weight", ""},
    {Role::tlora_p, ".p_layer.weight", ""},
    {Role::tlora_lambda, ".lambda_layer", ""},
    {Role::tlora_base_q, ".base_q", ""},
    {Role::tlora_base_p, ".base_p", ""},
    {Role::tlora_base_lambda, ".base_lambda", ""},
});

}  // namespace

std::optional<Form> parse_form(std::string_view word) {
  const auto row = std::ranges::find(kForms, word, &FormRow::name);
  return row == kForms.end() ? std::nullopt : std::optional(row->form);
}

std::string_view to_string(Form form) {
  return std::ranges::find(kForms, form, &FormRow::form)->name;
}

FormModules::FormModules(Form form, std::string_view family, std::span<const Component> components,
                         const NameIndex& names) {
  int index = 0;
  for (const Component& component : components) {
    const std::string_view prefix = prefix_of(form, family, component.part);
    const auto natives = is_native(form, family, component.part)
                             ? native_paths(component)
                             : std::map<std::string, std::string>();
    std::map<std::string, std::shared_ptr<const FormModule>> made;
    for (std::size_t layer = 0; layer < component.modules.size(); ++layer) {
      const ModuleShape& module = component.modules[layer];
      const auto native = natives.find(module.weight_name());
      const std::string name = module_name(form, prefix, component.part,
                                           native == natives.end() ? module.path : native->second);
      auto [at, fresh] = made.emplace(name, nullptr);
      if (fresh) {
        const NameIndex::Entry* entry = names.find(name);
        if (entry == nullptr || entry->placement->pieces.empty()) continue;
        at->second = std::make_shared<FormModule>(FormModule{name, entry->placement});
      }
      if (at->second != nullptr)
        by_target_.emplace(Target{index, static_cast<nn::LayerId>(layer)}, at->second);
    }
    ++index;
  }
}

const FormModule& FormModules::of(Target target) const {
  const auto found = by_target_.find(target);
  if (found == by_target_.end())
    fail(ErrorKind::unsupported, "a module has no name in this form: {}", target.layer);
  return *found->second;
}

std::string suffix_of(Form form, Role role) {
  if (role == Role::down_transposed) role = Role::down;
  if (role == Role::up_transposed) role = Role::up;
  if (role == Role::magnitude_vector) role = Role::dora_scale;
  const auto row = std::ranges::find(kSuffixes, role, &SuffixRow::role);
  VELATURA_CHECK(row != kSuffixes.end());
  return std::string(form == Form::diffusers ? row->diffusers : row->kohya);
}

std::string suffix_of(Form form, Role role, const ModuleView& module) {
  if (role == Role::ia3) return module.has(Role::ia3_on_input) ? ".weight" : ".ia3_l.weight";
  return suffix_of(form, role);
}

bool holds(Form form, const ModuleView& module) {
  // A list of blocks counts slices of kohya's own fused layers; its prefix carries a meaning of
  // alpha that other OFT files do not share (lora-formats §1.10).
  if (module.has(Role::oft_list) || module.name.starts_with("oft_unet_")) return false;
  // ComfyUI alone reads a suffix behind a parameter's name, and of a denoiser.
  if (module.has(Role::set_bias))
    return form == Form::comfy && !weights::is_text_encoder(module.component->part);
  if (form != Form::diffusers) return true;
  return std::ranges::all_of(module.tensors, [&](const auto& tensor) {
    switch (tensor.first) {
      case Role::down:
      case Role::up:
      case Role::down_transposed:
      case Role::up_transposed:
      case Role::alpha:
      case Role::up_bias:
        return true;
      case Role::scale:
      case Role::scalar:
        return !module.is_dora() && !module.has(Role::up_bias);  // a pair's go into its alpha
      case Role::dora_scale:
      case Role::magnitude_vector:
        return module.has_output_axis;
      default:
        return false;
    }
  });
}

}  // namespace velatura::lora::tools
