#include "models/families.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/error.h"
#include "models/manifest.h"
#include "weights/formats/writer.h"

namespace velatura::models {

namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using weights::NameRow;
using weights::Part;
using weights::TensorInfo;
using Shapes = std::map<std::string, Shape>;

Shapes shapes_of(std::span<const TensorInfo> tensors, std::string_view prefix = "") {
  Shapes shapes;
  for (const TensorInfo& info : tensors) {
    EXPECT_TRUE(info.name.starts_with(prefix)) << info.name;
    shapes.emplace(info.name.substr(prefix.size()), info.shape);
  }
  return shapes;
}

/// The native tensors that rows make of canonical ones, each covered once and without gap.
Shapes native_shapes(const weights::NameMap& rows, const Shapes& canonical) {
  Shapes shapes;
  std::map<std::string, std::int64_t> covered;
  for (const NameRow& row : rows) {
    Shape shape = canonical.at(row.canonical);
    if (row.transposed) shape = Shape{shape[1], shape[0]};
    if (row.end == 0) {
      EXPECT_TRUE(shapes.emplace(row.file, shape).second) << row.file << " twice";
      continue;
    }
    EXPECT_EQ(row.begin, covered[row.file]) << row.canonical;
    EXPECT_EQ(row.end - row.begin, shape[0]) << row.canonical;
    covered[row.file] = row.end;
    std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
    extents[0] = row.end;
    shapes.insert_or_assign(row.file, Shape(extents));
  }
  return shapes;
}

TEST(Families, NativeNamesAreTheManifestsBothWays) {
  struct Case {
    Part part;
    const char *canonical, *native, *prefix;
  };
  for (const Case& c :
       {Case{Part::unet, "sd15.unet.diffusers", "sd15.unet.native", "model.diffusion_model."},
        Case{Part::unet, "sdxl.unet.diffusers", "sdxl.unet.native", "model.diffusion_model."},
        Case{Part::flux, "flux_dev.transformer.diffusers", "flux_dev.transformer.native", ""},
        Case{Part::z_image, "zimage.transformer.diffusers", "zimage.transformer.native", ""},
        Case{Part::clip_g, "clip_g", "clip_g.openclip.native", "conditioner.embedders.1.model."}}) {
    SCOPED_TRACE(c.canonical);
    const std::vector<TensorInfo> parameters = manifest(c.canonical);
    const weights::NameMap rows = native_names(c.part, parameters);
    const Shapes canonical = shapes_of(parameters);
    EXPECT_EQ(native_shapes(rows, canonical), shapes_of(manifest(c.native), c.prefix));
    std::vector<std::string> named;
    for (const NameRow& row : rows) named.push_back(row.canonical);
    std::ranges::sort(named);
    std::vector<std::string> all;
    for (const auto& [name, shape] : canonical) all.push_back(name);
    EXPECT_EQ(named, all);
  }
}

TEST(Families, SchnellIsDevWithoutGuidance) {
  const Shapes dev = shapes_of(manifest("flux_dev.transformer.diffusers"));
  for (const TensorInfo& info : manifest("flux_schnell.transformer.diffusers"))
    EXPECT_EQ(dev.at(info.name), info.shape) << info.name;
  const auto rows = native_names(Part::flux, manifest("flux_schnell.transformer.diffusers"));
  EXPECT_TRUE(std::ranges::none_of(
      rows, [](const NameRow& row) { return row.file.starts_with("guidance_in"); }));
}

TEST(Families, FullSizeHasThePartsOfReports) {
  std::map<std::string, std::vector<std::string>> parts;
  for (const FamilyRow& family : families()) {
    const FamilyShape shape = full_size(family.id);
    EXPECT_EQ(shape.title, family.title);
    for (const PartShape& part : shape.parts) {
      parts[shape.id].push_back(part.component);
      EXPECT_FALSE(part.parameters.empty()) << part.component;
      EXPECT_EQ(part.weights, nullptr);
    }
    for (const PartRow& row : family.parts) {
      const Shapes names = shapes_of(manifest(row.manifest));
      EXPECT_TRUE(names.contains(std::string(row.signature))) << row.signature;
    }
  }
  EXPECT_THAT(parts["sd15"], ElementsAre("unet", "te"));
  EXPECT_THAT(parts["sdxl"], ElementsAre("unet", "te", "te2"));
  EXPECT_THAT(parts["flux"], ElementsAre("transformer", "te", "t5"));
  EXPECT_THAT(parts["zimage"], ElementsAre("transformer", "te"));
  EXPECT_THROW(full_size("sd3"), Error);
}

TEST(Families, FusedMatricesHaveNoRowsWhereAPartIsMissing) {
  std::vector<TensorInfo> parameters = manifest("zimage.transformer.diffusers");
  std::erase_if(parameters, [](const TensorInfo& info) {
    return info.name == "layers.3.attention.to_k.weight";
  });
  for (const NameRow& row : native_names(Part::z_image, parameters))
    EXPECT_NE(row.file, "layers.3.attention.qkv.weight");
}

TEST(Families, UnevenListsStayBounded) {
  std::vector<TensorInfo> parameters;
  const auto add = [&](const std::string& name, const Shape& shape) {
    parameters.push_back({name, shape, DType::f16});
  };
  for (int i = 0; i < 2000; ++i) {
    add("down_blocks.0.resnets." + std::to_string(i) + ".conv1.weight", {8, 8, 3, 3});
    add("down_blocks.0.attentions.0.transformer_blocks." + std::to_string(i) + ".norm1.weight",
        {8});
  }
  EXPECT_THROW(native_names(Part::unet, parameters), Error);
  EXPECT_THROW(native_names(Part::unet, {}), Error);
  EXPECT_THROW(
      native_names(Part::unet, std::vector<TensorInfo>{{"down_blocks.0.x", {1}, DType::f16}}),
      Error);
}

/// A folder that goes when the test ends.
class Models : public ::testing::Test {
 protected:
  Models() { fs::create_directories(root_); }
  ~Models() override { fs::remove_all(root_); }

