// Jobs with adapters on the demonstration model: what the grammar says is what the pictures show,
// what a picture carries repeats it, and what has not changed is not done again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/job.h"
#include "image/codec.h"
#include "image/infotext.h"
#include "velatura/engine.h"
#include "velatura/error.h"
#include "velatura/lora.h"
#include "velatura/request_fields.h"

namespace velatura::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

EngineOptions options() {
  EngineOptions options;
  options.precision = "f32";
  return options;
}

class Adapters : public ::testing::Test {
 protected:
  Adapters() : session_(options()) {}

  static GenerateRequest request(const std::string& prompt, std::vector<std::string> loras = {}) {
    GenerateRequest request;
    request.prompt = prompt;
    for (const std::string& lora : loras) request.loras.push_back(parse_lora(lora));
    request.steps = 3;
    request.seed = 5;
    request.upscale = "none";
    return request;
  }

  GenerateResult run(const GenerateRequest& request, Observer observer = {}) {
    observer.on_note = [this](const std::string& note) { notes_.push_back(note); };
    return run_job(session_, request, observer, {});
  }

  Image picture(const GenerateRequest& request) {
    return std::move(run(request).pictures.at(0).image);
  }
  Image picture(const std::string& prompt, std::vector<std::string> loras = {}) {
    return picture(request(prompt, std::move(loras)));
  }

