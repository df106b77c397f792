#include "weights/formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "tests/support/torch_file.h"
#include "weights/formats/sharded.h"
#include "weights/formats/writer.h"

namespace velatura::weights {

namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string file_of(const std::string& header, std::size_t data_bytes, std::uint64_t claimed = 0) {
  const std::uint64_t length = claimed != 0 ? claimed : header.size();
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(length >> (8 * i) & 0xff);
  return file + header + std::string(data_bytes, '\0');
}

std::shared_ptr<const Source> open(const std::string& file) {
  return open_safetensors(Blob::of(testing::to_bytes(file), "test.safetensors"));
}

std::string refusal(const std::string& file) {
  try {
    open(file);
  } catch (const Error& error) {
    EXPECT_TRUE(error.kind() == ErrorKind::bad_file || error.kind() == ErrorKind::unsupported);
    EXPECT_THAT(error.what(), HasSubstr("test.safetensors"));
    return error.what();
  }
  return "no error";
}

const std::string kOne = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

TEST(Safetensors, ReadsTensorsAndMetadata) {
  const auto source = open(file_of(
      R"({"__metadata__":{"k":"v","n":3},"b":{"dtype":"I8","shape":[],"data_offsets":[8,9]},)"
      R"("a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"c":{"dtype":"F16","shape":[0,5],"data_offsets":[9,9]}}  )",
      9));
  ASSERT_EQ(source->tensors().size(), 3u);
  EXPECT_EQ(source->tensors()[0].name, "b") << "the header's order";
  EXPECT_EQ(source->load("a").shape(), (Shape{2, 1}));
  EXPECT_EQ(source->load("b").count(), 1);
  EXPECT_EQ(source->load("c").count(), 0);
  EXPECT_EQ(source->metadata().at("k"), "v");
  EXPECT_EQ(source->metadata().at("n"), "3");
  EXPECT_THROW(source->load("d"), Error);
}

TEST(Safetensors, UnalignedTensorsAreCopied) {
  const std::string header =
      R"({"x":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}})";
  const Tensor y = open(file_of(header, 9))->load("y");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(y.bytes()) % 8, 0u);
  EXPECT_EQ(y.data<double>()[0], 0.0);
}

TEST(Safetensors, HostileHeaders) {
  EXPECT_THAT(refusal(""), HasSubstr("ends too early"));
  EXPECT_THAT(refusal(file_of(kOne, 8, ~std::uint64_t{0})), HasSubstr("at most"));
  EXPECT_THAT(refusal(file_of(kOne, 8, 5000)), HasSubstr("are missing"));
  EXPECT_THAT(refusal(file_of(kOne, 3)), HasSubstr("5 bytes are missing"));
  EXPECT_THAT(refusal(file_of(kOne, 9)), HasSubstr("has 1 byte after its last tensor"));
  EXPECT_THAT(refusal(file_of("{\"a\":", 0)), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(file_of("[]", 0)), HasSubstr("safetensors header"));
  EXPECT_THAT(refusal(file_of("3", 0)), HasSubstr("not an object"));
  EXPECT_THAT(refusal(file_of(R"({"a":7})", 0)), HasSubstr("not an object"));
  EXPECT_THAT(refusal(file_of("{\"a\":" + std::string(100000, '[') + "}", 0)),
              HasSubstr("list where none belongs"));
  EXPECT_THAT(refusal(file_of(R"({"a":{"b":{"c":1}}})", 0)), HasSubstr("nests deeper"));
}

TEST(Safetensors, HostileEntries) {
  const auto entry = [](const std::string& fields) {
    return file_of("{\"a\":{" + fields + "}}", 8);
  };
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2])")), HasSubstr("lacks one of"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])")),
              HasSubstr("F33"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])")),
              HasSubstr("negative number -2"));
  EXPECT_THAT(
      refusal(entry(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8])")),
      HasSubstr("63 bits"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8])")),
              HasSubstr("more than 8"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])")),
              HasSubstr("does not fill"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])")),
              HasSubstr("whole numbers"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])")),
              HasSubstr("expected to begin at 0"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8])")),
              HasSubstr("twice"));
  EXPECT_NE(refusal(entry(R"("dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,8])")),
            "no error");
  EXPECT_NE(refusal(entry(R"("dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0])")),
            "no error");
}

