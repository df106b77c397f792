// Names and shapes of some seventy published files on the full-size lists of every family, and the
// page about them, docs/reference/adapter-files.md: VELATURA_UPDATE_DOCS=1 writes it anew. Copies
// of the lists stand in lists/; where ../shared stands beside the repository, its files must say
// the same.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "lora/bind/bind.h"
#include "lora/bind/family.h"
#include "tests/lora_keys/full_size.h"
#include "tests/lora_keys/key_list.h"
#include "velatura/error.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

struct Expected {
  std::string_view file;
  std::string_view family;  ///< an id of ours, or words of the name that it is refused by
};
// The lists' own names say what they are.
constexpr Expected kExpected[] = {
    {"arenasys_toolkit/CLIP-XL-SD.txt", "checkpoint of"},
    {"arenasys_toolkit/CLIP-v1-SD.txt", "checkpoint of"},
    {"arenasys_toolkit/CLIP-v2-SD.txt", "text encoder of SD2.x"},
    {"arenasys_toolkit/ControlNet-v1-SD.txt", "ControlNet"},
    {"arenasys_toolkit/LoRA-v1-CLIP.txt", "sd15"},
    {"arenasys_toolkit/LoRA-v1-UNET.txt", "sd15"},
    {"arenasys_toolkit/LoRA-v1A-CLIP.txt", "sd15"},
    {"arenasys_toolkit/LoRA-v1A-UNET.txt", "sd15"},
    {"arenasys_toolkit/UNET-XL-Refiner.txt", "checkpoint of SDXL refiner"},
    {"arenasys_toolkit/UNET-XL-SD.txt", "checkpoint of SDXL"},
    {"arenasys_toolkit/UNET-v1-EMA.txt", "checkpoint"},
    {"arenasys_toolkit/UNET-v1-Inpainting.txt", "checkpoint of SD1.5"},
    {"arenasys_toolkit/UNET-v1-SD.txt", "checkpoint of SD1.5"},
    {"arenasys_toolkit/UNET-v2-SD.txt", "checkpoint of SD2.x"},
    {"arenasys_toolkit/VAE-v1-SD.txt", "VAE"},
    {"invokeai/anima_comfyui_keys.json", "Anima"},
    {"invokeai/anima_lora_kohya_format.json", "Anima"},
    {"invokeai/anima_lora_kohya_with_te_format.json", "Anima"},
    {"invokeai/anima_lora_lokr_format.json", "Anima"},
    {"invokeai/anima_lora_peft_format.json", "Anima"},
    {"invokeai/anima_transformer_scaled_fp8_keys.json", "Anima"},
    {"invokeai/flux1_transformer_scaled_fp8_keys.json", "checkpoint of FLUX.1"},
    {"invokeai/flux2_klein_4b_scaled_fp8_keys.json", "FLUX.2"},
    {"invokeai/flux2_transformer_bfl_keys.json", "FLUX.2"},
    {"invokeai/flux2_transformer_fp8mixed_keys.json", "FLUX.2"},
    {"invokeai/flux2_vae_bfl_keys.json", "FLUX.2 VAE"},
    {"invokeai/flux_control_lora_format.json", "flux"},
    {"invokeai/flux_dora_onetrainer_format.json", "flux"},
    {"invokeai/flux_lokr_bfl_format.json", "flux"},
    {"invokeai/flux_lora_aitoolkit_format.json", "flux"},
    {"invokeai/flux_lora_diffusers_base_model_format.json", "flux"},
    {"invokeai/flux_lora_diffusers_dora_format.json", "flux"},
    {"invokeai/flux_lora_diffusers_format.json", "flux"},
    {"invokeai/flux_lora_diffusers_no_proj_mlp_format.json", "flux"},
    {"invokeai/flux_lora_diffusers_v2_format.json", "flux"},
    {"invokeai/flux_lora_diffusers_with_norm_out_format.json", "flux"},
    {"invokeai/flux_lora_kohya_format.json", "flux"},
    {"invokeai/flux_lora_kohya_with_te1_and_te3_format.json", "flux"},
    {"invokeai/flux_lora_kohya_with_te1_format.json", "flux"},
    {"invokeai/flux_lora_xlabs_format.json", "flux"},
    {"invokeai/instantx_flux_controlnet_state_dict.json", "ControlNet"},
    {"invokeai/krea2_lora_kohya_format.json", "Krea 2"},
    {"invokeai/qwen_image_lora_diffusers_format.json", "flux"},
    {"invokeai/qwen_image_lora_kohya_format.json", "Qwen-Image"},
    {"invokeai/qwen_vl_encoder_comfyui_keys.json", "Qwen2.5-VL"},
    {"invokeai/sd3_5_mmditx_state_dict.json", "SD3.5"},
    {"invokeai/xlabs_flux_controlnet_state_dict.json", "ControlNet"},
    {"invokeai/xlabs_flux_ip_adapter_state_dict.json", "IP-Adapter for FLUX.1"},
    {"invokeai/xlabs_flux_ip_adapter_v2_state_dict.json", "IP-Adapter for FLUX.1"},
    {"invokeai/z_image_transformer_comfyui_keys.json", "checkpoint of Z-Image"},
    {"invokeai/z_image_transformer_scaled_fp8_keys.json", "checkpoint of Z-Image"},
    {"invokeai_stripped/Alien_Style.safetensors", "sdxl"},
    {"invokeai_stripped/Face_Reference__IP_Adapter_Plus_Face_.safetensors", "IP-Adapter"},
    {"invokeai_stripped/Juggernaut_XL_v9_text_encoder_2_model.fp16.safetensors", "checkpoint of"},
    {"invokeai_stripped/Juggernaut_XL_v9_text_encoder_model.fp16.safetensors", "checkpoint of"},
    {"invokeai_stripped/Juggernaut_XL_v9_unet_diffusion_pytorch_model.fp16.safetensors",
     "checkpoint of SDXL"},
    {"invokeai_stripped/Juggernaut_XL_v9_vae_diffusion_pytorch_model.fp16.safetensors", "VAE"},
    {"invokeai_stripped/RealESRGAN_x2plus.pth", "ESRGAN"},
    {"invokeai_stripped/shinkai_makoto_offset.safetensors", "sd15"},
    {"invokeai_stripped/stripped_models_peft_adapter_model.safetensors", "flux"},
    {"issues/zimage_lora_keys_seen_in_issues.txt", "zimage"},
    {"lora/sd15_cloneofsimo_analog_svd_rank4.safetensors", "sd15"},
    {"lora/sd15_cloneofsimo_disney_inpainting_f16.safetensors", "sd15"},
    {"lora/sd15_cloneofsimo_disney_with_TI.safetensors", "sd15"},
    {"lora/sd15_cloneofsimo_kiriko2_te_listpickle.pt", "sd15"},
    {"lora/sd15_diffusers_attnprocs_r4.bin", "sd15"},
    {"lora/sd15_diffusers_attnprocs_r4.safetensors", "sd15"},
    {"lora/sd15_diffusers_unetprefix_pokemon_r4.safetensors", "sd15"},
    {"lora/sd15_lycoris_lokr_r16.safetensors", "sd15"},
    {"lora/sd15_lycoris_lokr_r4.safetensors", "sd15"},
    {"lora/sd15_lycoris_lokr_r8.safetensors", "sd15"},
    {"lora/sd21_cloneofsimo_pop_listpickle.pt", "SD2.x"},
    {"lora/sd21_gors_color_f16_listpickle.pt", "SD2.x"},
    {"lora/sd21_gors_color_te_f16_listpickle.pt", "SD2.x"},
};
// A synthetic file whose factors multiply to no layer of FLUX.1; its names are all right.
constexpr std::string_view kFitsNowhere = "invokeai/flux_lokr_bfl_format.json";
constexpr std::string_view kAmbiguous = "invokeai/qwen_image_lora_diffusers_format.json";

