// Jobs on the demonstration model whose adapters are found by other names than their files', by
// what web UIs wrote into pictures, and with words of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <fstream>

#include "engine/job.h"
#include "image/codec.h"
#include "image/infotext.h"
#include "velatura/engine.h"
#include "velatura/error.h"
#include "velatura/library.h"
#include "velatura/lora.h"
#include "velatura/request_fields.h"
#include "weights/formats/writer.h"
#include "weights/source.h"

namespace velatura::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// A folder of models with what the demonstration's ink does under another file name, whose own
/// name says "ink wash", and an index beside it.
class AdapterNames : public ::testing::Test {
 protected:
  AdapterNames()
      : folder_(fs::temp_directory_path() / ("velatura-names-" + std::to_string(::getpid()))),
        file_(folder_ / "loras" / "styles" / "renamed.safetensors") {
    fs::create_directories(file_.parent_path());
    ::setenv("VELATURA_HOME", (folder_ / "home").c_str(), 1);
    const auto ink = weights::open_source(demo_ink());
    auto metadata = ink->metadata();
    metadata["ss_output_name"] = "ink wash";
    metadata["modelspec.title"] = "Washed ink";
    for (const weights::TensorInfo& info : ink->tensors())
      tensors_.push_back({info.name, ink->load(info.name)});
    // A word that no prompt here has: other content than the demonstration's, and other hashes.
    tensors_.push_back({"bundle_emb.unsaid.clip_l", Tensor::zeros({1, text_width()}, DType::f32)});
    weights::write_safetensors(file_, tensors_, metadata);
  }
  ~AdapterNames() override {
    ::unsetenv("VELATURA_HOME");
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  static std::int64_t text_width() {
    return weights::open_source(*Roots::demo() / "model" / "text_encoder" / "model.safetensors")
        ->find("text_model.embeddings.token_embedding.weight")
        ->shape[1];
  }
  static fs::path demo_ink() { return *Roots::demo() / "loras" / "ink.safetensors"; }
  EngineOptions options() const {
    EngineOptions options;
    options.precision = "f32";
    options.model_dirs = {folder_};
    return options;
  }
  static GenerateRequest request(const std::string& prompt) {
    GenerateRequest request;
    request.prompt = prompt;
    request.steps = 2;
    request.seed = 5;
    request.upscale = "none";
    return request;
  }
  static Image picture(Engine& engine, const GenerateRequest& request) {
    return engine.generate(request).pictures.at(0).image;
  }

  fs::path folder_, file_;
  std::vector<weights::NamedTensor> tensors_;
};

TEST_F(AdapterNames, TagsAndOptionsFindAnAdapterByEveryNameOfIts) {
  Library library({.model_dirs = {folder_}});
  const FileHashValues hashes = library.compute_hashes(std::array{library.find("renamed")}).at(0);
  Engine engine(options());
  const Image expected = picture(engine, request("rocket<lora:ink:0.6>"));
  EXPECT_NE(picture(engine, request("rocket")), expected);
  for (const std::string& name :
       {std::string("renamed"), std::string("styles/renamed"),
        std::string("styles/renamed.safetensors"), std::string("ink wash"),
        std::string("Washed ink"), std::string("RENAMED"), hashes.auto_v2, hashes.auto_v3,
        file_.string()}) {
    EXPECT_EQ(picture(engine, request("rocket<lora:" + name + ":0.6>")), expected) << name;
    GenerateRequest option = request("rocket");
    option.loras = {parse_lora(name + ":0.6")};
    EXPECT_EQ(picture(engine, option), expected) << name;
  }
  try {
    picture(engine, request("rocket<lora:renammed:1>"));
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_THAT(error.what(), HasSubstr("renamed"));
  }
}

TEST_F(AdapterNames, AWebUiPictureFindsARenamedFileByItsHash) {
  Engine engine(options());
  Library library({.model_dirs = {folder_}});
  const std::string hash =
      library.compute_hashes(std::array{library.find("renamed")}).at(0).auto_v3.substr(0, 12);
  const auto replay = [&](const std::string& name, const std::string& stated) {
    const image::Infotext text{
        .prompt = "rocket <lora:" + name + ":0.6> <lyco:" + name + ":0.1> <lora:" + name + "2:0>",
        .negative = "",
        .fields = {{"Steps", "2"},
                   {"Sampler", "Euler"},
                   {"Seed", "5"},
                   {"Lora hashes", image::join_hashes({{name, stated}})}}};
    const Image blank{
        .width = 8, .height = 8, .channels = 3, .pixels = std::vector<std::uint8_t>(8 * 8 * 3)};
    const std::vector<image::TextChunk> chunks = {{"parameters", image::write_infotext(text)}};
    const std::vector<std::byte> bytes = image::encode_png(blank, chunks);
    const fs::path path = folder_ / "made.png";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return engine.request_from_picture(path, true).prompt;
  };
  const std::string there = file_.string();
  EXPECT_EQ(replay("before", hash),
            "rocket <lora:" + there + ":0.6> <lyco:" + there + ":0.1> <lora:before2:0>");
  EXPECT_EQ(replay("before", "0123456789ab"),
            "rocket <lora:before:0.6> <lyco:before:0.1> <lora:before2:0>")
      << "not here: the job says so";
  EXPECT_EQ(replay("renamed", "0123456789ab"),
            "rocket <lora:renamed:0.6> <lyco:renamed:0.1> <lora:renamed2:0>")
      << "web UIs state wrong hashes too: a name that is here is believed";
}

TEST_F(AdapterNames, AWordThatAnAdapterBringsAlongIsReadWhereThePromptHasIt) {
  const std::int64_t width = text_width();
  Tensor vectors = Tensor::allocate({2, width}, DType::f32);
  for (std::int64_t i = 0; i < vectors.count(); ++i)
    vectors.mutable_data<float>()[i] = 0.01F * static_cast<float>(i % 17 - 8);
  // An SDXL trainer's second vectors stand first by name, and are for another encoder.
  tensors_.push_back({"bundle_emb.hat.clip_g", Tensor::zeros({2, width + 1}, DType::f32)});
  tensors_.push_back({"bundle_emb.hat.clip_l", vectors});
  weights::write_safetensors(folder_ / "loras" / "worn.safetensors", tensors_, {});
  const std::vector<weights::NamedTensor> alone = {{"emb_params", vectors}};
  weights::write_safetensors(folder_ / "other.safetensors", alone, {});

  Engine engine(options());
  const auto with_file = [&](const std::string& prompt) {
    GenerateRequest asked = request(prompt);
    asked.embeddings = {{.path = folder_ / "other.safetensors", .token = "hat"}};
    return picture(engine, asked);
  };
  const Image plain = picture(engine, request("rocket with a hat"));
  const Image worn = with_file("rocket with a hat");
  EXPECT_NE(worn, plain);
  EXPECT_EQ(picture(engine, request("rocket with a hat<lora:worn:0>")), worn);
  EXPECT_EQ(picture(engine, request("rocket<lora:worn:0>")), picture(engine, request("rocket")));
  EXPECT_EQ(picture(engine, request("rocket with a hat<lora:worn:0.7>")),
            with_file("rocket with a hat<lora:renamed:0.7>"));
}

}  // namespace
}  // namespace velatura::engine
