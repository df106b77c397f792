#include "lora/library/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/library/clean_text.h"
#include "lora/library/previews.h"
#include "lora/library/tag_table.h"
#include "tests/support/adapter_folder.h"

namespace velatura::lora {

namespace {

using library::clean_line;
using library::clean_lines;
using library::decode_base64;
using library::preview_in_value;
using library::text_of_html;
using testing::AdapterFolder;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Header = std::map<std::string, std::string>;

std::vector<std::string> texts(const std::vector<SourcedText>& words) {
  std::vector<std::string> all;
  for (const SourcedText& word : words) all.push_back(word.text);
  return all;
}

TEST(CleanText, KeepsOneLineOfValidUtf8) {
  EXPECT_EQ(clean_line("  a\tb\r\n c\x01", 100), "a b c");
  EXPECT_EQ(clean_line("ink \xff\xfe ü \xed\xa0\x80", 100),
            "ink \uFFFD\uFFFD ü \uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(clean_line("\xf4\x90\x80\x80", 100), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(clean_line("\xc0\xaf", 100), "\uFFFD\uFFFD");
  EXPECT_EQ(clean_line("äöü", 100), "äöü");
  EXPECT_EQ(clean_line("", 100), "");
}

TEST(CleanText, CutsAtACharacter) {
  EXPECT_EQ(clean_line(std::string(50, 'a'), 10), std::string(8, 'a') + "…");
  EXPECT_EQ(clean_line("ääääääää", 10), "ääää…");
  EXPECT_LE(clean_line(std::string(1 << 20, 'x'), 100).size(), 102U);
}

TEST(CleanText, KeepsLinesWhereAsked) {
  EXPECT_EQ(clean_lines("a\r\n\r\n\r\nb\n c ", 100), "a\n\nb\nc");
}

TEST(CleanText, ReadsHtmlOfHubs) {
  EXPECT_EQ(clean_lines(text_of_html("<p>Use &lt;lora:ink:1&gt;</p><p>1 < 2 &amp; 3 &#252; &#x2713;"
                                     "<br/>end</p>"),
                        200),
            "Use <lora:ink:1>\n\n1 < 2 & 3 ü ✓\nend");
  EXPECT_EQ(text_of_html("cut <a href=\"x"), "cut ");
  EXPECT_EQ(text_of_html("&nosuch; &#xffffffff; &"), "&nosuch; &#xffffffff; &");
}

TEST(TagTable, CountsOverFoldersAndKeepsFileOrderOfTies) {
  const library::TagTable table = library::read_tag_table(
      R"({"5_a": {"ink": 3, "cat": 2, "dog": 2}, "2_b": {"cat": 1, "ink": 1, "": 4, "bad": -1}})",
      R"({"5_a": {"n_repeats": 5, "img_count": 3}})", 3);
  EXPECT_THAT(table.tags, ElementsAre(TagCount{"ink", 4}, TagCount{"cat", 3}, TagCount{"dog", 2}));
  EXPECT_THAT(table.on_every_picture, ElementsAre("ink"));
}

TEST(TagTable, TakesTheFoldersNameOfAiToolkit) {
  EXPECT_THAT(library::read_tag_table(R"({"1_velink": {"velink": 1}})", "", 10).on_every_picture,
              ElementsAre("velink"));
}

TEST(TagTable, OutlivesDamage) {
  EXPECT_THAT(library::read_tag_table(R"({"a": {"x": 2, "y":)", "[", 10).tags,
              ElementsAre(TagCount{"x", 2}));
  EXPECT_THAT(library::read_tag_table(R"([1, {"a": 2}])", "null", 10).tags, IsEmpty());
  EXPECT_THAT(library::read_tag_table(std::string(1 << 20, '['), "", 10).tags, IsEmpty());
  EXPECT_THAT(library::read_tag_table(R"({"a": {"x": 1e300, "y": 18446744073709551615}})", "", 10)
                  .tags.front()
                  .tag,
              "y");
}

TEST(Metadata, WeightIsTheFirstHitThatIsANumber) {
  const AdapterFolder folder;
  const auto path = folder.lora("ink.safetensors");
  EXPECT_EQ(read_metadata(path, {}).recommended_weight, std::nullopt);
  EXPECT_EQ(read_metadata(path, {{"recommended_weight", "strong"}, {"strength", " 0.7 "}})
                .recommended_weight,
            0.7);
  EXPECT_EQ(read_metadata(path, {{"modelspec.metadata", R"({"preferred_weight": 0.5})"}})
                .recommended_weight,
            0.5);
  folder.text("ink.json", R"({"preferred weight": 0.4})");
  const FileMetadata data = read_metadata(path, {{"multiplier", "inf"}});
  EXPECT_EQ(data.recommended_weight, 0.4);
  EXPECT_EQ(data.weight_source, "ink.json");
  folder.text("ink.json", R"({"preferred weight": 0})");
  folder.text("ink.metadata.json",
              R"({"usage_tips": "{\"strength\": 0.9, \"strength_min\": 0.2, \"strength_max\": 1.5,)"
              R"( \"clip_strength\": 0.6}", "tags": ["ink", "line"], "notes": "<p>thin</p>"})");
  const FileMetadata tips = read_metadata(path, {});
  EXPECT_EQ(tips.recommended_weight, 0.9);
  EXPECT_EQ(tips.min_weight, 0.2);
  EXPECT_EQ(tips.max_weight, 1.5);
  EXPECT_EQ(tips.text_weight, 0.6);
  EXPECT_THAT(tips.tags, ElementsAre("ink", "line"));
  EXPECT_EQ(tips.notes, "thin");
}

TEST(Metadata, TriggerWordsKeepOrderAndSource) {
  const AdapterFolder folder;
  const auto path = folder.lora("ink.safetensors");
  folder.text("ink.json", R"({"activation text": "brush, velink", "description": "of ink",
                              "sd version": "SD1", "negative text": "photo"})");
  folder.text("ink.civitai.info", R"({"trainedWords": ["wash", "brush"], "baseModel": "SD 1.5"})");
  folder.text("ink.metadata.json", R"({"civitai": {"trainedWords": ["dry"]}})");
  folder.text("ink.txt", "say velink");
  const Header header = {{"trigger_words", "velink, ink drawing"},
                         {"modelspec.trigger_phrase", "velink"},
                         {"modelspec.usage_hint", "short prompts"},
                         {"ss_training_comment", "None"},
                         {"ss_tag_frequency", R"({"2_x": {"line": 4, "velink": 9}})"},
                         {"ss_dataset_dirs", R"({"2_x": {"img_count": 4}})"}};
  const FileMetadata data = read_metadata(path, header);
  EXPECT_THAT(data.trigger_words, ElementsAre("velink", "ink drawing", "brush", "wash", "dry"));
  EXPECT_EQ(data.triggers[0].source, "trigger_words");
  EXPECT_EQ(data.triggers[2].source, "ink.json");
  EXPECT_EQ(data.triggers[3].source, "ink.civitai.info");
  EXPECT_THAT(texts(data.trigger_candidates), ElementsAre("short prompts", "line", "say velink"));
  EXPECT_THAT(data.frequent_tags, ElementsAre(TagCount{"velink", 9}, TagCount{"line", 4}));
  EXPECT_EQ(data.description, "of ink");
  EXPECT_EQ(data.negative_text, "photo");
  EXPECT_EQ(data.base_model, "SD1");
}

TEST(Metadata, NotesOfWrongTypesCountAsAbsent) {
  const AdapterFolder folder;
  const auto path = folder.lora("ink.safetensors");
  folder.text("ink.json", R"({"activation text": [1, {"a": 2}], "preferred weight": [3],
                              "description": {"x": 1}})");
  folder.text("ink.civitai.info", R"({"trainedWords": {"a": 1}, "files": [7], "model": 3})");
  folder.text("ink.metadata.json", "[[[");
  folder.text("ink.cm-info.json", R"({"TrainedWords": null})");
  std::filesystem::create_directories(folder / "ink.txt");
  const FileMetadata data = read_metadata(path, {{"ss_tag_frequency", "None"}});
  EXPECT_THAT(data.trigger_words, IsEmpty());
  EXPECT_EQ(data.recommended_weight, std::nullopt);
  EXPECT_EQ(data.title, "ink");
}

TEST(Metadata, NestingWithoutEndIsNoCrash) {
  const AdapterFolder folder;
  const std::string deep =
      R"({"preferred_weight": )" + std::string(1 << 18, '[') + std::string(1 << 18, ']') + "}";
  folder.text("ink.json", deep);
  const FileMetadata data = read_metadata(
      folder.lora("ink.safetensors"), {{"modelspec.metadata", deep}, {"ss_tag_frequency", deep}});
  EXPECT_EQ(data.recommended_weight, std::nullopt);
}

TEST(Metadata, HugeTextsAreBounded) {
  const AdapterFolder folder;
  const auto path = folder.lora("ink.safetensors");
  std::string words;
  for (int i = 0; i < 5000; ++i) words += "word" + std::to_string(i) + ",";
  const FileMetadata data =
      read_metadata(path, {{"name", std::string(1 << 20, 'x')},
                           {"trigger_words", words},
                           {"modelspec.description", std::string(1 << 20, 'y')},
                           {"modelspec.tags", words}});
  EXPECT_LE(data.title.size(), 203U);
  EXPECT_LE(data.trigger_words.size(), 256U);
  EXPECT_LE(data.description.size(), 1003U);
  EXPECT_LE(data.tags.size(), 256U);
}

TEST(Metadata, StatedHashesButNeverThatOfNothing) {
  const AdapterFolder folder;
  const auto path = folder.lora("ink.safetensors");
  folder.text("ink.civitai.info",
              R"({"files": [{"hashes": {"AutoV3": "ABCDEF123456", "AutoV2": "E3B0C44298"}}]})");
  const FileMetadata data = read_metadata(
      path,
      {{"sshs_model_hash", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
       {"modelspec.hash_sha256", "0x" + std::string(64, 'a')}});
  EXPECT_THAT(data.claimed_hashes, ElementsAre("abcdef123456", std::string(64, 'a')));
  EXPECT_TRUE(is_hash_of_nothing("e3b0c442"));
  EXPECT_FALSE(is_hash_of_nothing("e3b0c443"));
  EXPECT_FALSE(is_hash_of_nothing(""));
}

TEST(Metadata, PreviewsBesideTheFileThenInTheHeader) {
  const AdapterFolder folder;
  const auto path = folder.lora("ink.safetensors");
  folder.text("ink.preview.webp", "x");
  folder.text("ink.jpg", "x");
  EXPECT_THAT(read_metadata(path, {{"modelspec.thumbnail", "data:image/png;base64,AAAA"}}).previews,
              ElementsAre("ink.preview.webp", "ink.jpg", "header:modelspec.thumbnail"));
}

TEST(Previews, AreWhatTheirBytesSay) {
  // "\x89PNG\r\n\x1a\n" in base64.
  const std::string png = "iVBORw0KGgo=";
  EXPECT_EQ(preview_in_value("data:image/jpeg;base64," + png)->media_type, "image/png");
  EXPECT_EQ(preview_in_value("[\"" + png + "\", \"x\"]")->media_type, "image/png");
  EXPECT_FALSE(preview_in_value("data:text/html;base64," + png));
  EXPECT_FALSE(preview_in_value("data:image/png," + png));
  EXPECT_FALSE(preview_in_value("data:image/svg+xml;base64,PHN2Zz4="));
  EXPECT_FALSE(preview_in_value("[[\"" + png + "\"]]"));
  EXPECT_FALSE(preview_in_value("[\"[]\"]"));
  EXPECT_FALSE(preview_in_value("\xff\xfe"));
  EXPECT_EQ(decode_base64("Zm 9v\nYg=="), (std::vector<std::byte>{std::byte{'f'}, std::byte{'o'},
                                                                  std::byte{'o'}, std::byte{'b'}}));
  EXPECT_EQ(decode_base64(std::string(12 << 20, 'A')), std::nullopt);
}

}  // namespace

}  // namespace velatura::lora