bool is_ours(std::string_view family) {
  return family_title(family) != family;
}

struct Outcome {
  FamilyVerdict verdict;
  std::shared_ptr<const BoundAdapter> bound;  ///< null where the file was refused
  std::string refusal;
};

std::shared_ptr<const AdapterFile> open_list(const fs::path& path, const std::string& name) {
  const testing::KeyList list = testing::read_key_list(path);
  const auto bare = AdapterFile::from_source(testing::source_of(list, nullptr), name);
  const FamilyVerdict verdict = detect_family(*bare);
  if (verdict.id.empty()) return bare;
  return AdapterFile::from_source(testing::source_of(list, &testing::full_size(verdict.id)), name);
}

Outcome outcome_of(const AdapterFile& file, std::shared_ptr<const AdapterFile> shared,
                   const std::string& family) {
  Outcome outcome{.verdict = detect_family(file), .bound = nullptr, .refusal = {}};
  const testing::FullSize& model = testing::full_size(family);
  try {
    outcome.bound = bind_or_account(std::move(shared), model.components(), model.names());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::mismatch);
    outcome.refusal = error.what();
  }
  return outcome;
}

/// On every family but `but`, the file is refused by the name of what it is.
void expect_refused_elsewhere(const std::shared_ptr<const AdapterFile>& file,
                              const FamilyVerdict& verdict, std::string_view but) {
  for (const char* family : {"sd15", "sdxl", "flux", "zimage"}) {
    if (family == but) continue;
    const Outcome outcome = outcome_of(*file, file, family);
    // One encoder serves several families: such files fit wherever it is.
    if (!verdict.remark.empty() && outcome.bound != nullptr) continue;
    EXPECT_THAT(outcome.refusal, HasSubstr(verdict.name)) << "on " << family;
    EXPECT_THAT(outcome.refusal, HasSubstr(verdict.evidence)) << "on " << family;
  }
}