TEST(Safetensors, OverlapsHolesAndRepeatedNames) {
  const auto two = [](const char* name, const char* offsets, std::size_t bytes) {
    return file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},")" +
                       std::string(name) + R"(":{"dtype":"F32","shape":[2],"data_offsets":[)" +
                       offsets + "]}}",
                   bytes);
  };
  EXPECT_THAT(refusal(two("b", "4,12", 12)), HasSubstr("overlaps"));
  EXPECT_THAT(refusal(two("b", "12,20", 20)), HasSubstr("hole"));
  EXPECT_THAT(refusal(two("a", "8,16", 16)), HasSubstr("\"a\" appears twice"));
  EXPECT_EQ(refusal(two("b", "8,16", 16)), "no error");
}

class WrittenFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::path(::testing::TempDir()) /
        ("weights_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write_text(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  fs::path folder_;
};

TEST_F(WrittenFiles, WriterAndReaderAgree) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::vector<NamedTensor> tensors = {
      {"x", Tensor::from(values, {2, 3})},
      {"half \"y\"", from_f32(Tensor::from(values, {6}), DType::f16)},
      {"scalar", Tensor::zeros({}, DType::i64)}};
  write_safetensors(folder_ / "a.safetensors", tensors, {{"k", "v"}});
  const auto source = open_source(folder_ / "a.safetensors");
  ASSERT_EQ(source->tensors().size(), tensors.size());
  for (const NamedTensor& entry : tensors) {
    const Tensor read = source->load(entry.name);
    EXPECT_EQ(read.shape(), entry.tensor.shape());
    EXPECT_EQ(read.dtype(), entry.tensor.dtype());
    EXPECT_EQ(std::memcmp(read.bytes(), entry.tensor.bytes(), read.byte_size()), 0);
    source->release(entry.name);
  }
  EXPECT_EQ(source->metadata().at("k"), "v");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1)
      << "nothing is left beside the file";
  const std::vector<NamedTensor> twice = {tensors[0], tensors[0]};
  EXPECT_THROW(write_safetensors(folder_ / "b.safetensors", twice), Error);
  EXPECT_THROW(write_safetensors(folder_ / "no/such/b.safetensors", tensors), Error);
  EXPECT_FALSE(fs::exists(folder_ / "b.safetensors"));
}

TEST_F(WrittenFiles, Shards) {
  write_safetensors(folder_ / "m-1.safetensors",
                    std::vector<NamedTensor>{{"a", Tensor::zeros({2}, DType::f32)}});
  write_safetensors(folder_ / "m-2.safetensors",
                    std::vector<NamedTensor>{{"b", Tensor::zeros({3}, DType::f16)}});
  const auto index = [&](const std::string& map) {
    write_text("m.safetensors.index.json",
               "{\"metadata\":{\"total_size\":14},\"weight_map\":{" + map + "}}");
    return open_source(folder_ / "m.safetensors.index.json");
  };
  const auto source = index(R"("a":"m-1.safetensors","b":"m-2.safetensors")");
  EXPECT_EQ(source->tensors().size(), 2u);
  EXPECT_EQ(source->load("b").count(), 3);
  EXPECT_EQ(source->metadata().at("total_size"), "14");
  EXPECT_THROW(index(R"("a":"m-1.safetensors","c":"m-2.safetensors")"), Error);
  EXPECT_THROW(index(R"("a":"../m-1.safetensors")"), Error);
  EXPECT_THROW(index(R"("a":"m.safetensors.index.json")"), Error);
  EXPECT_THROW(index(R"("a":7)"), Error);
  EXPECT_THROW(index(R"("a":"missing.safetensors")"), Error);
}

TEST_F(WrittenFiles, WhatIsNoWeightFileIsNamed) {
  const auto message = [&](const std::string& content) -> std::string {
    write_text("x.safetensors", content);
    try {
      open_source(folder_ / "x.safetensors");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
              HasSubstr("Git LFS"));
  EXPECT_THAT(message("<!DOCTYPE html>"), HasSubstr("web page"));
  EXPECT_THAT(message("GGUF\x03"), HasSubstr("GGUF"));
  EXPECT_THAT(message(""), HasSubstr("empty"));
  EXPECT_THAT(message("\x80\x04N."), HasSubstr("Python pickle"));
  try {
    open_source(folder_ / "missing.safetensors");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
  }
}

}  // namespace

}  // namespace velatura::weights
