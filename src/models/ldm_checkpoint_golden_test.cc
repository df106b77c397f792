// Single files become the folder's model bit for bit.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "models/ldm_checkpoint.h"
#include "tests/support/goldens.h"

namespace velatura::models {

namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

LdmConfigs configs_of(const fs::path& model) {
  return {
      .unet = unet::UNetConfig::from_json(read(model / "unet/config.json")),
      .vae = autoencoder_kl::AutoencoderKlConfig::from_json(read(model / "vae/config.json")),
      .text_encoder = clip::ClipTextConfig::from_json(read(model / "text_encoder/config.json"))};
}

/// Every tensor of the folder's part is in `part`, equal up to unit axes, and `part` has no other.
void expect_same(const weights::Source& part, const fs::path& file) {
  const auto expected = weights::open_source(file);
  std::size_t known = 0;
  for (const weights::TensorInfo& info : expected->tensors()) {
    if (is_known_unused(info.name)) {
      ++known;
      continue;
    }
    ASSERT_NE(part.find(info.name), nullptr) << info.name;
    const Tensor a = part.load(info.name), b = expected->load(info.name);
    ASSERT_EQ(a.dtype(), b.dtype()) << info.name;
    ASSERT_EQ(a.byte_size(), b.byte_size()) << info.name;
    EXPECT_EQ(std::memcmp(a.bytes(), b.bytes(), a.byte_size()), 0) << info.name;
  }
  EXPECT_EQ(part.tensors().size() + known, expected->tensors().size());
}

TEST(LdmCheckpointGolden, SingleFilesEqualTheFolder) {
  testing::for_each_golden("sd15", [](const fs::path& folder) {
    const fs::path model = folder / "model";
    if (!fs::exists(folder / "single") || !fs::exists(model)) {
      std::printf("skipped: no single files in %s\n", folder.c_str());
      return;
    }
    const LdmConfigs configs = configs_of(model);
    int compared = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder / "single")) {
      SCOPED_TRACE(entry.path().string());
      const LdmCheckpoint parts = open_ldm(weights::open_source(entry.path()), configs);
      EXPECT_TRUE(parts.unknown.empty()) << parts.unknown.front();
      if (parts.unet)
        expect_same(*parts.unet, model / "unet/diffusion_pytorch_model.safetensors"), ++compared;
      if (parts.vae)
        expect_same(*parts.vae, model / "vae/diffusion_pytorch_model.safetensors"), ++compared;
      if (parts.text_encoder)
        expect_same(*parts.text_encoder, model / "text_encoder/model.safetensors"), ++compared;
    }
    EXPECT_GT(compared, 0) << "no single file with a known part in " << folder;
  });
}

TEST(LdmCheckpointGolden, ShapesTellTheConfiguration) {
  testing::for_each_golden("sd15", [](const fs::path& folder) {
    if (!fs::exists(folder / "single")) return;
    const LdmConfigs expected = configs_of(folder / "model");
    for (const fs::directory_entry& entry : fs::directory_iterator(folder / "single")) {
      SCOPED_TRACE(entry.path().string());
      const auto file = weights::open_source(entry.path());
      LdmConfigs found = detect_ldm(*file);
      const LdmCheckpoint parts = open_ldm(file, found);
      EXPECT_TRUE(parts.unknown.empty()) << parts.unknown.front();
      // Not in the shapes.
      found.unet.heads = expected.unet.heads;
      found.unet.norm_groups = expected.unet.norm_groups;
      found.unet.sample_size = expected.unet.sample_size;
      found.vae.norm_groups = expected.vae.norm_groups;
      found.vae.scaling_factor = expected.vae.scaling_factor;
      found.text_encoder.heads = expected.text_encoder.heads;
      found.text_encoder.end_token = expected.text_encoder.end_token;
      found.text_encoder.activation = expected.text_encoder.activation;
      EXPECT_TRUE(!parts.unet || found.unet == expected.unet);
      EXPECT_TRUE(!parts.vae || found.vae == expected.vae);
      EXPECT_TRUE(!parts.text_encoder || found.text_encoder == expected.text_encoder);
    }
  });
}

}  // namespace

}  // namespace velatura::models
