// Broken and hostile adapter files as they lie on a disk: what is opened is refused with the file's
// name, what is wrong and, where there is something, what to do; nothing waits and nothing is held
// that the file only claims. Not here: what binding finds in readable tensors (hostile_test.cc).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "lora/adapter_file.h"
#include "tests/support/adapter_folder.h"
#include "tests/support/torch_file.h"
#include "velatura/error.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;
using testing::AdapterFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::PickleText;

class HostileFiles : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_LT((std::clock() - begin_) / CLOCKS_PER_SEC, 60); }
  /// What opening the file says; it names the file.
  static std::string refusal(const fs::path& path) {
    try {
      AdapterFile::open(path);
    } catch (const Error& error) {
      EXPECT_NE(error.kind(), ErrorKind::internal) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(path.filename().string()));
      return error.what();
    }
    ADD_FAILURE() << path << " was opened";
    return {};
  }
  std::string refusal(const char* name, const std::string& bytes) const {
    return refusal(folder_.text(name, bytes));
  }
  static std::string framed(const std::string& header, std::size_t data = 0) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
    return bytes + header + std::string(data, '\0');
  }

  AdapterFolder folder_;
  std::clock_t begin_ = std::clock();  ///< of the processor: other programs take none of it
};

TEST_F(HostileFiles, WhatIsNoFileAtAll) {
  EXPECT_THAT(refusal(folder_.pipe("pipe.safetensors")), HasSubstr("not a regular file"));
  fs::create_symlink("/dev/zero", folder_ / "device.safetensors");
  EXPECT_THAT(refusal(folder_ / "device.safetensors"), HasSubstr("not a regular file"));
  fs::create_symlink("itself.safetensors", folder_ / "itself.safetensors");
  EXPECT_THAT(refusal(folder_ / "itself.safetensors"), HasSubstr("symbolic links"));
  fs::create_symlink("nowhere", folder_ / "dangling.safetensors");
  refusal(folder_ / "dangling.safetensors");
  fs::create_directories(folder_ / "folder.safetensors");
  EXPECT_THAT(refusal(folder_ / "folder.safetensors"), HasSubstr("holds no adapter"));
}

TEST_F(HostileFiles, HeadersOfSafetensors) {
  const std::string entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  std::string claims = framed("{\"a\":" + entry + "}", 4);
  claims.replace(0, 8, std::string("\x00\xe4\x0b\x54\x02\x00\x00\x00", 8));  // 10 GB
  EXPECT_THAT(refusal("claims.safetensors", claims),
              AllOf(HasSubstr("10000000000 bytes"), HasSubstr("download or copy it again")));
  EXPECT_THAT(
      refusal("twice.safetensors", framed("{\"a\":" + entry + ",\"\\u0061\":" + entry + "}", 4)),
      AllOf(HasSubstr("\"a\""), HasSubstr("twice")));
  EXPECT_THAT(refusal("negative.safetensors",
                      framed(R"({"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}})", 4)),
              AllOf(HasSubstr("\"a\""), HasSubstr("-1")));
  EXPECT_THAT(refusal("reversed.safetensors",
                      framed(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4)),
              AllOf(HasSubstr("\"a\""), HasSubstr("[4, 0)")));
  for (const std::string& deep :
       {std::string(1 << 20, '['), std::string(1 << 20, '{'),
        "{\"a\":" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}",
        "{\"a\":{\"shape\":" + std::string(1 << 20, '[') + "0" + std::string(1 << 20, ']') + "}}"})
    refusal("deep.safetensors", framed(deep));
  refusal("text.safetensors", framed("{\"\xff\xfe\":" + entry + "}", 4));
  refusal("cut_text.safetensors", framed("{\"a\xe2\x82\":" + entry + "}", 4));
  const std::string good = framed("{\"a\":" + entry + "}", 4);
  for (std::size_t length = 0; length < good.size(); ++length)
    refusal("cut.safetensors", good.substr(0, length));
}

TEST_F(HostileFiles, Pickles) {
  const auto archive = [](const std::string& pickle) {
    return testing::zip({{"archive/data.pkl", pickle, true}});
  };
  const std::string call = PickleText()
                               .proto()
                               .global("posix", "system")
                               .mark()
                               .text("touch /tmp/never")
                               .tuple()
                               .reduce()
                               .stop()
                               .bytes();
  EXPECT_THAT(refusal("code.pt", archive(call)),
              AllOf(HasSubstr("posix.system"), HasSubstr("safetensors version")));
  EXPECT_THAT(refusal("code.safetensors", archive(call)), HasSubstr("posix.system"))
      << "whatever it is called";
  refusal("legacy.pt", testing::legacy(call, {}, 4));
  EXPECT_THAT(refusal("bomb.pt", archive(PickleText().proto().dict().stop().bytes() +
                                         std::string((std::size_t{64} << 20) + 1, '\0'))),
              AllOf(HasSubstr("data.pkl"), HasSubstr("at most")));
  // Deep, endless and unknown: opcodes that no version has, places that nothing was put in.
  for (const std::string& pickle :
       {std::string("\x80\x02") + std::string(1 << 20, '('),
        std::string("\x80\x02") + std::string(1 << 20, ']'),
        std::string("\x80\x02X\xff\xff\xff\x7f"), std::string("\x80\x02\xfe\xfd."),
        std::string("\x80\x02j\xff\xff\xff\xff."), std::string("\x80\x02\x81\x92R.")})
    refusal("pickle.pt", archive(pickle));
  const std::string far("\x80\x02]r\xff\xff\xff\x7f.");  // a list, put into place 2³¹ − 1
  EXPECT_TRUE(AdapterFile::open(folder_.text("far.pt", archive(far)))->modules().empty());
}

TEST_F(HostileFiles, Shards) {
  const fs::path whole = folder_.lora("one.safetensors");
  const auto index = [&](const std::string& map) {
    return refusal("some.safetensors.index.json", R"({"weight_map": {)" + map + "}}");
  };
  const auto told = [&](const char* name, const std::string& map) {
    try {
      AdapterFile::open(
          folder_.text("some.safetensors.index.json", R"({"weight_map": {)" + map + "}}"));
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(name));
      return;
    }
    ADD_FAILURE() << map;
  };
  EXPECT_THAT(index(R"("x": "../one.safetensors")"), HasSubstr("beside its index"));
  EXPECT_THAT(index(R"("x": "/dev/zero")"), HasSubstr("beside its index"));
  EXPECT_THAT(index(R"("x": "some.safetensors.index.json")"), HasSubstr("beside its index"));
  EXPECT_THAT(index(R"("x": 7)"), HasSubstr("\"x\""));
  EXPECT_THAT(index(R"("x": "one.safetensors")"), HasSubstr("lacks tensor \"x\""));
  told("two.safetensors", R"("x": "two.safetensors")");
  fs::resize_file(whole, fs::file_size(whole) - 100);
  told("one.safetensors", R"("x": "one.safetensors")");
}

/// Tensors of a file that is cut while it is open are lost; whoever opens it then is told.
TEST_F(HostileFiles, FilesThatChangeWhileTheyAreRead) {
  const fs::path path = folder_.lora("changing.safetensors", {}, 256);
  const std::uintmax_t size = fs::file_size(path);
  const auto file = AdapterFile::open(path);
  for (const std::uintmax_t left : {size - 1, size / 2, std::uintmax_t{9}, std::uintmax_t{0}}) {
    fs::resize_file(path, left);
    refusal(path);
  }
  EXPECT_EQ(file->modules().size(), 2U) << "what was read stays";
}

}  // namespace
}  // namespace velatura::lora
