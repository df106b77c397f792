// Conversions of every golden adapter: the same change on every layer, and the same bits where an
// adapter goes to another form and comes back.
#include "lora/tools/convert.h"
#include "tests/support/lora_cases.h"
#include "tests/support/memory_source.h"

namespace velatura::pipelines {
namespace {

namespace fs = std::filesystem;
using lora::tools::Account;
using lora::tools::Conversion;
using lora::tools::ConvertOptions;
using lora::tools::Form;
using lora::tools::ModelNames;
using Names = std::shared_ptr<const ModelNames>;

constexpr auto kForms = {Form::kohya, Form::diffusers, Form::comfy};

Names names_of(const fs::path& folder) {
  auto model = testing::CaseModel::of(folder);
  auto names = std::make_shared<ModelNames>();
  names->family = folder.filename().string();
  names->title = "the toy model";
  names->components = std::move(model.components);
  names->index = std::move(model.names);
  return names;
}

Account account_of(const Conversion& conversion, const Names& names) {
  testing::MemorySource source;
  for (const auto& tensor : conversion.tensors) source.add(tensor.name, tensor.tensor);
  for (const auto& [key, value] : conversion.metadata) source.set_metadata(key, value);
  return lora::tools::account_for(
      lora::AdapterFile::from_source(std::make_shared<const testing::MemorySource>(source),
                                     "converted.safetensors"),
      names, false);
}

bool is_lora(const Account& account) {
  return std::ranges::all_of(account.modules, [](const auto& module) {
    return module.algorithm == "LoRA" && !module.has(lora::Role::up_bias);
  });
}

/// The change at strength 1 by layer, of kinds that need no base.
std::map<lora::Target, Tensor> changes_of(const Account& account) {
  std::map<lora::Target, Tensor> changes;
  for (const auto& module : account.bound->modules) {
    if (!module.delta->needs_base()) changes[module.target] = module.delta->weight_change({}, 1, 0);
  }
  return changes;
}

void expect_same_changes(const Account& converted, const Account& original) {
  const auto before = changes_of(original), after = changes_of(converted);
  for (const auto& [target, change] : before) {
    if (!change.defined() || lora::is_all_zero(change)) continue;
    ASSERT_TRUE(after.contains(target));
    // α / r in another order of operations: a few roundings of float32.
    EXPECT_TRUE(testing::close(after.at(target), change, 1e-6));
  }
}

void expect_same_tensors(const Conversion& a, const Conversion& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    EXPECT_EQ(a.tensors[i].name, b.tensors[i].name);
    ASSERT_EQ(a.tensors[i].tensor.dtype(), b.tensors[i].tensor.dtype()) << a.tensors[i].name;
    ASSERT_EQ(a.tensors[i].tensor.shape(), b.tensors[i].tensor.shape()) << a.tensors[i].name;
    EXPECT_EQ(std::memcmp(a.tensors[i].tensor.bytes(), b.tensors[i].tensor.bytes(),
                          a.tensors[i].tensor.byte_size()),
              0)
        << a.tensors[i].name;
  }
}

/// To each form; a kind without a place there is refused by name, never lost.
void check_forms(const Account& original, const Names& names) {
  for (const Form form : kForms) {
    SCOPED_TRACE(to_string(form));
    Conversion conversion;
    try {
      conversion = convert(original, {.form = form});
    } catch (const Error& error) {
      EXPECT_FALSE(is_lora(original)) << error.what();
      EXPECT_EQ(error.kind(), ErrorKind::unsupported) << error.what();
      continue;
    }
    const Account converted = account_of(conversion, names);
    ASSERT_TRUE(converted.refusal.empty()) << converted.refusal;
    EXPECT_EQ(converted.report.count(lora::Fate::refused), 0);
    expect_same_changes(converted, original);
    expect_same_tensors(convert(converted, {.form = form}), conversion);
    const Account folded = account_of(convert(original, {.form = form, .fold_alpha = true}), names);
    EXPECT_EQ(folded.report.count(lora::Fate::refused), 0);
  }
}

/// There and back through every pair of forms.
void check_round_trips(const Account& original, const Names& names) {
  for (const Form form : kForms) {
    const Conversion direct = convert(original, {.form = form});
    for (const Form over : kForms) {
      SCOPED_TRACE(fmt::format("{} over {}", to_string(form), to_string(over)));
      const Account there = account_of(convert(account_of(direct, names), {.form = over}), names);
      expect_same_tensors(convert(there, {.form = form}), direct);
    }
  }
}

void check_family(const std::string& family) {
  testing::for_each_golden("lora/" + family, [](const fs::path& folder) {
    const Names names = names_of(folder);
    testing::for_each_lora_case(
        folder, names->components, *names->index, [&](const testing::LoraCase& golden) {
          for (const auto& [stem, adapter] : golden.adapters) {
            SCOPED_TRACE(stem);
            const Account account = lora::tools::account_for(adapter->file, names, false);
            ASSERT_TRUE(account.refusal.empty()) << account.refusal;
            check_forms(account, names);
            if (is_lora(account)) check_round_trips(account, names);
          }
        });
  });
}

TEST(LoraConvertGolden, Sd15) {
  check_family("sd15");
}
TEST(LoraConvertGolden, Sdxl) {
  check_family("sdxl");
}
TEST(LoraConvertGolden, Flux) {
  check_family("flux");
}
TEST(LoraConvertGolden, ZImage) {
  check_family("zimage");
}

}  // namespace
}  // namespace velatura::pipelines
