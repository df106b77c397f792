#include "weights/scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "tests/support/torch_file.h"
#include "weights/formats/safetensors.h"
#include "weights/formats/writer.h"
#include "weights/name_map.h"

namespace velatura::weights {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::shared_ptr<const Source> source_of(const std::vector<NamedTensor>& tensors) {
  std::vector<std::byte> bytes = safetensors_header(tensors, {});
  for (const NamedTensor& entry : tensors) {
    bytes.insert(bytes.end(), entry.tensor.bytes(),
                 entry.tensor.bytes() + entry.tensor.byte_size());
  }
  return open_safetensors(Blob::of(std::move(bytes), "memory"));
}

Tensor counting(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(values, shape);
}

template <typename Call>
std::string message(ErrorKind kind, Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(Scope, ShapesEqualUpToUnitAxes) {
  const Scope scope = Scope(source_of({{"m.proj.weight", counting({4, 3, 1, 1})}})).child("m");
  EXPECT_TRUE(scope.has("proj.weight"));
  EXPECT_EQ(scope.get("proj.weight", {4, 3}).shape(), (Shape{4, 3}));
  EXPECT_EQ(scope.get("proj.weight", {1, 4, 3, 1}).shape(), (Shape{1, 4, 3, 1}));
  EXPECT_EQ(scope.get("proj.weight").shape(), (Shape{4, 3, 1, 1}));
  for (const Shape& wrong : {Shape{3, 4}, Shape{12}, Shape{4, 3, 3, 3}, Shape{4}}) {
    EXPECT_THAT(message(ErrorKind::mismatch, [&] { scope.get("proj.weight", wrong); }),
                ::testing::AllOf(HasSubstr("memory"), HasSubstr("m.proj.weight"),
                                 HasSubstr(wrong.to_string()), HasSubstr("[4, 3, 1, 1]")));
  }
  EXPECT_THAT(message(ErrorKind::not_found, [&] { scope.get("other", {1}); }),
              HasSubstr("m.other"));
}

TEST(Scope, ConvertsAndRemembersWhatWasRead) {
  const Scope root(source_of(
      {{"a.x", from_f32(counting({2}), DType::f16)}, {"a.y", counting({2})}, {"b", counting({})}}));
  EXPECT_EQ(root.child("a").get_f32("x", {2}).floats()[1], 1.0f);
  EXPECT_EQ(root.path("a.x"), "a.x");
  EXPECT_THAT(root.unused(), ElementsAre("a.y", "b"));
}

TEST(MappedSource, RenamesSlicesTransposesAndReports) {
  const auto file = source_of({{"qkv", counting({6, 2})},
                               {"projection", counting({2, 3})},
                               {"extra", counting({1})},
                               {"old.name", counting({1})}});
  const MappedSource mapped(file, {{.canonical = "q", .file = "qkv", .begin = 0, .end = 2},
                                   {.canonical = "v", .file = "qkv", .begin = 4, .end = 6},
                                   {.canonical = "p", .file = "projection", .transposed = true},
                                   {.canonical = "n", .file = "new.name"},
                                   {.canonical = "n", .file = "old.name"},
                                   {.canonical = "gone", .file = "nowhere"}});
  EXPECT_EQ(mapped.tensors().size(), 4u);
  EXPECT_EQ(mapped.load("v").floats()[0], 8.0f);
  EXPECT_EQ(mapped.find("p")->shape, (Shape{3, 2}));
  EXPECT_EQ(mapped.load("p").floats()[1], 3.0f);
  EXPECT_EQ(mapped.load("n").count(), 1);
  EXPECT_THAT(mapped.unmapped(), ElementsAre("extra"));
  EXPECT_THAT(message(ErrorKind::not_found, [&] { mapped.load("gone"); }), HasSubstr("nowhere"));
  EXPECT_THAT(message(ErrorKind::not_found, [&] { mapped.load("never"); }), HasSubstr("never"));
  EXPECT_THAT(
      message(
          ErrorKind::mismatch,
          [&] { MappedSource(file, {{.canonical = "q", .file = "qkv", .begin = 4, .end = 8}}); }),
      HasSubstr("rows 4 to 8"));
}

}  // namespace

}  // namespace velatura::weights
