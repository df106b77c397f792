// The cases of lora/<family>/cases.json: files bound on the family's toy model, and what they must
// do to its weights. Header-only: tests of rooms that know lora and models use it. Not here:
// running models with them.
#pragma once

#include <fmt/format.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "lora/bind/bind.h"
#include "models/families.h"
#include "tests/support/goldens.h"

namespace velatura::testing {

using BoundPtr = std::shared_ptr<const lora::BoundAdapter>;

/// The parts of a family's toy model: its folder beside the cases' root, else the list of names
/// that a compact copy of the cases carries (weights are then missing).
struct CaseModel {
  std::vector<lora::Component> components;
  std::unique_ptr<lora::NameIndex> names;
  bool has_weights = false;

  /// `folder` is <root>/lora/<family>.
  static CaseModel of(const std::filesystem::path& folder) {
    CaseModel model;
    const auto weights = folder.parent_path().parent_path() / folder.filename() / "model";
    model.has_weights = std::filesystem::exists(weights);
    if (model.has_weights) {
      for (models::PartShape& part : models::of_model(weights).parts) {
        model.components.push_back(lora::component_of(part.component, part.part, part.parameters,
                                                      std::move(part.native), part.weights));
      }
    } else {
      model.components = listed(folder);
    }
    model.names = std::make_unique<lora::NameIndex>(model.components);
    return model;
  }

 private:
  static std::vector<lora::Component> listed(const std::filesystem::path& folder) {
    const auto parts = nlohmann::ordered_json::parse(std::ifstream(folder / "names.json"));
    std::vector<lora::Component> components;
    for (const models::PartRow& row : models::find_family(folder.filename().string())->parts) {
      if (!parts.contains(row.component)) continue;
      std::vector<weights::TensorInfo> parameters;
      for (const auto& [name, extents] : parts[std::string(row.component)].items())
        parameters.push_back({name, Shape(extents.get<std::vector<std::int64_t>>()), DType::f16});
      auto native = models::native_names(row.part, parameters);
      components.push_back(
          lora::component_of(std::string(row.component), row.part, parameters, std::move(native)));
    }
    return components;
  }
};

/// Every tensor of the file exactly once, in file order.
inline void expect_account(const lora::BoundAdapter& adapter) {
  std::vector<std::string> expected, actual;
  for (const auto& info : adapter.file->source().tensors()) expected.push_back(info.name);
  for (const auto& fate : adapter.report.tensors) actual.push_back(fate.name);
  EXPECT_EQ(actual, expected);
}

/// One entry of cases.json with its files bound, by the stem that `apply` names them by.
class LoraCase {
 public:
  LoraCase(const std::filesystem::path& folder, nlohmann::json golden,
           std::span<const lora::Component> components, const lora::NameIndex& names)
      : base(GoldenCase::open(folder / "base.safetensors")),
        expect(GoldenCase::open(folder / "expect" /
                                (golden.at("name").get<std::string>() + ".safetensors"))),
        golden(std::move(golden)),
        components_(components) {
    for (const std::string file : this->golden.at("files")) {
      auto bound = lora::bind(lora::AdapterFile::open(folder / file), components, names);
      expect_account(*bound);
      adapters.emplace(file.substr(0, file.rfind('.')), std::move(bound));
    }
  }

  /// Nothing refused, and the modules counted as the case counts them.
  void expect_bound() const {
    for (const auto& [stem, adapter] : adapters) {
      for (const lora::TensorFate& fate : adapter->report.tensors) {
        EXPECT_TRUE(fate.fate == lora::Fate::bound || fate.fate == lora::Fate::note)
            << stem << ": " << fate.name << ": " << fate.reason;
      }
      if (!golden.contains("modules")) continue;
      EXPECT_EQ(adapter->report.bound_modules(), golden["modules"].at(stem).get<int>()) << stem;
    }
  }

  bool needs_base() const {
    for (const auto& [stem, adapter] : adapters) {
      for (const auto& module : adapter->modules) {
        if (module.delta->needs_base()) return true;
      }
    }
    return false;
  }

  /// flat(ΔW at strength 1) · probe vector of every parameter that the case has one for.
  void expect_probes(double tolerance) const {
    std::set<std::string> met;
    for (const auto& [stem, adapter] : adapters) {
      for (const lora::BoundModule& module : adapter->modules) {
        const lora::Component& component =
            components_[static_cast<std::size_t>(module.target.component)];
        const std::string name = fmt::format(
            "probe.{}.{}.{}", stem, component.name,
            component.modules[static_cast<std::size_t>(module.target.layer)].weight_name());
        if (!expect.has(name)) continue;
        met.insert(name);
        const auto pristine = [&] { return lora::pristine_weight(*module.placement, components_); };
        const Tensor change = module.delta->weight_change(pristine, 1, 0);
        ASSERT_TRUE(change.defined()) << name;
        EXPECT_TRUE(close(probed(change), expect.get(name), tolerance)) << name;
      }
    }
    const auto probes = expect.names("probe.");
    EXPECT_EQ(met, std::set<std::string>(probes.begin(), probes.end()));
  }

  bool is_picture() const { return expect.has("out.image"); }

  GoldenCase base, expect;
  nlohmann::json golden;
  std::map<std::string, BoundPtr> adapters;

 private:
  /// In float64, as the expectation was made.
  Tensor probed(const Tensor& change) const {
    const std::int64_t out = change.size(0), columns = change.count() / out;
    const Tensor probe = to_f32(base.get(fmt::format("probe_in.{}", columns)));
    Tensor result = Tensor::allocate({out}, DType::f32);
    for (std::int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (std::int64_t i = 0; i < columns; ++i) {
        sum += static_cast<double>(change.data<float>()[o * columns + i]) * probe.data<float>()[i];
      }
      result.mutable_data<float>()[o] = static_cast<float>(sum);
    }
    return result;
  }

  std::span<const lora::Component> components_;
};

/// Calls `check` with every case of the folder whose expectation and files this root has.
template <typename Check>
void for_each_lora_case(const std::filesystem::path& folder,
                        std::span<const lora::Component> components, const lora::NameIndex& names,
                        const Check& check) {
  const auto cases = nlohmann::json::parse(std::ifstream(folder / "cases.json")).at("cases");
  int checked = 0;
  for (const nlohmann::json& golden : cases) {
    const std::string name = golden.at("name");
    SCOPED_TRACE(name);
    bool is_here = std::filesystem::exists(folder / "expect" / (name + ".safetensors"));
    for (const std::string file : golden.at("files"))
      is_here = is_here && std::filesystem::exists(folder / file);
    if (!is_here) {
      fmt::print("skipped: {}: not in {}\n", name, folder.string());
      continue;
    }
    try {
      const LoraCase one(folder, golden, components, names);
      check(one);
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    ++checked;
  }
  EXPECT_GT(checked, 0) << "no case of " << folder << " is here";
}

}  // namespace velatura::testing