  void put(const fs::path& file, std::initializer_list<const char*> names) {
    fs::create_directories((root_ / file).parent_path());
    std::vector<weights::NamedTensor> tensors;
    for (const char* name : names)
      tensors.push_back({name, Tensor::zeros(Shape{4, 4, 1, 1}, DType::f16)});
    weights::write_safetensors(root_ / file, tensors);
  }
  void put_text(const fs::path& file, std::string_view text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  std::string refusal(ErrorKind kind, const fs::path& path) {
    try {
      of_model(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << path << " was read";
    return "";
  }

  fs::path root_ = fs::temp_directory_path() /
                   ("velatura_families_" +
                    std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
};

constexpr auto kZImageNames = {
    "noise_refiner.0.attention_norm1.weight", "noise_refiner.0.attention.to_q.weight",
    "noise_refiner.0.attention.to_k.weight", "noise_refiner.0.attention.to_v.weight"};

TEST_F(Models, AFolderWithoutTextEncodersAndADenoiserAlone) {
  put("transformer/diffusion_pytorch_model.safetensors", kZImageNames);
  put_text("transformer/config.json", R"({"_class_name": "ZImageTransformer2DModel"})");
  for (const fs::path& path : {root_, root_ / "transformer"}) {
    const FamilyShape shape = of_model(path);
    EXPECT_EQ(shape.id, "zimage");
    ASSERT_EQ(shape.parts.size(), 1U);
    EXPECT_EQ(shape.parts[0].native.size(), 4U);
    EXPECT_EQ(shape.parts[0].weights->load("noise_refiner.0.attention.to_q.weight").shape(),
              Shape({4, 4, 1, 1}));
  }
}

TEST_F(Models, ShardsAreOnePartAndBuffersNone) {
  put("transformer/diffusion_pytorch_model.safetensors", kZImageNames);
  put("text_encoder/model-00001-of-00002.safetensors", {"model.layers.0.self_attn.q_proj.weight"});
  put("text_encoder/model-00002-of-00002.safetensors", {"model.norm.weight", "x.position_ids"});
  put_text("text_encoder/model.safetensors.index.json",
           R"({"weight_map": {"model.layers.0.self_attn.q_proj.weight":
               "model-00001-of-00002.safetensors",
               "model.norm.weight": "model-00002-of-00002.safetensors",
               "x.position_ids": "model-00002-of-00002.safetensors"}})");
  const FamilyShape shape = of_model(root_);
  ASSERT_EQ(shape.parts.size(), 2U);
  EXPECT_EQ(shape.parts[1].component, "te");
  EXPECT_EQ(shape.parts[1].parameters.size(), 2U);
}

TEST_F(Models, OthersAreRefusedByTheirClass) {
  put("transformer/diffusion_pytorch_model.safetensors",
      {"transformer_blocks.0.img_mlp.net.0.proj.weight"});
  put_text("model_index.json", R"({"_class_name": "QwenImagePipeline"})");
  EXPECT_THAT(refusal(ErrorKind::unsupported, root_),
              AllOf(HasSubstr("QwenImagePipeline"), HasSubstr("Z-Image")));
  fs::remove_all(root_ / "transformer");
  EXPECT_THAT(refusal(ErrorKind::not_found, root_),
              AllOf(HasSubstr("QwenImagePipeline"), HasSubstr("diffusers folder")));
}

TEST_F(Models, ATextEncoderOfAnotherKindIsRefused) {
  put("transformer/diffusion_pytorch_model.safetensors", kZImageNames);
  put("text_encoder/model.safetensors", {"text_model.final_layer_norm.weight"});
  EXPECT_THAT(refusal(ErrorKind::unsupported, root_),
              AllOf(HasSubstr("text_encoder"), HasSubstr("Z-Image")));
}

TEST_F(Models, SingleFilesAreOfSd15Alone) {
  put("z.safetensors", kZImageNames);
  EXPECT_THAT(refusal(ErrorKind::unsupported, root_ / "z.safetensors"),
              HasSubstr("a diffusers folder is expected"));
  EXPECT_THAT(refusal(ErrorKind::not_found, root_ / "none"), HasSubstr("none"));
}

}  // namespace

}  // namespace velatura::models
