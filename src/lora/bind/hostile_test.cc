// Files that are broken or were made to do harm: each ends in an Error or in an account that names
// the tensor and what is wrong with it, in bounded time and memory. Not here: damage that one
// algorithm alone knows (algorithms/*_test.cc), the format's own rules (weights/formats).
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>

#include "tests/support/toy_adapters.h"
#include "velatura/error.h"
#include "weights/blob.h"
#include "weights/formats/safetensors.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;

using testing::add_pair;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::MemorySource;
using testing::scalar;
using testing::ToyModel;
using testing::uniform_tensor;

constexpr std::int64_t kOut = ToyModel::kOut, kIn = ToyModel::kIn;
const std::string kQuery = "unet." + ToyModel::kQuery;
const std::string kOutput = "unet." + ToyModel::kOutput;

/// A file with one module that is right, to which others are added.
MemorySource one_good() {
  MemorySource source;
  add_pair(source, kQuery, 2, kOut, kIn);
  return source;
}

/// Why `tensor` is not used while the good module is.
std::string reason_of(MemorySource source, const std::string& tensor) {
  const auto adapter = ToyModel().bind(std::move(source));
  EXPECT_EQ(adapter->report.bound_modules(), 1) << tensor;
  for (const TensorFate& fate : adapter->report.tensors) {
    if (fate.name != tensor) continue;
    EXPECT_NE(fate.fate, Fate::bound) << tensor;
    return fate.reason;
  }
  ADD_FAILURE() << tensor << " is not accounted for";
  return {};
}

/// The file's bytes: the header as it is given, then `bytes` zeros.
std::shared_ptr<const AdapterFile> file_of(std::string_view header, std::size_t bytes,
                                           std::uint64_t claimed = 0) {
  const std::uint64_t length = claimed != 0 ? claimed : header.size();
  std::vector<std::byte> data;
  for (int i = 0; i < 8; ++i) data.push_back(static_cast<std::byte>(length >> (8 * i) & 0xff));
  for (const char letter : header) data.push_back(static_cast<std::byte>(letter));
  data.resize(data.size() + bytes);
  auto source = weights::open_safetensors(weights::Blob::of(std::move(data), "hostile"));
  return AdapterFile::from_source(std::move(source), "hostile.safetensors");
}

std::shared_ptr<const BoundAdapter> bind_file(std::shared_ptr<const AdapterFile> file) {
  const ToyModel model;
  return lora::bind(std::move(file), model.components(), model.names());
}

/// What the error of `action` says; a test fails where there is none, or one of ours.
template <typename Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_NE(error.kind(), ErrorKind::internal) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

std::string entry(std::string_view name, std::string_view type, std::string_view shape,
                  std::string_view offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{}]}})", name, type, shape,
                     offsets);
}

class Hostile : public ::testing::Test {
 protected:
  /// Every file here is small or a list of small things: seconds of work, with sanitizers a minute
  /// on a slow machine. What quadratic work on them takes is hours.
  void TearDown() override { EXPECT_LT((std::clock() - begin_) / CLOCKS_PER_SEC, 300); }
  std::clock_t begin_ = std::clock();  ///< of the processor: other programs take none of it
};

TEST_F(Hostile, HalfPairsOfEveryKind) {
  struct Half {
    const char* suffix;
    Shape shape;
  };
  const Half halves[] = {{".lora_down.weight", {2, kIn}},
                         {".lora_up.weight", {kOut, 2}},
                         {".lora_A.weight", {2, kIn}},
                         {".lora_B.weight", {kOut, 2}},
                         {".hada_w1_a", {kOut, 2}},
                         {".hada_w2_b", {2, kIn}},
                         {".lokr_w1", {2, 2}},
                         {".lokr_w2_a", {4, 2}},
                         {".lokr_t2", {2, 2, 3, 3}},
                         {".a1.weight", {2, kIn}},
                         {".b2.weight", {kOut, 2}},
                         {".bias_indices", {2}},
                         {".lora_mid.weight", {2, 2, 3, 3}}};
  for (const Half& half : halves) {
    MemorySource source = one_good();
    source.add(kOutput + half.suffix, uniform_tensor(half.shape, DType::f32, 3));
    EXPECT_NE(reason_of(source, kOutput + half.suffix), "") << half.suffix;
  }
}