void expect_adapter(const Outcome& outcome, const AdapterFile& file, std::string_view name) {
  ASSERT_NE(outcome.bound, nullptr) << outcome.refusal;
  const BindReport& report = outcome.bound->report;
  ASSERT_EQ(report.tensors.size(), file.source().tensors().size());
  if (name == kFitsNowhere) {
    const testing::FullSize& model = testing::full_size(outcome.verdict.id);
    for (const FileModule& module : file.modules())
      EXPECT_NE(model.names().find(file.lookup_name(module)), nullptr) << module.name;
    EXPECT_EQ(report.bound_modules(), 0);
    for (const TensorFate& fate : report.tensors) {
      EXPECT_EQ(fate.fate, Fate::refused) << fate.name;
      EXPECT_THAT(fate.reason, HasSubstr("[")) << "the shapes that do not fit";
    }
    return;
  }
  for (const TensorFate& fate : report.tensors)
    EXPECT_NE(fate.fate, Fate::refused) << fate.name << ": " << fate.reason;
  EXPECT_EQ(report.remark.empty(), outcome.verdict.rival.empty());
  if (name == kAmbiguous) {
    EXPECT_THAT(report.remark, HasSubstr("Qwen-Image"));
  }
}

Outcome check_list(const fs::path& path, const Expected& expected) {
  SCOPED_TRACE(expected.file);
  const std::string name = fs::path(expected.file).filename().string();
  const auto file = open_list(path, name);
  const FamilyVerdict verdict = detect_family(*file);
  if (is_ours(expected.family)) {
    EXPECT_EQ(verdict.id, expected.family) << verdict.name << ": " << verdict.evidence;
    if (verdict.id.empty()) return {.verdict = verdict, .bound = nullptr, .refusal = "?"};
    Outcome outcome = outcome_of(*file, file, verdict.id);
    expect_adapter(outcome, *file, expected.file);
    expect_refused_elsewhere(file, verdict, verdict.id);
    return outcome;
  }
  EXPECT_EQ(verdict.id, "");
  EXPECT_THAT(verdict.name, HasSubstr(std::string(expected.family)));
  expect_refused_elsewhere(file, verdict, "");
  return outcome_of(*file, file, "sd15");
}

