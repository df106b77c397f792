#include "lora/bundled_embedding.h"

#include <gtest/gtest.h>

#include "tests/support/memory_source.h"
#include "tests/support/tensors.h"

namespace velatura::lora {
namespace {

using testing::MemorySource;
using testing::uniform_tensor;
using weights::Part;

std::shared_ptr<const AdapterFile> file_with(const std::vector<std::string>& keys) {
  auto source = std::make_shared<MemorySource>();
  for (const std::string& key : keys)
    source->add("bundle_emb.hat" + key, uniform_tensor({2, 4}, DType::f32, 1));
  return AdapterFile::from_source(source, "x.safetensors");
}

std::string chosen(const std::vector<std::string>& keys, Part part) {
  const auto file = file_with(keys);
  EXPECT_EQ(file->embeddings().size(), 1u);
  const std::string* tensor = vectors_for(file->embeddings().front(), part);
  return tensor == nullptr ? "" : tensor->substr(std::string("bundle_emb.hat").size());
}

TEST(BundledEmbedding, EachEncoderReadsItsOwnVectors) {
  const std::vector<std::string> all = {".clip_g",     ".clip_l", ".clip_l_out",
                                        ".clip_g_out", ".t5",     ".t5_out"};
  EXPECT_EQ(chosen(all, Part::clip_l), ".clip_l");
  EXPECT_EQ(chosen(all, Part::clip_g), ".clip_g");
  EXPECT_EQ(chosen(all, Part::t5), ".t5");
  EXPECT_EQ(chosen({".clip_g"}, Part::clip_l), "") << "another encoder's";
  EXPECT_EQ(chosen({".clip_l_out"}, Part::clip_l), "") << "of its output";
}

TEST(BundledEmbedding, WhatNamesNoEncoderIsForTheFirst) {
  for (const char* key : {".string_to_param.*", ".emb_params", ""}) {
    EXPECT_EQ(chosen({key}, Part::clip_l), key);
    EXPECT_EQ(chosen({key}, Part::clip_g), "");
  }
}

}  // namespace
}  // namespace velatura::lora