TEST_F(Hostile, ShapesThatFitNothing) {
  const Shape shapes[] = {{},
                          {0},
                          {1},
                          {0, kIn},
                          {kIn, 0},
                          {2, kIn + 1},
                          {2, kIn, 0, 0},
                          {1, 1, 1, 1, 1},
                          {1, 2, 1, 1, 1, 1, 1, kIn}};
  for (const Shape& down : shapes) {
    for (const Shape& up : shapes) {
      MemorySource source = one_good();
      const std::string name = kOutput + ".lora_down.weight";
      source.add(name, uniform_tensor(down, DType::f32, 1));
      source.add(kOutput + ".lora_up.weight", uniform_tensor(up, DType::f32, 2));
      EXPECT_THAT(reason_of(source, name), AllOf(HasSubstr(ToyModel::kOutput), HasSubstr("[8, 6]")))
          << down.to_string() << up.to_string();
    }
  }
}

TEST_F(Hostile, AlphasThatAreNoNumber) {
  const auto reason = [](const Tensor& alpha) {
    MemorySource source = one_good();
    add_pair(source, kOutput, 2, kOut, kIn, 5);
    source.add(kOutput + ".alpha", alpha);
    return reason_of(source, kOutput + ".alpha");
  };
  EXPECT_THAT(reason(scalar(NAN)), AllOf(HasSubstr(kOutput + ".alpha"), HasSubstr("nan")));
  EXPECT_THAT(reason(scalar(INFINITY)), AllOf(HasSubstr(kOutput + ".alpha"), HasSubstr("inf")));
  EXPECT_THAT(reason(Tensor::from(std::vector{1.0F, 2.0F}, {2})), HasSubstr(kOutput + ".alpha"));
  EXPECT_THAT(reason(Tensor::zeros({0}, DType::f32)), HasSubstr(kOutput + ".alpha"));
}

TEST_F(Hostile, MatricesThatAreNoNumbers) {
  for (const char* suffix : {".lora_down.weight", ".lora_up.weight"}) {
    for (const bool is_down : {true, false}) {
      MemorySource source = one_good();
      Tensor down = uniform_tensor({2, kIn}, DType::f32, 1),
             up = uniform_tensor({kOut, 2}, DType::f32, 2);
      (is_down ? down : up).mutable_floats().back() = NAN;
      source.add(kOutput + ".lora_down.weight", down).add(kOutput + ".lora_up.weight", up);
      EXPECT_THAT(reason_of(source, kOutput + suffix), HasSubstr("NaN or infinity")) << suffix;
    }
  }
  for (const DType type : {DType::i8, DType::u8, DType::i32, DType::i64}) {
    MemorySource source = one_good();
    source.add(kOutput + ".lora_down.weight", Tensor::zeros({2, kIn}, type));
    source.add(kOutput + ".lora_up.weight", Tensor::zeros({kOut, 2}, type));
    EXPECT_THAT(reason_of(source, kOutput + ".lora_up.weight"), HasSubstr("floating type"));
  }
}

TEST_F(Hostile, FactorsOfEnormousProducts) {
  const Tensor large = Tensor::zeros({2048, 1024}, DType::f16);
  for (const auto& [first, second] :
       {std::pair{".lokr_w1", ".lokr_w2"}, std::pair{".hada_w1_a", ".hada_w1_b"},
        std::pair{".lokr_w1_a", ".lokr_w1_b"}, std::pair{".lora_down.weight", ".lora_up.weight"},
        std::pair{".oft_blocks", ".rescale"}, std::pair{".diff", ".diff_b"}}) {
    MemorySource source = one_good();
    source.add(kOutput + first, large).add(kOutput + second, large);
    EXPECT_NE(reason_of(source, kOutput + first), "") << first;
  }
  // Each side divides the weight's; the product does not.
  MemorySource source = one_good();
  source.add(kOutput + ".lokr_w1", uniform_tensor({kOut, kIn}, DType::f32, 1));
  source.add(kOutput + ".lokr_w2", uniform_tensor({kOut, kIn}, DType::f32, 2));
  EXPECT_THAT(reason_of(source, kOutput + ".lokr_w1"), HasSubstr("[8, 6]"));
}

TEST_F(Hostile, SparseElementsOutside) {
  for (const std::int64_t place : {std::int64_t{-1}, kOut, std::numeric_limits<std::int64_t>::max(),
                                   std::numeric_limits<std::int64_t>::min()}) {
    MemorySource source = one_good();
    add_pair(source, kOutput, 2, kOut, kIn, 5);
    const std::array indices{place, std::int64_t{0}};
    const std::array size{kOut, kIn};
    Tensor where = Tensor::allocate({2}, DType::i64), whole = Tensor::allocate({2}, DType::i64);
    std::ranges::copy(indices, where.mutable_data<std::int64_t>());
    std::ranges::copy(size, whole.mutable_data<std::int64_t>());
    source.add(kOutput + ".bias_indices", where).add(kOutput + ".bias_size", whole);
    source.add(kOutput + ".bias_values", Tensor::from(std::vector{1.0F}, {1}));
    EXPECT_THAT(reason_of(source, kOutput + ".bias_indices"),
                AllOf(HasSubstr("outside [8, 6]"), HasSubstr(std::to_string(place))));
  }
}

