#include "nn/module_tree.h"

#include <gtest/gtest.h>

#include "nn/delta.h"
#include "velatura/error.h"

namespace velatura::nn {
namespace {

LayerInfo layer(const std::string& path) {
  return {.path = path, .weight = std::make_shared<ops::Weight>(Tensor::zeros({2, 3}, DType::f32))};
}

TEST(ModuleTree, GivesDenseIdsAndFindsPaths) {
  ModuleTree tree;
  EXPECT_EQ(tree.add(layer("down.0.attn.to_q")), 0);
  EXPECT_EQ(tree.add(layer("down.0.attn.to_k")), 1);
  EXPECT_EQ(tree.layers().size(), 2u);
  EXPECT_EQ(tree.find("down.0.attn.to_k"), LayerId{1});
  EXPECT_EQ(tree.find("down.0.attn"), std::nullopt);
  EXPECT_EQ(tree.layer(0).path, "down.0.attn.to_q");
  EXPECT_THROW(tree.layer(2), std::out_of_range);
}

TEST(ModuleTree, APathUsedTwiceIsOurMistake) {
  ModuleTree tree;
  tree.add(layer("a"));
  try {
    tree.add(layer("a"));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::internal);
  }
}

TEST(LayerPatches, OnlyChangedLayersAreFound) {
  LayerPatches patches(3);
  EXPECT_EQ(patches.find(1), nullptr);
  EXPECT_EQ(patches.find(7), nullptr);
  patches.at(1).bias = Tensor::zeros({2}, DType::f32);
  ASSERT_NE(patches.find(1), nullptr);
  EXPECT_EQ(patches.find(0), nullptr);
  patches.at(1).bias = Tensor();
  EXPECT_EQ(patches.find(1), nullptr);
  EXPECT_EQ(LayerPatches().find(0), nullptr);
}

}  // namespace
}  // namespace velatura::nn