  std::string failure(const GenerateRequest& request) {
    try {
      run(request);
    } catch (const Error& error) {
      return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }

  Session session_;
  std::vector<std::string> notes_;
};

class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() / ("velatura-adapters-" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

/// White right of the middle.
void write_halves(const fs::path& path, std::uint8_t left, std::uint8_t right) {
  Image image{.width = 64, .height = 64, .channels = 3, .pixels = {}};
  for (int i = 0; i < 64 * 64; ++i)
    image.pixels.insert(image.pixels.end(), 3, i % 64 < 32 ? left : right);
  const std::vector<std::byte> bytes = image::encode_png(image);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

/// Mean absolute difference of the columns [from, to).
double difference(const Image& a, const Image& b, int from = 0, int to = -1) {
  if (to < 0) to = a.width;
  double sum = 0;
  for (int y = 0; y < a.height; ++y) {
    for (int x = from * 3; x < to * 3; ++x) {
      const auto at = static_cast<std::size_t>(y * a.width * 3 + x);
      sum += std::abs(a.pixels[at] - b.pixels[at]);
    }
  }
  return sum / (3.0 * a.height * (to - from));
}

TEST_F(Adapters, OptionsAndTagsSayTheSame) {
  const Image option = picture("rocket", {"ink:0.6:0.3"});
  EXPECT_EQ(picture("rocket<lora:ink:0.3:0.6>"), option);
  EXPECT_EQ(picture("rocket<lyco:ink:te=0.3:unet=0.6> # remark"), option);
  GenerateRequest swarm = request("rocket<lora:ink:0.6:0.3>");
  swarm.lora_order = LoraOrder::denoiser_first;
  EXPECT_EQ(picture(swarm), option);
  EXPECT_NE(picture("rocket"), option);
}

TEST_F(Adapters, OrderNeverMattersAndTwiceAddsUp) {
  const Image both = picture("rocket<lora:ink:0.5><lora:clay:0.25>");
  EXPECT_EQ(picture("<lora:clay:0.25>rocket", {"ink:0.5"}), both);
  EXPECT_EQ(picture("rocket<lora:ink:0.25><lora:ink:0.25>", {"clay:0.25"}), both);
}

TEST_F(Adapters, NothingChangesWhereNothingActs) {
  const Image plain = picture("rocket");
  for (const char* lora : {"ink:0", "ink:1:lbw=NONE", "ink:0@0,0@1", "ink:1:start=4",
                           "ink:1:lbw=*=0", "ink:1:lbwe=||0"})
    EXPECT_EQ(picture("rocket", {lora}), plain) << lora;
}

TEST_F(Adapters, BlocksOfTheModelsOwnList) {
  const Image whole = picture("rocket", {"ink:1"});
  EXPECT_EQ(picture("rocket", {"ink:1:lbw=ALL"}), whole);
  const Image out = picture("rocket", {"ink:1:lbw=OUTALL"});
  EXPECT_NE(out, whole);
  EXPECT_NE(out, picture("rocket"));
  EXPECT_EQ(picture("rocket", {"ink:1:OUTALL"}), out);
  EXPECT_EQ(picture("rocket", {"ink:2:lbw=ALL0.5"}), whole);
  const std::string error = failure(request("rocket", {"ink:1:lbw=1,2"}));
  EXPECT_THAT(error, HasSubstr("this model takes lists of"));
  EXPECT_THAT(failure(request("rocket<lora:ink:1:OUTAL>")), HasSubstr("nearest: OUTALL"));
}

TEST_F(Adapters, RandomBlockWeightsHangOnTheSeed) {
  const Image random = picture("rocket", {"ink:1:lbw=IN*=R,M00=U,OUT*=R"});
  EXPECT_EQ(picture("rocket", {"ink:1:lbw=IN*=R,M00=U,OUT*=R"}), random);
  GenerateRequest again = request("rocket", {"ink:1:lbw=IN*=R,M00=U,OUT*=R"});
  const GenerateResult result = run(again);
  EXPECT_EQ(result.loras.at(0).settled.find('R'), std::string::npos);
  again.loras = {parse_lora(result.loras.at(0).settled)};
  EXPECT_EQ(picture(again), random);
}

TEST_F(Adapters, StepsAndCurves) {
  const Image whole = picture("rocket", {"ink:1"});
  EXPECT_EQ(picture("rocket", {"ink:1:step=1-3"}), whole);
  EXPECT_EQ(picture("rocket", {"ink:1@0,1@1"}), whole);
  const Image late = picture("rocket", {"ink:1:start=2"});
  EXPECT_NE(late, whole);
  EXPECT_NE(late, picture("rocket"));
  // Three steps stand at 0, 0.5 and 1.
  EXPECT_EQ(picture("rocket", {"ink:0@0,1@0.5"}), late);
  EXPECT_NE(picture("rocket", {"ink:0@s14,1@s1"}), whole);
}

TEST_F(Adapters, MasksActWhereTheyAreWhite) {
  const Folder folder;
  write_halves(folder / "right.png", 0, 255);
  write_halves(folder / "all.png", 255, 255);
  write_halves(folder / "none.png", 0, 0);
  const Image plain = picture("rocket"), whole = picture("rocket", {"ink:1"});
  const auto masked = [&](const char* name) {
    GenerateRequest masked = request("rocket<lora:ink:1>");
    masked.lora_masks = {{.name = "ink", .mask = folder / name, .feather = 2}};
    return picture(masked);
  };
  EXPECT_EQ(masked("none.png"), plain);
  EXPECT_EQ(masked("all.png"), whole) << "a mask that hides nothing is none";
  const Image right = masked("right.png");
  EXPECT_GT(difference(right, plain, 32, 64), 1.5 * difference(right, plain, 0, 32));
  EXPECT_LT(difference(right, plain, 0, 32), difference(whole, plain, 0, 32));
  GenerateRequest unknown = request("rocket<lora:ink:1>");
  unknown.lora_masks = {{.name = "clay", .mask = folder / "all.png", .feather = 0}};
  EXPECT_THAT(failure(unknown), HasSubstr("no LoRA of this request"));
}

TEST_F(Adapters, EveryPictureOfABatchHasItsOwn) {
  GenerateRequest batch = request("rocket<lora:clay:0.3>");
  batch.batch = 4;
  batch.picture_loras = {{parse_lora("ink:1")},
                         {},
                         {parse_lora("blob:0.5"), parse_lora("ink:0.2")},
                         {parse_lora("ink:1")}};
  const GenerateResult together = run(batch);
  ASSERT_EQ(together.pictures.size(), 4u);
  EXPECT_EQ(together.loras.at(1).pictures, (std::vector<int>{0, 3}));
  for (std::size_t i = 0; i < 4; ++i) {
    GenerateRequest alone = request("rocket<lora:clay:0.3>");
    alone.seed = 5 + i;
    alone.loras = batch.picture_loras[i];
    EXPECT_LT(difference(run(alone).pictures.at(0).image, together.pictures[i].image), 0.02) << i;
  }
  batch.batch = 3;
  EXPECT_THAT(failure(batch), HasSubstr("--lora-each"));
}

TEST_F(Adapters, StrengthsMoveWhileTheJobRuns) {
  const Image plain = picture("rocket"), whole = picture("rocket", {"ink:1"});
  const auto moved = [&](double from, double to, const std::string& name, int at) {
    Observer observer;
    observer.loras = std::make_shared<LoraControl>();
    if (at == 0) observer.loras->set(name, to);
    observer.on_progress = [&, control = observer.loras](const Progress& progress) {
      if (progress.step == at) std::jthread([&] { control->set(name, to); }).join();
    };
    return run(request("rocket", {"ink:" + std::to_string(from) + ":0"}), observer);
  };
  const Image text_free = picture("rocket", {"ink:1:0"});
  GenerateResult result = moved(0.5, 1, "ink", 0);
  EXPECT_EQ(result.pictures.at(0).image, text_free);
  EXPECT_TRUE(result.changed_live);
  EXPECT_EQ(moved(1, 0, "ink", 1).pictures.at(0).image, picture("rocket", {"ink:1:0:stop=1"}));
  EXPECT_EQ(moved(1, 0, "ink", 3).pictures.at(0).image, text_free);  // too late to matter
  result = moved(1, 0, "clay", 1);
  EXPECT_EQ(result.pictures.at(0).image, text_free);
  EXPECT_FALSE(result.changed_live);
  EXPECT_THAT(notes_, ::testing::Contains(HasSubstr("\"clay\", which this job does not have")));
}

TEST_F(Adapters, AMovedPictureSaysSoAndIsNotRepeated) {
  const Folder folder;
  Observer observer;
  observer.loras = std::make_shared<LoraControl>();
  observer.loras->set("ink", 0.25);
  const GenerateResult result = run(request("rocket", {"ink:1"}), observer);
  save_png(result.pictures.at(0), folder / "moved.png");
  EXPECT_THAT(result.pictures[0].text.at(0).second,
              HasSubstr("Lora strengths: changed while it ran"));
  Engine engine(options());
  EXPECT_THROW(engine.request_from_picture(folder / "moved.png"), Error);
}

TEST_F(Adapters, OnlyWhatChangedIsEncodedAgain) {
  run(request("rocket", {"ink:1"}));
  const std::size_t first = session_.texts.made();
  EXPECT_EQ(first, 1u);
  run(request("rocket", {"ink:1"}));
  run(request("rocket", {"ink:0@0,1@1:1"}));  // the denoiser's alone moves
  EXPECT_EQ(session_.texts.made(), first);
  run(request("rocket", {"ink:1:0.5"}));
  const std::size_t last = session_.texts.made();
  run(request("comet", {"ink:1:0.5"}));
  EXPECT_EQ(session_.texts.made(), last + 1);
}

TEST_F(Adapters, ASecondJobTouchesNoFile) {
  run(request("rocket", {"ink:1", "clay:0.5:lbw=OUTALL"}));
  const std::size_t opened = session_.cache.adapters_opened(), notes = session_.cache.notes_read();
  EXPECT_EQ(opened, 2u);
  const Image first = picture("rocket", {"ink:1", "clay:0.5"});
  EXPECT_EQ(picture("rocket", {"clay:0.5", "ink:1"}), first);
  EXPECT_EQ(session_.cache.adapters_opened(), opened);
  EXPECT_EQ(session_.cache.notes_read(), notes);
}

/// A file of the same size and time in an adapter's place holds nothing: whoever read it would say
/// so.
TEST_F(Adapters, SwitchingBetweenResidentSetsReadsNoFile) {
  const Folder folder;
  const auto adapter = [&](const char* name) { return (folder / name).string() + ".safetensors"; };
  for (const char* name : {"ink", "clay"}) {
    fs::copy_file(*Roots::demo() / "loras" / (std::string(name) + ".safetensors"), adapter(name),
                  fs::copy_options::overwrite_existing);
  }
  Engine engine(options());
  const auto make = [&](const std::vector<std::string>& loras) {
    return engine.generate(request("rocket", loras)).pictures.at(0).image;
  };
  const std::vector<std::vector<std::string>> sets = {
      {adapter("ink")}, {adapter("clay") + ":0.5"}, {adapter("ink") + ":0.3", adapter("clay")}};
  std::vector<Image> first;
  for (const auto& set : sets) first.push_back(make(set));
  for (const char* name : {"ink", "clay"}) {
    const fs::path file = adapter(name), other = folder / "other";
    const auto changed = fs::last_write_time(file);
    std::ofstream(other, std::ios::binary) << std::string(fs::file_size(file), '\0');
    fs::rename(other, file);  // what is mapped stays what it was
    fs::last_write_time(file, changed);
  }
  for (std::size_t i = 0; i < sets.size(); ++i) EXPECT_EQ(make(sets[i]), first[i]) << i;
  Engine fresh(options());
  EXPECT_THROW(fresh.generate(request("rocket", sets[0])), Error) << "nothing is in it";
}

TEST_F(Adapters, OneAdapterUnderTwoNames) {
  const Folder folder;
  fs::copy_file(*Roots::demo() / "loras/ink.safetensors", folder / "copy.safetensors",
                fs::copy_options::overwrite_existing);
  const Image twice =
      picture("rocket", {"ink:0.5", (folder / "copy.safetensors").string() + ":0.5"});
  EXPECT_EQ(picture("rocket", {"ink:1"}), twice);
  EXPECT_THAT(notes_, ::testing::Contains(HasSubstr("copy is the same adapter as ink")));
}

TEST_F(Adapters, APictureIsRepeatedFromItsText) {
  const Folder folder;
  write_halves(folder / "right.png", 0, 255);
  const fs::path before = fs::current_path();
  GenerateRequest all = request("rocket <trigger> <lora:clay:0.5:0@0,0.5@1:lbw=OUT*=R> # x");
  all.loras = {parse_lora("ink:1:0.5:step=1-2:dyn=4:mask=right.png:feather=3")};
  all.batch = 2;
  all.picture_loras = {{parse_lora("blob:0.3:lbwe=OUT|attn|0.5")}, {}};
  fs::current_path(folder / "");
  const GenerateResult made = run(all);
  Engine engine(options());
  for (const Picture& picture : made.pictures) {
    save_png(picture, folder / "made.png");
    const GenerateRequest again = engine.request_from_picture(folder / "made.png");
    EXPECT_EQ(engine.generate(again).pictures.at(0).image, picture.image);
  }
  fs::rename(folder / "right.png", folder / "left.png");
  EXPECT_THROW(engine.request_from_picture(folder / "made.png"), Error);
  fs::current_path(before);
  const std::string& parameters = made.pictures[0].text.at(0).second;
  EXPECT_THAT(parameters, HasSubstr("<lora:clay:"));
  EXPECT_THAT(parameters, HasSubstr("Lora hashes: \"ink: "));
}

TEST_F(Adapters, TheAccountTellsHowEachLayerWasServed) {
  const GenerateResult result = run(request("rocket", {"ink:1"}));
  EXPECT_THAT(result.lora_summary, HasSubstr("unet: "));
  const auto report = nlohmann::json::parse(result.loras.at(0).report_json);
  ASSERT_TRUE(report.at("applied").contains("unet"));
  EXPECT_EQ(report["applied"]["unet"].size(), report["modules"]["unet"].get<std::size_t>());
  EXPECT_EQ(report["applied"]["unet"][0]["forms"][0], "thin");
}

TEST_F(Adapters, TheAccountHasWhatWasOverBeforeTheEnd) {
  const auto applied = [](const GenerateResult& result) {
    return nlohmann::json::parse(result.loras.at(0).report_json).at("applied");
  };
  const GenerateResult whole = run(request("rocket", {"ink:1"})),
                       early = run(request("rocket", {"ink:1:stop=1"}));
  EXPECT_EQ(applied(early), applied(whole));
  EXPECT_EQ(early.lora_summary, whole.lora_summary);
  EXPECT_TRUE(applied(run(request("rocket", {"ink:1:0:start=4"}))).empty()) << "never there";
}

}  // namespace
}  // namespace velatura::engine