TEST_F(Hostile, NamesOfAMegabyteAndOfNoText) {
  const std::string long_name(1 << 20, 'q'), dots(1 << 20, '.'), flat(1 << 20, '_');
  for (const std::string& name :
       {long_name, dots, flat, "lora_unet" + flat, "unet" + dots, "unet." + long_name,
        std::string("unet.\xff\xfe\x80"), std::string("\0\n\x1b[2J", 6), std::string(".alpha"),
        std::string("lora_unet_"), std::string("unet.down_blocks.99999999999999999999.attn")}) {
    for (const char* suffix : {"", ".lora_down.weight", ".lora_up.weight", ".alpha"}) {
      MemorySource source = one_good();
      source.add(name + suffix, uniform_tensor({2, kIn}, DType::f32, 3));
      const std::string reason = reason_of(source, name + suffix);
      EXPECT_NE(reason, "");
      EXPECT_LT(reason.size(), 8U << 20);
    }
  }
  MemorySource source;
  add_pair(source, "lora_unet_" + long_name, 2, kOut, kIn);
  EXPECT_NE(error_of([&] { ToyModel().bind(source); }), "");
  EXPECT_NE(error_of([] {
              bind_file(file_of("{" + entry("unet.\xff\xfe.alpha", "F32", "", "0,4") + "}", 4));
            }),
            "");
}

