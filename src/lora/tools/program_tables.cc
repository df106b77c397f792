// Sources in brackets of lora-formats, by section; file names are those of the programs' trees as
// they stood from October 2025 to August 2026.
#include "lora/tools/program_tables.h"

#include <algorithm>
#include <array>

namespace velatura::lora::tools {

namespace {

bool has_form(const Asked& asked, std::string_view part) {
  return asked.module.name.find(part) != std::string::npos;
}

// ---- ComfyUI and Forge, which has ComfyUI's maps

constexpr std::string_view kComfyMap = "ComfyUI comfy/lora.py; lora-formats 2.2, 2.5, 2.6";
constexpr auto kComfySpellings = std::to_array<SpellingRow>({
    {kUNets, false, "lora_unet_", kEither},
    {kUNets, false, "lycoris_", kCanonical},
    {kUNets, false, "diffusion_model.", kNative},
    {kUNets, false, "unet.", kAnyForm},
    {kUNets, false, "", kAnyForm},
    {kFlux, false, "lora_unet_", kNative},
    {kFlux, false, "transformer.", kCanonical},
    {kFlux, false, "lycoris_", kCanonical},
    {kFlux, false, "lora_transformer_", kCanonical},
    {kFlux, false, "diffusion_model.", kNative},
    {kFlux, false, "", kAnyForm},
    {kZImage, false, "lora_unet_", kNative},
    {kZImage, false, "diffusion_model.", kEither},
    {kZImage, false, "transformer.", kCanonical},
    {kZImage, false, "lycoris_", kCanonical},
    {kZImage, false, "", kEither},
    {kAllFamilies, true, "lora_te_", kAnyForm},
    {kAllFamilies, true, "lora_te1_", kAnyForm},
    {kAllFamilies, true, "lora_te2_", kAnyForm},
    {kAllFamilies, true, "lora_te3_", kAnyForm},
    {kAllFamilies, true, "text_encoder.", kAnyForm},
    {kAllFamilies, true, "text_encoder_2.", kAnyForm},
    {kAllFamilies, true, "text_encoders.", kAnyForm},
});

constexpr std::string_view kNobodyOftV2 = "OneTrainer PR 1563: nobody else reads OFT v2";
constexpr auto kComfyKinds = std::to_array<KindRow>({
    {"(IA)³", Effect::lost, "not among its weight adapters", "ComfyUI comfy/weight_adapter"},
    {"OFT v2", Effect::lost, "not among its weight adapters", kNobodyOftV2},
    {"OFT", Effect::differs,
     "compares the norm with alpha itself and multiplies the strength twice",
     "ComfyUI comfy/weight_adapter/oft.py; lora-formats 1.10"},
    {"BOFT", Effect::differs, "compares the norm with alpha itself",
     "ComfyUI comfy/weight_adapter/boft.py; lora-formats 1.10"},
    {"sparse residual", Effect::lost, "bias_indices are not read", "lora-formats 1.14"},
});

constexpr auto kComfyRules = std::to_array<RuleRow>({
    {kUNets,
     [](const Asked& asked) {
       return (asked.spelling.prefix == "unet." || asked.spelling.prefix.empty()) &&
              has_form(asked, ".to_") && !has_form(asked, ".processor.");
     },
     Effect::lost,
     "looks attention up as \".processor.to_…\": the usual advice is to convert to kohya",
     "ComfyUI comfy/lora.py; lora-formats 2.2"},
    {kAllFamilies, [](const Asked& asked) { return asked.module.has(Role::magnitude_vector); },
     Effect::differs, "PEFT's magnitude is not read: applied as plain LoRA",
     "ComfyUI comfy/weight_adapter/lora.py"},
    {kAllFamilies,
     [](const Asked& asked) {
       return asked.module.has(Role::dora_scale) && asked.module.has_output_axis;
     },
     Effect::differs, "DoRA over output rows takes the norm of the base weight",
     "ComfyUI PR 15458"},
    {kAllFamilies, [](const Asked& asked) { return asked.facts.has_outer_scale; }, Effect::differs,
     "alpha stands in adapter_config.json or lora_adapter_metadata, which it does not read",
     "ComfyUI issues 12191, 12374"},
    {kAllFamilies, [](const Asked& asked) { return asked.module.has(Role::scale); },
     Effect::differs, "a stored scale is not read", "lora-formats 1.1"},
});

// ---- A1111

constexpr std::string_view kWebUiMap = "A1111 extensions-builtin/Lora/networks.py";
constexpr auto kWebUiSpellings = std::to_array<SpellingRow>({
    {kUNets, false, "lora_unet_", kEither},
    {kUNets, false, "oft_unet_", kEither},
    {kUNets, true, "lora_te_", kAnyForm},
    {kUNets, true, "lora_te1_", kAnyForm},
    {kUNets, true, "lora_te2_", kAnyForm},
});
constexpr auto kWebUiKinds = std::to_array<KindRow>({
    {"OFT v2", Effect::lost, "oft_R is not read", kNobodyOftV2},
    {"GLoRA", Effect::differs, "read as the older form, at scale 1",
     "A1111 extensions-builtin/Lora/network_glora.py; lora-formats 1.8"},
    {"set-weight", Effect::lost, "replacements are not read", "A1111 extensions-builtin/Lora"},
    {"sparse residual", Effect::lost, "bias_indices are not read", "lora-formats 1.14"},
    {"bias difference", Effect::lost, "diff_b alone is not read", "A1111 extensions-builtin/Lora"},
});
constexpr auto kWebUiRules = std::to_array<RuleRow>({
    {kUNets, [](const Asked& asked) { return asked.module.has_output_axis; }, Effect::differs,
     "DoRA is always taken over input columns",
     "A1111 extensions-builtin/Lora/network.py; LyCORIS issue 216"},
});

// ---- diffusers

constexpr std::string_view kDiffusersMap =
    "diffusers src/diffusers/loaders/lora_conversion_utils.py; lora-formats 2.2, 2.5, 2.6";
constexpr auto kDiffusersSpellings = std::to_array<SpellingRow>({
    {kSd15, false, "lora_unet_", kCanonical},
    {kSdxl, false, "lora_unet_", kEither},
    {kUNets, false, "unet.", kAnyForm},
    {kFlux, false, "lora_unet_", kNative},
    {kFlux, false, "lora_transformer_", kCanonical},
    {kFlux, false, "transformer.", kCanonical},
    {kFlux, false, "base_model.model.", kEither},
    {kFlux, false, "diffusion_model.", kAnyForm},
    {kFlux, false, "", kAnyForm},
    {kZImage, false, "diffusion_model.", kEither},
    {kZImage, false, "transformer.", kEither},
    {kZImage, false, "lora_unet_", kEither},
    {kZImage, false, "base_model.model.", kEither},
    {kZImage, false, "", kEither},
    {kUNets, true, "lora_te_", kAnyForm},
    {kUNets | kFlux, true, "lora_te1_", kAnyForm},
    {kSdxl, true, "lora_te2_", kAnyForm},
    {kUNets | kFlux, true, "text_encoder.", kAnyForm},
    {kSdxl, true, "text_encoder_2.", kAnyForm},
});
constexpr std::string_view kLoraAlone = "loads LoRA alone";
constexpr std::string_view kSupportMatrix = "OneTrainer PR 1563, issue 1544";
constexpr auto kDiffusersKinds = std::to_array<KindRow>({
    {"LoHa", Effect::lost, kLoraAlone, kSupportMatrix},
    {"LoKr", Effect::lost, "loaded for Z-Image since PR 13250 only", "diffusers PR 13250"},
    {"GLoRA", Effect::lost, kLoraAlone, kSupportMatrix},
    {"(IA)³", Effect::lost, kLoraAlone, kSupportMatrix},
    {"OFT", Effect::lost, kLoraAlone, kSupportMatrix},
    {"BOFT", Effect::lost, kLoraAlone, kSupportMatrix},
    {"OFT v2", Effect::lost, kLoraAlone, kNobodyOftV2},
    {"Tucker LoCon", Effect::lost, "lora_mid is not read", kSupportMatrix},
    {"full difference", Effect::lost, kLoraAlone, kSupportMatrix},
    {"norm difference", Effect::lost, "dropped with a warning", "lora-formats 1.11"},
    {"bias difference", Effect::lost, "dropped with a warning", "lora-formats 1.11"},
    {"sparse residual", Effect::lost, kLoraAlone, "lora-formats 1.14"},
});
constexpr std::string_view kMeasured = "measured against diffusers' loader";
constexpr auto kDiffusersRules = std::to_array<RuleRow>({
    {kUNets,
     [](const Asked& asked) {
       return asked.spelling.prefix == "lora_unet_" && !asked.facts.is_kohya_alone;
     },
     Effect::lost, "kohya's names are converted only where every key of the file has them",
     "diffusers src/diffusers/loaders; lora-formats 2.2"},
    {kUNets,
     [](const Asked& asked) {
       return asked.facts.has_flat_canonical && asked.facts.has_flat_native &&
              asked.spelling.prefix == "lora_unet_" && asked.spelling.is_native &&
              !asked.spelling.is_canonical;
     },
     Effect::lost, "of a file with both block numberings LDM's part is lost",
     "diffusers _maybe_map_sgm_blocks_to_diffusers; lora-formats 2.2"},
    {kUNets,
     [](const Asked& asked) {
       return asked.spelling.prefix == "lora_unet_" &&
              (has_form(asked, "conv_in") || has_form(asked, "conv_out") ||
               has_form(asked, "time_embedding"));
     },
     Effect::lost, "conv_in, conv_out and time_embedding are dropped without a word", kMeasured},
    {kFlux,
     [](const Asked& asked) {
       const bool is_bare =
           asked.spelling.prefix.empty() || asked.spelling.prefix == "diffusion_model.";
       return is_bare && !has_form(asked, ".processor.") && !has_form(asked, "norm.");
     },
     Effect::lost, "names without \"transformer.\" are not looked up",
     "diffusers src/diffusers/loaders/lora_pipeline.py; lora-formats 2.5"},
    {kZImage,
     [](const Asked& asked) {
       return asked.spelling.prefix == "diffusion_model." && !asked.module.alpha;
     },
     Effect::refused, "version 0.37.1 fails on pairs without alpha behind \"diffusion_model.\"",
     kMeasured},
    {kZImage, [](const Asked& asked) { return has_form(asked, "qkv"); }, Effect::lost,
     "fused q, k and v cannot be taken", "lora-formats 2.6"},
    {kAllFamilies, [](const Asked& asked) { return asked.module.has(Role::dora_scale); },
     Effect::differs, "dora_scale is dropped with a warning: applied as plain LoRA",
     "lora-formats 1.6"},
    {kAllFamilies, [](const Asked& asked) { return asked.facts.is_mixed_without_alpha; },
     Effect::differs, "mixed ranks without alpha: scaled by the common rank over the module's own",
     "diffusers PR 14409"},
});

// ---- kohya

constexpr std::string_view kKohyaMap = "sd-scripts networks/, musubi-tuner; lora-formats 2.0";
constexpr auto kKohyaSpellings = std::to_array<SpellingRow>({
    {kSd15, false, "lora_unet_", kCanonical},
    {kSdxl | kFlux, false, "lora_unet_", kNative},
    {kZImage, false, "lora_unet_", kCanonical},
    {kUNets | kFlux, false, "oft_unet_", kEither},
    {kSd15, true, "lora_te_", kAnyForm},
    {kSdxl | kFlux, true, "lora_te1_", kAnyForm},
    {kSdxl, true, "lora_te2_", kAnyForm},
    {kFlux, true, "lora_te3_", kAnyForm},
});
constexpr std::string_view kNeedsLycoris = "with network module lycoris.kohya alone";
constexpr std::string_view kLycoris = "LyCORIS create_network_from_weights";
constexpr auto kKohyaKinds = std::to_array<KindRow>({
    {"LoHa", Effect::differs, kNeedsLycoris, kLycoris},
    {"LoKr", Effect::differs, kNeedsLycoris, kLycoris},
    {"GLoRA", Effect::differs, kNeedsLycoris, kLycoris},
    {"(IA)³", Effect::differs, kNeedsLycoris, kLycoris},
    {"Tucker LoCon", Effect::differs, kNeedsLycoris, kLycoris},
    {"full difference", Effect::differs, kNeedsLycoris, kLycoris},
    {"norm difference", Effect::differs, kNeedsLycoris, kLycoris},
    {"OFT v2", Effect::lost, "oft_R is not read", kNobodyOftV2},
    {"set-weight", Effect::lost, "replacements are not read", kKohyaMap},
});
constexpr auto kKohyaRules = std::to_array<RuleRow>({
    {kAllFamilies, [](const Asked& asked) { return asked.module.alpha == 0.0; }, Effect::differs,
     "an alpha of 0 is taken for the rank", "lora-formats 1.1"},
});

// ---- InvokeAI

constexpr std::string_view kInvokeMap =
    "InvokeAI backend/patches/lora_conversions; lora-formats 2.5";
constexpr auto kInvokeSpellings = std::to_array<SpellingRow>({
    {kUNets, false, "lora_unet_", kEither},         {kUNets, false, "unet.", kCanonical},
    {kFlux, false, "lora_unet_", kNative},          {kFlux, false, "lora_transformer_", kCanonical},
    {kFlux, false, "transformer.", kAnyForm},       {kFlux, false, "diffusion_model.", kEither},
    {kFlux, false, "base_model.model.", kNative},   {kFlux, false, "", kAnyForm},
    {kZImage, false, "diffusion_model.", kEither},  {kZImage, false, "transformer.", kEither},
    {kZImage, false, "base_model.model.", kEither}, {kZImage, false, "lora_unet_", kEither},
    {kAllFamilies, true, "lora_te_", kAnyForm},     {kAllFamilies, true, "lora_te1_", kAnyForm},
    {kAllFamilies, true, "lora_te2_", kAnyForm},    {kUNets, true, "text_encoder.", kAnyForm},
    {kUNets, true, "text_encoder_2.", kAnyForm},    {kZImage, true, "text_encoder.", kAnyForm},
    {kZImage, true, "base_model.model.", kAnyForm},
});
constexpr std::string_view kInvokeLayers = "InvokeAI backend/patches/layers";
constexpr std::string_view kUnknownLayer = "no layer class for it, which fails the whole file";
constexpr auto kInvokeKinds = std::to_array<KindRow>({
    {"OFT", Effect::refused, kUnknownLayer, kInvokeLayers},
    {"BOFT", Effect::refused, kUnknownLayer, kInvokeLayers},
    {"OFT v2", Effect::refused, kUnknownLayer, kInvokeLayers},
    {"GLoRA", Effect::refused, kUnknownLayer, kInvokeLayers},
    {"sparse residual", Effect::refused, kUnknownLayer, kInvokeLayers},
});
constexpr auto kInvokeRules = std::to_array<RuleRow>({
    {kAllFamilies, [](const Asked& asked) { return asked.module.has_output_axis; }, Effect::differs,
     "DoRA is always taken over input columns", "lora-formats 1.6"},
});

// ---- stable-diffusion.cpp

constexpr std::string_view kCppMap = "stable-diffusion.cpp src/model/adapter/lora.hpp";
constexpr auto kCppSpellings = std::to_array<SpellingRow>({
    {kUNets, false, "lora_unet_", kEither},
    {kUNets, false, "unet.", kCanonical},
    {kUNets, false, "diffusion_model.", kNative},
    {kFlux, false, "lora_unet_", kNative},
    {kFlux, false, "transformer.", kCanonical},
    {kFlux, false, "diffusion_model.", kNative},
    {kZImage, false, "lora_unet_", kEither},
    {kZImage, false, "transformer.", kCanonical},
    {kZImage, false, "diffusion_model.", kEither},
    {kAllFamilies, true, "lora_te_", kAnyForm},
    {kAllFamilies, true, "lora_te1_", kAnyForm},
    {kAllFamilies, true, "lora_te2_", kAnyForm},
    {kAllFamilies, true, "text_encoder.", kAnyForm},
    {kAllFamilies, true, "text_encoder_2.", kAnyForm},
});
constexpr std::string_view kNotComputed = "not among the kinds that it computes";
constexpr auto kCppKinds = std::to_array<KindRow>({
    {"GLoRA", Effect::lost, kNotComputed, kCppMap},
    {"(IA)³", Effect::lost, kNotComputed, kCppMap},
    {"OFT", Effect::lost, kNotComputed, kCppMap},
    {"BOFT", Effect::lost, kNotComputed, kCppMap},
    {"OFT v2", Effect::lost, kNotComputed, kNobodyOftV2},
    {"norm difference", Effect::lost, kNotComputed, kCppMap},
    {"sparse residual", Effect::lost, kNotComputed, kCppMap},
    {"set-weight", Effect::lost, kNotComputed, kCppMap},
});
constexpr auto kCppRules = std::to_array<RuleRow>({
    {kFlux, [](const Asked& asked) { return asked.spelling.prefix != "lora_unet_"; },
     Effect::differs, "older versions find kohya's names alone", "stable-diffusion.cpp issue 370"},
    {kAllFamilies,
     [](const Asked& asked) {
       const bool is_kronecker = asked.module.algorithm.find("LoKr") != std::string::npos;
       return is_kronecker && asked.module.rank == 1 && asked.module.alpha.value_or(1) != 1;
     },
     Effect::differs, "LoKr of rank 1 is forced to scale 1", "lora-formats 1.5"},
    {kAllFamilies, [](const Asked& asked) { return asked.module.is_dora(); }, Effect::differs,
     "the magnitude is not read: applied without DoRA", kCppMap},
});

constexpr int kForgeMostUnknown = 12;

}  // namespace

std::span<const Program> programs() {
  static constexpr auto kPrograms = std::to_array<Program>({
      {"A1111", kUNets, kWebUiMap, kWebUiSpellings, kWebUiKinds, kWebUiRules},
      {"Forge", kUNets | kFlux, kComfyMap, kComfySpellings, kComfyKinds, kComfyRules,
       kForgeMostUnknown},
      {"ComfyUI", kAllFamilies, kComfyMap, kComfySpellings, kComfyKinds, kComfyRules},
      {"diffusers", kAllFamilies, kDiffusersMap, kDiffusersSpellings, kDiffusersKinds,
       kDiffusersRules},
      {"kohya", kAllFamilies, kKohyaMap, kKohyaSpellings, kKohyaKinds, kKohyaRules},
      {"InvokeAI", kAllFamilies, kInvokeMap, kInvokeSpellings, kInvokeKinds, kInvokeRules},
      {"stable-diffusion.cpp", kAllFamilies, kCppMap, kCppSpellings, kCppKinds, kCppRules},
  });
  return kPrograms;
}

std::span<const LossRow> known_losses() {
  static constexpr auto kLosses = std::to_array<LossRow>({
      {kComfyMap, kZImage, "lora_unet_", true,
       "flattened split names of musubi-tuner are not resolved: its converter is needed",
       "ComfyUI issue 11487, musubi-tuner issue 770"},
      {kComfyMap, kFlux, "transformer.base_model.model.", false,
       "the PEFT wrapper's name was saved by mistake", "ComfyUI issue 4347"},
      {kComfyMap, kAllFamilies, "base_model.model.", false, "PEFT's raw names are not mapped",
       "ComfyUI comfy/lora.py; lora-formats 2.2"},
      {kDiffusersMap, kSd15, "lora_unet_", false, "LDM's block numbers are known for SDXL alone",
       kMeasured},
      {kDiffusersMap, kUNets, "", false, "names without \"unet.\" are not looked up", kMeasured},
      {kDiffusersMap, kZImage, "lora_unet__", false, "the doubled underscore is kept", kMeasured},
      {kDiffusersMap, kFlux, "lora_te3_", false, "T5's part is ignored",
       "diffusers; lora-formats 2.5"},
      {kKohyaMap, kSdxl, "lora_unet_", true,
       "its SDXL network has LDM's names, the file has diffusers'", "sd-scripts networks/lora.py"},
      {kCppMap, kFlux, "lora_transformer_", false, "names of this form are not found",
       "stable-diffusion.cpp issue 370"},
  });
  return kLosses;
}

}  // namespace velatura::lora::tools
