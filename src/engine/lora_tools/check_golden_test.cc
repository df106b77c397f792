// Every file of lora/<family>/cases.json through `lora check` as programs read it: modules counted
// as the case counts them, targets spelled as its probes, nothing refused.
#include <fmt/format.h>

#include <set>

#include "lora/tools/check_text.h"
#include "tests/support/lora_cases.h"
#include "velatura/lora_tools.h"

namespace velatura {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// What the case's probes name of the file: "unet.conv_in.weight".
std::set<std::string> probed_parameters(const testing::GoldenCase& expect,
                                        const std::string& stem) {
  const std::string prefix = fmt::format("probe.{}.", stem);
  std::set<std::string> names;
  for (const std::string& name : expect.names(prefix)) names.insert(name.substr(prefix.size()));
  return names;
}

void expect_account(const json& account, const std::string& family, const json& golden,
                    const std::string& stem, const testing::GoldenCase& expect) {
  EXPECT_EQ(account.at("family"), family);
  EXPECT_FALSE(account.at("dialect").empty());
  if (golden.contains("modules")) {
    EXPECT_EQ(account.at("modules"), golden["modules"].at(stem));
  }
  std::set<std::string> targets;
  for (const json& tensor : account.at("tensors")) {
    const std::string fate = tensor.at("fate");
    EXPECT_TRUE(fate == "bound" || fate == "note") << tensor;
    for (const std::string target : tensor.at("target")) targets.insert(target);
  }
  for (const std::string& parameter : probed_parameters(expect, stem))
    EXPECT_TRUE(targets.contains(parameter)) << parameter;
}

/// `account_of` gives the JSON of a file.
template <typename AccountOf>
void for_each_file(const fs::path& folder, const AccountOf& account_of) {
  const std::string family = folder.filename().string();
  int checked = 0;
  const json cases = json::parse(std::ifstream(folder / "cases.json"));
  for (const json& golden : cases.at("cases")) {
    const std::string name = golden.at("name");
    const fs::path expect_path = folder / "expect" / (name + ".safetensors");
    if (!fs::exists(expect_path)) continue;
    const auto expect = testing::GoldenCase::open(expect_path);
    for (const std::string file : golden.at("files")) {
      if (!fs::exists(folder / file)) continue;
      SCOPED_TRACE(name + ": " + file);
      expect_account(account_of(folder / file), family, golden, file.substr(0, file.rfind('.')),
                     expect);
      ++checked;
    }
  }
  EXPECT_GT(checked, 0) << "no case of " << folder << " is here";
}

void check_family(const std::string& family) {
  testing::for_each_golden("lora/" + family, [](const fs::path& folder) {
    const fs::path model = folder.parent_path().parent_path() / folder.filename() / "model";
    if (fs::exists(model)) {
      for_each_file(folder, [&](const fs::path& file) {
        const LoraCheck check = check_lora(file, {.model = {.name = model.string()}});
        EXPECT_NE(check.verdict, LoraCheck::Verdict::refused) << check.text;
        return json::parse(check.json);
      });
      return;
    }
    // A compact copy has the names of the model alone.
    testing::CaseModel listed = testing::CaseModel::of(folder);
    auto names = std::make_shared<lora::tools::ModelNames>();
    names->family = folder.filename().string();
    names->title = "listed names";
    names->components = std::move(listed.components);
    names->index = std::make_shared<const lora::NameIndex>(names->components);
    for_each_file(folder, [&](const fs::path& file) {
      const auto account =
          lora::tools::account_for(lora::AdapterFile::open(file), names, /*look_at_values=*/true);
      EXPECT_EQ(account.refusal, "");
      return json::parse(lora::tools::to_json(account));
    });
  });
}

TEST(LoraCheckGolden, Sd15) {
  check_family("sd15");
}
TEST(LoraCheckGolden, Sdxl) {
  check_family("sdxl");
}
TEST(LoraCheckGolden, Flux) {
  check_family("flux");
}
TEST(LoraCheckGolden, ZImage) {
  check_family("zimage");
}

}  // namespace
}  // namespace velatura