/// PEFT's parts without end, in the first of many tensors of one role: no reason repeats its name.
TEST_F(Hostile, NamesOfRepeatedParts) {
  for (const int count : {50, 1 << 17}) {
    std::string parts;
    for (int i = 0; i < count; ++i) parts += ".default";
    MemorySource source = one_good();
    const Tensor tiny = Tensor::zeros({1, 1}, DType::f16);
    source.add("unet.x" + parts + ".lora_A.weight", tiny);
    for (int i = 0; i < 2'000; ++i) source.add(fmt::format("unet.x.lora_A.{}.weight", i), tiny);
    const auto adapter = ToyModel().bind(source);
    for (const TensorFate& fate : adapter->report.tensors) EXPECT_LT(fate.reason.size(), 500U);
  }
}

TEST_F(Hostile, WordsInDescendingOrder) {
  MemorySource source = one_good();
  const Tensor tiny = Tensor::zeros({1}, DType::f16);
  for (int i = 300'000; i > 0; --i) source.add(fmt::format("bundle_emb.{:06}.clip_l", i), tiny);
  const auto adapter = ToyModel().bind(source);
  EXPECT_EQ(adapter->file->embeddings().size(), 300'000U);
  EXPECT_EQ(adapter->file->embeddings().front().name, "000001");
}

TEST_F(Hostile, AMillionTinyModules) {
  MemorySource source = one_good();
  const Tensor tiny = Tensor::zeros({1, 1}, DType::f16);
  for (int i = 0; i < 250'000; ++i) {
    const std::string name = "lora_unet_down_blocks_" + std::to_string(i) + "_attn1_to_q";
    source.add(name + ".lora_down.weight", tiny).add(name + ".lora_up.weight", tiny);
    source.add(name + ".alpha", scalar(1)).add(name + ".dora_scale", tiny);
  }
  const auto adapter = ToyModel().bind(source);
  EXPECT_EQ(adapter->report.tensors.size(), 1'000'002U);
  EXPECT_EQ(adapter->report.count(Fate::bound), 2);
}

TEST_F(Hostile, HeadersThatLie) {
  const std::string name = kQuery + ".lora_down.weight";
  const auto refusal = [](const std::string& header, std::size_t bytes, std::uint64_t claimed = 0) {
    return error_of([&] { file_of(header, bytes, claimed); });
  };
  const std::string good = entry(name, "F32", "2,6", "0,48");
  EXPECT_THAT(refusal("{" + good + "}", 48, 10'000'000'000), HasSubstr("at most"));
  EXPECT_THAT(refusal("{" + entry(name, "F32", "50000,50000", "0,10000000000") + "}", 48),
              HasSubstr("are missing"));
  EXPECT_THAT(refusal("{" + good + "," + entry(name, "F32", "2,6", "48,96") + "}", 96),
              AllOf(HasSubstr(name), HasSubstr("twice")));
  EXPECT_THAT(refusal("{" + good + "," + entry("b", "F32", "2,6", "24,72") + "}", 72),
              HasSubstr("overlaps"));
  for (const char* shape :
       {"4294967296,4294967296", "9223372036854775807,2", "3037000500,3037000500,2"})
    EXPECT_NE(refusal("{" + entry(name, "F32", shape, "0,48") + "}", 48), "") << shape;
}

/// Extents beside a zero may be anything: no byte stands for them.
TEST_F(Hostile, EmptyTensorsOfAbsurdExtents) {
  const std::string big = "4611686018427387904";
  for (const std::string& shape : {std::string("0"), "0," + big, big + ",0", big + "," + big + ",0",
                                   std::string("0,6"), std::string("8,0")}) {
    for (const char* suffix : {"lora_down.weight", "lora_up.weight", "alpha", "diff", "hada_w1_a",
                               "lokr_w1", "oft_blocks", "dora_scale", "set_weight", "on_input"}) {
      const std::string header = "{" + entry(kQuery + ".lora_down.weight", "F32", "2,6", "0,48") +
                                 "," + entry(kQuery + ".lora_up.weight", "F32", "8,2", "48,112") +
                                 "," + entry(kOutput + "." + suffix, "F32", shape, "112,112") + "}";
      try {
        const auto adapter = bind_file(file_of(header, 112));
        EXPECT_EQ(adapter->report.bound_modules(), 1) << suffix << shape;
        EXPECT_NE(adapter->report.tensors.back().reason, "") << suffix << shape;
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("hostile")) << suffix << shape;
      }
    }
  }
}

TEST_F(Hostile, ConfigurationsBesideTheTensors) {
  const auto refusal = [](const std::string& text) {
    MemorySource source = one_good();
    source.set_metadata("lora_adapter_metadata", text);
    return error_of([&] { ToyModel().bind(source); });
  };
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  for (const std::string& text :
       {deep, R"({"unet.alpha_pattern": )" + deep + "}", std::string("{"), std::string("\xff"),
        std::string(R"({"unet.lora_alpha": 1e999})"), std::string(R"({"unet.lora_alpha": [1]})"),
        std::string(R"({"unet.alpha_pattern": {"(": 1}})"),
        std::string(R"json({"unet.alpha_pattern": {"(?=a)": 1}})json"),
        std::string(R"json({"unet.alpha_pattern": {"((((){999}){999}){999})*": 1}})json"),
        R"({"unet.alpha_pattern": {")" + std::string(1 << 20, '(') + R"(": 1}})"})
    EXPECT_THAT(refusal(text), HasSubstr("lora_adapter_metadata")) << text.substr(0, 60);
}

/// Tens of thousands of names cost a look-up each, true expressions are few, and what takes
/// exponential time elsewhere takes little.
TEST_F(Hostile, PatternsWithoutEnd) {
  const auto bind = [](const std::string& patterns) {
    MemorySource source = one_good();
    for (int i = 0; i < 500; ++i)
      add_pair(source, fmt::format("unet.{}{}", std::string(400, 'a'), i), 2, kOut, kIn);
    source.set_metadata("lora_adapter_metadata",
                        R"({"unet.lora_alpha": 2, "unet.alpha_pattern": {)" + patterns + "}}");
    return ToyModel().bind(source)->report.bound_modules();
  };
  std::string names, expressions, slow;
  for (int i = 0; i < 50'000; ++i) names += fmt::format(R"("to_{}": 1, )", i);
  for (int i = 0; i < 1000; ++i) expressions += fmt::format(R"("(a|aa)*{}": 1, )", i);
  for (int i = 0; i < 60; ++i) slow += fmt::format(R"("(a|a|aa|.*)*(.*)*.*.*x{}": 1, )", i);
  EXPECT_EQ(bind(names + R"("z": 1)"), 1);
  EXPECT_EQ(bind(slow + R"("z": 1)"), 1);
  EXPECT_THAT(error_of([&] { bind(expressions + R"("z": 1)"); }),
              AllOf(HasSubstr("alpha_pattern"), HasSubstr("64")));
}

TEST_F(Hostile, FilesThatAreSomethingElse) {
  const fs::path folder = fs::path(::testing::TempDir()) / "hostile_adapters";
  fs::create_directories(folder);
  const auto refusal = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    const std::string message = error_of([&] { AdapterFile::open(folder / name); });
    EXPECT_THAT(message, HasSubstr(name));
    return message;
  };
  EXPECT_THAT(refusal("pointer.safetensors",
                      "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
              HasSubstr("Git LFS"));
  EXPECT_THAT(refusal("page.safetensors", "<!DOCTYPE html><html></html>"), HasSubstr("web page"));
  EXPECT_NE(refusal("empty.safetensors", ""), "");
  EXPECT_NE(refusal("noise.pt", std::string(4096, '\x80')), "");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace velatura::lora
