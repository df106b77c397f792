#include "pipelines/prompt/textual_inversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Tensors in memory that hold one value throughout.
class MemorySource : public weights::Source {
 public:
  explicit MemorySource(std::vector<weights::TensorInfo> tensors, float value = 1.0f)
      : tensors_(std::move(tensors)), value_(value) {}
  const std::vector<weights::TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override {
    Tensor tensor = Tensor::allocate(find(name)->shape, DType::f32);
    for (float& element : tensor.mutable_floats()) element = value_;
    return from_f32(tensor, find(name)->dtype);
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return "dir/file.pt"; }
  void release(std::string_view) const override {}

 private:
  std::vector<weights::TensorInfo> tensors_;
  float value_;
  std::map<std::string, std::string> metadata_;
};

std::vector<Embedding> read(std::vector<weights::TensorInfo> tensors,
                            std::optional<std::string> token = std::nullopt) {
  return read_embeddings(MemorySource(std::move(tensors)),
                         {.stem = "file", .token = std::move(token), .width = 8});
}

void expect_error(std::vector<weights::TensorInfo> tensors, ErrorKind kind,
                  const ::testing::Matcher<std::string>& text) {
  try {
    read(std::move(tensors));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(std::string(error.what()), text);
  }
}

TEST(TextualInversion, ReadsEveryContainer) {
  for (const char* name : {"string_to_param.*", "emb_params", "clip_l", "anything"}) {
    const auto found = read({{name, {3, 8}, DType::f16}});
    ASSERT_EQ(found.size(), 1u) << name;
    EXPECT_THAT(found[0].triggers, ElementsAre("file")) << name;
    EXPECT_EQ(found[0].vectors.shape(), (Shape{3, 8}));
    EXPECT_EQ(found[0].vectors.dtype(), DType::f32);
    EXPECT_EQ(found[0].origin, "dir/file.pt");
  }
}

TEST(TextualInversion, DiffusersTokens) {
  const auto one = read({{"<birb-style>", {8}, DType::f32}});
  ASSERT_EQ(one.size(), 1u);
  EXPECT_THAT(one[0].triggers, ElementsAre("file", "<birb-style>"));
  EXPECT_EQ(one[0].vectors.shape(), (Shape{1, 8}));
  const auto two = read({{"<s1>", {8}, DType::f32}, {"<s2>", {2, 8}, DType::bf16}});
  ASSERT_EQ(two.size(), 2u);
  EXPECT_THAT(two[0].triggers, ElementsAre("<s1>"));
  EXPECT_THAT(two[1].triggers, ElementsAre("<s2>"));
}

TEST(TextualInversion, TheUsersTokenReplacesTheOthers) {
  EXPECT_THAT(read({{"<birb-style>", {8}, DType::f32}}, "sks")[0].triggers, ElementsAre("sks"));
  EXPECT_THROW(read({{"<s1>", {8}, DType::f32}, {"<s2>", {8}, DType::f32}}, "sks"), Error);
}

TEST(TextualInversion, RefusesOtherWidthsByName) {
  expect_error(
      {{"string_to_param.*", {4, 1024}, DType::f32}}, ErrorKind::mismatch,
      AllOf(HasSubstr("dir/file.pt"), HasSubstr("1024"), HasSubstr("8"), HasSubstr("SD 2.x")));
  expect_error({{"clip_l", {4, 8}, DType::f32}, {"clip_g", {4, 1280}, DType::f32}},
               ErrorKind::mismatch, AllOf(HasSubstr("SDXL"), HasSubstr("clip_g")));
}

TEST(TextualInversion, RefusesWhatIsNone) {
  expect_error({}, ErrorKind::unsupported, HasSubstr("0 tensors"));
  expect_error({{"a.weight", {8}, DType::f32}, {"b.weight", {8}, DType::f32}},
               ErrorKind::unsupported, HasSubstr("a.weight"));
  expect_error({{"<s1>", {8}, DType::f32}, {"b.weight", {8}, DType::f32}}, ErrorKind::unsupported,
               HasSubstr("2 tensors"));
  expect_error({{"string_to_param.a", {8}, DType::f32}, {"string_to_param.b", {8}, DType::f32}},
               ErrorKind::unsupported, HasSubstr("2 embeddings"));
}

TEST(TextualInversion, RefusesOddTensors) {
  for (const weights::TensorInfo& odd : {weights::TensorInfo{"emb_params", {}, DType::f32},
                                         {"emb_params", {1, 2, 8}, DType::f32},
                                         {"emb_params", {0, 8}, DType::f32},
                                         {"emb_params", {3, 8}, DType::i64}}) {
    expect_error({odd}, ErrorKind::bad_file, HasSubstr("emb_params"));
  }
  const MemorySource infinite({{"emb_params", {1, 8}, DType::f32}},
                              std::numeric_limits<float>::infinity());
  EXPECT_THROW(read_embeddings(infinite, {.stem = "file", .token = std::nullopt, .width = 8}),
               Error);
}

}  // namespace
}  // namespace velatura::pipelines::prompt
