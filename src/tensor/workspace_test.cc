#include "tensor/workspace.h"

#include <gtest/gtest.h>

#include <optional>

#include "velatura/error.h"

namespace velatura {
namespace {

TEST(Workspace, ReusesABlockThatCameBack) {
  Workspace workspace;
  const std::byte* first = workspace.allocate({1000}, DType::f32).bytes();
  const std::size_t held = workspace.bytes_held();
  EXPECT_GE(held, 4000u);
  // The same again, and a little less: one block serves both.
  EXPECT_EQ(workspace.allocate({1000}, DType::f32).bytes(), first);
  EXPECT_EQ(workspace.allocate({999}, DType::f32).bytes(), first);
  EXPECT_EQ(workspace.bytes_held(), held);
}

TEST(Workspace, KeepsTwoLiveTensorsApart) {
  Workspace workspace;
  const Tensor a = workspace.allocate({100}, DType::f32);
  const Tensor b = workspace.allocate({100}, DType::f32);
  EXPECT_NE(a.bytes(), b.bytes());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.bytes()) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.bytes()) % 64, 0u);
}

/// A view keeps its block as a tensor does.
TEST(Workspace, ViewsHoldTheirBlock) {
  Workspace workspace;
  Tensor whole = workspace.allocate({4, 1024}, DType::f32);
  const Tensor part = whole.slice(1, 2);
  const std::byte* block = whole.bytes();
  whole = Tensor();
  EXPECT_NE(workspace.allocate({4, 1024}, DType::f32).bytes(), block);
}

/// A small tensor never sits in a far larger block, where memory would hide.
TEST(Workspace, DoesNotSpendABigBlockOnASmallTensor) {
  Workspace workspace;
  const std::byte* big = workspace.allocate({1 << 20}, DType::f32).bytes();
  EXPECT_NE(workspace.allocate({1 << 10}, DType::f32).bytes(), big);
}

TEST(Workspace, TrimFreesWhatNobodyHolds) {
  Workspace workspace;
  const Tensor kept = workspace.allocate({1 << 16}, DType::f32);
  workspace.allocate({1 << 18}, DType::f32);
  const std::size_t before = workspace.bytes_held();
  workspace.trim();
  EXPECT_LT(workspace.bytes_held(), before);
  EXPECT_GE(workspace.bytes_held(), kept.byte_size());
}

TEST(Workspace, TensorsOutliveIt) {
  std::optional<Workspace> workspace(std::in_place);
  Tensor tensor = workspace->allocate({256}, DType::f32);
  workspace.reset();
  tensor.mutable_floats()[255] = 1;
  EXPECT_EQ(tensor.floats()[255], 1);
}

TEST(Workspace, EmptyAndImpossibleSizes) {
  Workspace workspace;
  EXPECT_EQ(workspace.allocate({0, 5}, DType::f32).count(), 0);
  for (const Shape& shape : {Shape{std::int64_t{1} << 50}, Shape{std::int64_t{1} << 62}}) {
    try {
      workspace.allocate(shape, DType::f32);
      ADD_FAILURE() << "no error for " << shape.to_string();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::out_of_memory) << error.what();
    }
  }
}

}  // namespace
}  // namespace velatura
