// Toy models of every family: the folder's parts, and the same weights in single files, which are
// bit-equal once their names are mapped.
#include "models/families.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

#include "models/registry.h"
#include "tests/support/goldens.h"
#include "tests/support/tensors.h"

namespace velatura::models {

namespace {

namespace fs = std::filesystem;
using weights::NameRow;

/// Prefixes of a part in a file of its own and in checkpoints (lora-formats §6.3, §6.4).
constexpr auto kPrefixes = std::to_array<std::string_view>(
    {"", "model.diffusion_model.", "cond_stage_model.transformer.",
     "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.",
     "text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer.",
     "text_encoders.t5xxl.transformer.", "text_encoders.qwen3_4b.transformer."});

/// Every parameter under its native name, which is its own where the part has no other naming.
weights::NameMap rows_with_prefix(const PartShape& part, std::string_view prefix) {
  weights::NameMap rows = part.native;
  if (rows.empty()) {
    for (const weights::TensorInfo& info : part.parameters)
      rows.push_back({.canonical = info.name, .file = info.name});
  }
  for (NameRow& row : rows) row.file.insert(0, prefix);
  return rows;
}

/// Whether `file` holds the part under `prefix`; then every value is compared.
bool compare_part(const std::shared_ptr<const weights::Source>& file, const PartShape& part,
                  std::string_view prefix, std::set<std::string>& used) {
  const weights::NameMap rows = rows_with_prefix(part, prefix);
  if (std::ranges::any_of(rows,
                          [&](const NameRow& row) { return file->find(row.file) == nullptr; }))
    return false;
  SCOPED_TRACE(part.component + " of " + file->description());
  EXPECT_EQ(rows.size(), part.parameters.size());
  const weights::MappedSource mapped(file, rows);
  for (const weights::TensorInfo& info : part.parameters) {
    const Tensor ours = part.weights->load(info.name);
    EXPECT_TRUE(testing::bit_identical(mapped.load(info.name).reshaped(ours.shape()), ours))
        << info.name;
  }
  for (const NameRow& row : rows) used.insert(row.file);
  return true;
}

bool is_codec_name(std::string_view name) {
  return name.starts_with("first_stage_model.") || name.starts_with("vae.");
}

void compare_single_files(const fs::path& folder) {
  const FamilyShape model = of_model(folder.parent_path() / "model");
  std::set<std::string> found;
  int files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const auto file = weights::open_source(entry.path());
    std::set<std::string> used;
    for (const PartShape& part : model.parts) {
      for (const std::string_view prefix : kPrefixes) {
        if (compare_part(file, part, prefix, used)) found.insert(part.component);
      }
    }
    if (used.empty()) {
      EXPECT_EQ(identify(*file).kind, FileKind::codec) << entry.path() << " holds no part";
      continue;
    }
    for (const weights::TensorInfo& info : file->tensors()) {
      EXPECT_TRUE(used.contains(info.name) || is_codec_name(info.name) ||
                  info.name.ends_with("position_ids") || info.name.ends_with("logit_scale") ||
                  info.name == "norm_final.weight")
          << info.name << " of " << entry.path() << " has no canonical name";
    }
  }
  EXPECT_GT(files, 0) << folder << " has no file";
  for (const PartShape& part : model.parts) {
    EXPECT_TRUE(found.contains(part.component))
        << part.component << " is in no single file of " << folder;
  }
}

class FamiliesGolden : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Each, FamiliesGolden, ::testing::Values("sd15", "sdxl", "flux", "zimage"),
                         [](const auto& family) { return std::string(family.param); });

TEST_P(FamiliesGolden, AFolderHasItsFamilysParts) {
  const FamilyRow* family = find_family(GetParam());
  ASSERT_NE(family, nullptr);
  testing::for_each_golden(std::string(family->id) + "/model", [&](const fs::path& folder) {
    const FamilyShape shape = of_model(folder);
    EXPECT_EQ(shape.id, family->id);
    ASSERT_EQ(shape.parts.size(), family->parts.size());
    for (const PartShape& part : shape.parts) {
      SCOPED_TRACE(part.component);
      EXPECT_FALSE(part.parameters.empty());
      for (const weights::TensorInfo& info : part.parameters)
        EXPECT_NE(part.weights->find(info.name), nullptr);
      if (!part.native.empty()) {
        EXPECT_EQ(part.native.size(), part.parameters.size());
      }
    }
  });
}

TEST_P(FamiliesGolden, SingleFilesAreTheModelUnderOtherNames) {
  testing::for_each_golden(std::string(GetParam()) + "/single", compare_single_files);
}

TEST(FamiliesOnDisk, ACheckpointOfSd15IsItsFolder) {
  testing::for_each_golden("sd15/single", [](const fs::path& folder) {
    const FamilyShape model = of_model(folder.parent_path() / "model");
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (identify(*weights::open_source(entry.path())).kind != FileKind::checkpoint) continue;
      const FamilyShape single = of_model(entry.path());
      EXPECT_EQ(single.id, model.id);
      ASSERT_EQ(single.parts.size(), model.parts.size());
      for (std::size_t i = 0; i < model.parts.size(); ++i) {
        EXPECT_EQ(single.parts[i].component, model.parts[i].component);
        EXPECT_EQ(single.parts[i].native.size(), model.parts[i].native.size());
        ASSERT_EQ(single.parts[i].parameters.size(), model.parts[i].parameters.size());
        for (const weights::TensorInfo& info : model.parts[i].parameters) {
          EXPECT_TRUE(testing::bit_identical(single.parts[i].weights->load(info.name),
                                             model.parts[i].weights->load(info.name)))
              << info.name;
        }
      }
    }
  });
}

TEST(FamiliesOnDisk, ADenoiserAloneIsAModelOfOnePart) {
  testing::for_each_golden("flux/schnell_transformer", [](const fs::path& folder) {
    const FamilyShape shape = of_model(folder);
    EXPECT_EQ(shape.id, "flux");
    ASSERT_EQ(shape.parts.size(), 1U);
    EXPECT_EQ(shape.parts[0].native.size(), shape.parts[0].parameters.size());
  });
}

}  // namespace

}  // namespace velatura::models
