#include "weights/formats/torch_pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "tests/support/torch_file.h"
#include "weights/formats/pickle.h"
#include "weights/formats/zip_directory.h"

namespace velatura::weights {

namespace {

using ::testing::HasSubstr;
using testing::PickleText;

std::string floats(std::initializer_list<float> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(float)};
}
const std::string kSix = floats({0, 1, 2, 3, 4, 5});
const PickleText::View kMatrix{.count = 6, .shape = {2, 3}, .strides = {3, 1}};

std::string archive(const std::string& pickle, bool deflate = false,
                    const std::string& order = "little") {
  return testing::zip({{"archive/data.pkl", pickle, deflate},
                       {"archive/byteorder", order},
                       {"archive/data/0", kSix, deflate}});
}
std::shared_ptr<const Source> open(const std::string& file) {
  const Blob blob = Blob::of(testing::to_bytes(file), "test.pt");
  return looks_like_zip(blob) ? open_torch_zip(blob) : open_torch_legacy(blob);
}
std::string refusal(const std::string& file) {
  try {
    open(file);
  } catch (const Error& error) {
    EXPECT_TRUE(error.kind() == ErrorKind::bad_file || error.kind() == ErrorKind::unsupported)
        << error.what();
    EXPECT_THAT(error.what(), HasSubstr("test.pt"));
    return error.what();
  }
  return "no error";
}
/// {"w": tensor} and what `more` adds.
std::string dict_pickle(const PickleText::View& view,
                        const std::function<void(PickleText&)>& more = {}) {
  PickleText pickle;
  pickle.proto().dict().mark().text("w").tensor(view);
  if (more) more(pickle);
  return pickle.set_items().stop().bytes();
}
void evil(PickleText& pickle) {
  pickle.global("posix", "system").mark().text("echo owned").tuple().reduce();
}

TEST(TorchPickle, StoredDeflatedAndLegacy) {
  const std::string pickle = dict_pickle(kMatrix);
  for (const std::string& file : {archive(pickle), archive(pickle, true),
                                  testing::legacy(pickle, {{"0", kSix}}, sizeof(float))}) {
    const auto source = open(file);
    ASSERT_EQ(source->tensors().size(), 1u);
    const Tensor tensor = source->load("w");
    EXPECT_EQ(tensor.shape(), (Shape{2, 3}));
    EXPECT_EQ(tensor.floats()[5], 5.0f);
    source->release("w");
    EXPECT_THROW(source->load("x"), Error);
  }
}

TEST(TorchPickle, StridesAreMaterialised) {
  const auto load = [](const PickleText::View& view) {
    return open(archive(dict_pickle(view)))->load("w");
  };
  const Tensor transposed = load({.count = 6, .shape = {3, 2}, .strides = {1, 3}});
  EXPECT_EQ(std::vector<float>(transposed.floats().begin(), transposed.floats().end()),
            (std::vector<float>{0, 3, 1, 4, 2, 5}));
  const Tensor column = load({.count = 6, .offset = 1, .shape = {2}, .strides = {3}});
  EXPECT_EQ(column.floats()[1], 4.0f);
  const Tensor expanded = load({.count = 6, .offset = 2, .shape = {2, 2}, .strides = {0, 1}});
  EXPECT_EQ(expanded.floats()[2], 2.0f);
  EXPECT_EQ(load({.count = 6, .shape = {0, 7}, .strides = {7, 1}}).count(), 0);
  EXPECT_EQ(load({.count = 6, .offset = 4, .shape = {}, .strides = {}}).floats()[0], 4.0f);
}

TEST(TorchPickle, TreeUnderStateDictAndScalars) {
  PickleText pickle;
  pickle.proto().dict().mark();
  pickle.text("epoch").integer(3).text("callbacks");
  evil(pickle);
  pickle.text("state_dict")
      .dict()
      .mark()
      .text("a")
      .raw("](")
      .tensor(kMatrix)
      .tensor(kMatrix)
      .raw("e")
      .text("name")
      .text("x")
      .set_items();
  pickle.set_items().stop();
  const auto source = open(archive(pickle.bytes()));
  ASSERT_EQ(source->tensors().size(), 2u);
  EXPECT_EQ(source->tensors()[0].name, "a.0");
  EXPECT_EQ(source->metadata().at("epoch"), "3");
  EXPECT_EQ(source->metadata().at("name"), "x");
}

TEST(TorchPickle, ForeignGlobalsInsideTheTreeAreNamed) {
  const std::string inside = dict_pickle(kMatrix, [](PickleText& p) { evil(p.text("b")); });
  EXPECT_THAT(refusal(archive(inside)), HasSubstr("posix.system"));
  EXPECT_THAT(refusal(testing::legacy(inside, {{"0", kSix}}, 4)), HasSubstr("posix.system"));
  // Hidden in a state, in the arguments of a tensor, behind STACK_GLOBAL.
  EXPECT_THAT(refusal(archive(dict_pickle(kMatrix,
                                          [](PickleText& p) {
                                            evil(p.text("b").dict());
                                            p.raw("b");
                                          }))),
              HasSubstr("posix.system"));
  EXPECT_THAT(
      refusal(archive(dict_pickle(
          kMatrix, [](PickleText& p) { p.text("b").text("os").text("system").raw("\x93"); }))),
      HasSubstr("os.system"));
  PickleText nested;
  nested.proto().dict().mark().text("state_dict").dict().mark().text("b");
  evil(nested);
  nested.set_items().set_items().stop();
  EXPECT_THAT(refusal(archive(nested.bytes())), HasSubstr("posix.system"));
}

TEST(TorchPickle, ViewsOutsideTheirStorage) {
  const auto view = [](PickleText::View v) { return refusal(archive(dict_pickle(v))); };
  EXPECT_THAT(view({.count = 6, .shape = {7}, .strides = {1}}),
              HasSubstr("reaches element 6 of a storage of 6"));
  EXPECT_THAT(view({.count = 6, .offset = 6, .shape = {1}, .strides = {1}}),
              HasSubstr("reaches element"));
  EXPECT_THAT(view({.count = 6, .shape = {2}, .strides = {-1}}), HasSubstr("no natural number"));
  EXPECT_THAT(view({.count = 6, .offset = -1, .shape = {1}, .strides = {1}}),
              HasSubstr("no natural number"));
  EXPECT_THAT(view({.count = 6, .shape = {-1}, .strides = {1}}), HasSubstr("no natural number"));
  EXPECT_THAT(view({.count = 6, .shape = {2, 3}, .strides = {1}}),
              HasSubstr("2 extents and 1 strides"));
  EXPECT_THAT(view({.count = 6, .shape = {2000000000, 2}, .strides = {0, 1}}),
              HasSubstr("expands"));
  EXPECT_NE(view({.count = 6, .shape = {2000000000, 2000000000, 2000000000}, .strides = {0, 0, 0}}),
            "no error");
  EXPECT_THAT(view({.count = 6,
                    .shape = {1, 1, 1, 1, 1, 1, 1, 1, 1},
                    .strides = {1, 1, 1, 1, 1, 1, 1, 1, 1}}),
              HasSubstr("at most 8"));
  EXPECT_THAT(view({.count = 7, .shape = {1}, .strides = {1}}), HasSubstr("should have 28 bytes"));
  EXPECT_THAT(view({.key = "../0", .count = 6, .shape = {1}, .strides = {1}}), HasSubstr("lacks"));
  EXPECT_THAT(view({.type = "QUInt8Storage", .count = 6, .shape = {1}, .strides = {1}}),
              HasSubstr("QUInt8Storage"));
}

TEST(TorchPickle, DamagedContainers) {
  const std::string good = archive(dict_pickle(kMatrix));
  EXPECT_THAT(refusal(good.substr(0, good.size() - 1)), HasSubstr("truncated"));
  EXPECT_THAT(refusal(archive(dict_pickle(kMatrix), false, "big")), HasSubstr("byte order"));
  EXPECT_THAT(refusal(testing::zip({{"word/document.xml", "x"}})), HasSubstr("no data.pkl"));
  EXPECT_THAT(refusal(testing::zip({{"a/data.pkl", "N."}, {"b/data.pkl", "N."}})),
              HasSubstr("two pickles"));
  EXPECT_THAT(refusal(testing::zip({{"a/data.pkl", "N."}, {"a/data.pkl", "N."}})),
              HasSubstr("appears twice"));
  EXPECT_THAT(refusal(testing::zip({{"a/data.pkl", dict_pickle(kMatrix)}})),
              HasSubstr("which the archive lacks"));
  const std::string pickle = dict_pickle(kMatrix);
  EXPECT_THAT(refusal(testing::legacy(pickle, {{"0", kSix}}, 4, false)), HasSubstr("big-endian"));
  EXPECT_THAT(refusal(testing::legacy(pickle, {}, 4)), HasSubstr("which the file lacks"));
  EXPECT_THAT(refusal(testing::legacy(pickle, {{"9", kSix}}, 4)), HasSubstr("not described"));
  const std::string legacy = testing::legacy(pickle, {{"0", kSix}}, 4);
  EXPECT_THAT(refusal(legacy.substr(0, legacy.size() - 5)), HasSubstr("5 bytes are missing"));
  for (std::size_t length = 15; length < legacy.size(); ++length)
    EXPECT_NE(refusal(legacy.substr(0, length)), "no error") << length;
}

TEST(TorchPickle, ArchiveBombs) {
  // A megabyte of zeros packs about 1:1000; a directory that claims more than deflate can do is
  // refused.
  const std::string zeros(1 << 20, '\0');
  std::string bomb = testing::zip({{"a/data.pkl", zeros, true}});
  EXPECT_NE(refusal(bomb), "no error");
  const std::size_t directory = bomb.rfind("PK\x01\x02");
  std::string claims_more = bomb;
  claims_more[directory + 27] = '\x7f';  // uncompressed size, highest byte
  EXPECT_THAT(refusal(claims_more), HasSubstr("claims to unpack"));
  // Two entries over the same bytes.
  const std::string two =
      testing::zip({{"a/data.pkl", "N."}, {"b/data.pkx", std::string(40, 'x')}});
  std::string overlapping = two;
  const std::size_t second = two.rfind("PK\x01\x02");
  std::memset(overlapping.data() + second + 42, 0, 4);  // its local header: the first one's
  EXPECT_NE(refusal(overlapping), "no error");
}

TEST(TorchPickle, DepthIsBounded) {
  PickleText deep;
  deep.proto();
  for (int i = 0; i < 100000; ++i) deep.raw("]");
  for (int i = 0; i + 1 < 100000; ++i) deep.raw("a");
  EXPECT_THAT(refusal(archive(deep.stop().bytes())), HasSubstr("nests deeper"));
  // A list inside itself.
  EXPECT_THAT(refusal(archive(PickleText()
                                  .proto()
                                  .raw("]q\x01h\x01"
                                       "a")
                                  .stop()
                                  .bytes())),
              HasSubstr("nests deeper"));
  // Doubling: thirty lists, each the one before twice.
  PickleText wide;
  wide.proto().raw("]q").raw(std::string_view("\0", 1));
  for (char i = 1; i <= 30; ++i) {
    const std::string before(1, static_cast<char>(i - 1)), here(1, i);
    wide.raw("](h" + before + "h" + before + "eq" + here);
  }
  EXPECT_THAT(refusal(archive(wide.stop().bytes())), HasSubstr("more than"));
}

TEST(Pickle, ValuesOfEveryProtocol) {
  using pickle::Kind;
  const auto parse = [](std::string_view text, std::vector<std::byte>& bytes) {
    bytes = testing::to_bytes(text);
    return pickle::parse(bytes, "test");
  };
  std::vector<std::byte> bytes;
  EXPECT_EQ(parse("I-12\n.", bytes).top().integer, -12);
  EXPECT_EQ(parse("I01\n.", bytes).top().kind, Kind::boolean);
  EXPECT_EQ(parse("L123L\n.", bytes).top().integer, 123);
  EXPECT_TRUE(parse("L123456789012345678901234567890L\n.", bytes).top().big);
  EXPECT_EQ(parse("\x8a\x02\xfe\xff.", bytes).top().integer, -2);
  EXPECT_EQ(parse("F1.5\n.", bytes).top().real, 1.5);
  EXPECT_EQ(parse(std::string_view("G\x3f\xf8\0\0\0\0\0\0.", 10), bytes).top().real, 1.5);
  EXPECT_EQ(parse("S'a\\'b\\x41'\n.", bytes).top().text, "a'bA");
  EXPECT_EQ(parse("V\\u00e9\\U0001f600x\n.", bytes).top().text, "\xc3\xa9\xf0\x9f\x98\x80x");
  EXPECT_EQ(parse("\x80\x04\x8c\x02hi\x94.", bytes).top().text, "hi");
  EXPECT_EQ(parse("(I1\nI2\nl.", bytes).top().items.size(), 2u);
  EXPECT_EQ(parse("(I1\nI2\nd.", bytes).top().kind, Kind::dict);
  EXPECT_EQ(parse("cos\nsystem\n.", bytes).top().text, "os.system");
  EXPECT_EQ(parse("(cos\nsystem\nI1\no.", bytes).top().kind, Kind::call);
  EXPECT_EQ(parse("(I1\nios\nsystem\n.", bytes).top().kind, Kind::call);
  EXPECT_EQ(parse("N(0.", bytes).top().kind, Kind::none);
}

TEST(Pickle, DamageIsAnError) {
  for (const std::string_view text :
       {"",           ".",         "0.",     "a.",     "(",     "t.",   "]a.",
        "N(a.",       "}Ns.",      "h\x01.", "q\x01.", "R.",    "NR.",  "X\xff\xff\xff\xff.",
        "\x80\x09N.", "\x82\x01.", "\xff",   "I12",    "Ix\n.", "c\nx", "(Nu.",
        "}(Nu.",      "Sx\n.",     "\x97."}) {
    const std::vector<std::byte> bytes = testing::to_bytes(text);
    EXPECT_THROW(pickle::parse(bytes, "test"), Error) << text;
  }
}

TEST(Pickle, GlobalsMadeOfLongTextsAreBounded) {
  PickleText text;
  text.proto().text(std::string(5000, 'x')).raw("q\x01h\x01\x93").stop();
  const std::vector<std::byte> bytes = testing::to_bytes(text.bytes());
  EXPECT_THROW(pickle::parse(bytes, "test"), Error);
}

}  // namespace

}  // namespace velatura::weights