std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.replace(at, 1, "\\|");
  return text;
}

std::string row_of(std::string_view file, const Outcome& outcome) {
  if (outcome.bound == nullptr) {
    return fmt::format("| {} | – | refused: {} | {} | | | | |\n", file, cell(outcome.verdict.name),
                       cell(outcome.verdict.evidence));
  }
  const BindReport& report = outcome.bound->report;
  std::vector<std::string> kinds;
  for (const auto& [algorithm, count] : report.algorithms)
    kinds.push_back(fmt::format("{} {}", count, algorithm));
  std::string dialects = fmt::format("{}", fmt::join(report.dialects, ", "));
  if (!report.remark.empty()) kinds.push_back(report.remark);
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", file, outcome.verdict.name,
                     dialects, cell(fmt::format("{}", fmt::join(kinds, "; "))),
                     report.bound_modules(), report.count(Fate::bound), report.count(Fate::note),
                     report.count(Fate::ignored) + report.count(Fate::refused));
}

constexpr const char* kHead =
    R"(# What published adapter files are, and what becomes of them

Generated by `tests/lora_keys/key_lists_test.cc` (`VELATURA_UPDATE_DOCS=1` writes it anew) from lists of the names and
shapes in published files, `tests/lora_keys/lists`, each on the full-size list of its family's names. A module of the file may
be several layers of the model; it is counted once. What is refused is refused by the tensor that stands beside the reason.

| file | family | dialect, or what it is | algorithms, or the tensor that decides | modules | tensors bound | noted | ignored or refused |
|---|---|---|---|---|---|---|---|
)";

TEST(KeyLists, EveryListAndThePageAboutThem) {
  const fs::path root = fs::path(testing::source_dir()) / "tests/lora_keys/lists";
  std::string page = kHead;
  std::set<std::string> expected;
  for (const Expected& row : kExpected) {
    const Outcome outcome = check_list(root / (std::string(row.file) + ".gz"), row);
    page += row_of(row.file, outcome);
    expected.insert(std::string(row.file) + ".gz");
  }
  std::set<std::string> present;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() == ".gz")
      present.insert(fs::relative(entry.path(), root).string());
  }
  EXPECT_EQ(present, expected) << "every list has a row";
  const fs::path doc = fs::path(testing::source_dir()) / "docs/reference/adapter-files.md";
  if (std::getenv("VELATURA_UPDATE_DOCS") != nullptr) {
    std::ofstream(doc) << page;
    return;
  }
  std::ostringstream written;
  written << std::ifstream(doc).rdbuf();
  EXPECT_EQ(written.str(), page) << "run with VELATURA_UPDATE_DOCS=1";
}

TEST(KeyLists, CopiesAreWhatStandsBesideTheRepository) {
  const fs::path shared = fs::path(testing::source_dir()) / "../shared/data/keylists";
  const fs::path root = fs::path(testing::source_dir()) / "tests/lora_keys/lists";
  if (!fs::exists(shared)) GTEST_SKIP() << shared << " is not there";
  for (const char* folder : {"arenasys_toolkit", "invokeai", "invokeai_stripped", "issues"}) {
    for (const auto& entry : fs::directory_iterator(shared / folder)) {
      const std::string name = entry.path().filename().string();
      SCOPED_TRACE(name);
      const testing::KeyList theirs = testing::read_key_list(entry.path()),
                             ours = testing::read_key_list(root / folder / (name + ".gz"));
      ASSERT_EQ(ours.keys.size(), theirs.keys.size());
      EXPECT_GT(ours.keys.size(), 0u);
      for (std::size_t i = 0; i < ours.keys.size(); ++i) {
        EXPECT_EQ(ours.keys[i].name, theirs.keys[i].name);
        EXPECT_EQ(ours.keys[i].shape, theirs.keys[i].shape);
      }
    }
  }
}

}  // namespace
}  // namespace velatura::lora
