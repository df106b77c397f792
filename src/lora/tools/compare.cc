#include "lora/tools/compare.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <map>
#include <mutex>

#include "lora/strength/block_weights.h"
#include "lora/tools/delta_product.h"

namespace velatura::lora::tools {

namespace {

constexpr const char* kOther = "other";

/// The modules that meet on one layer.
struct Meeting {
  ComparedLayer layer;
  std::vector<const BoundModule*> modules;  ///< by file; null where the file does nothing
};

class Comparer {
 public:
  Comparer(std::span<const std::shared_ptr<const BoundAdapter>> adapters, const ModelNames& model,
           StopToken stop)
      : adapters_(adapters),
        components_(model.components),
        blocks_(model.components),
        stop_(std::move(stop)) {
    comparison_.model = model.title;
    comparison_.total = Gram(files());
    has_weights_ = std::ranges::all_of(components_, [](const Component& component) {
      return component.tree != nullptr || component.weights != nullptr;
    });
  }

  Comparison compare() {
    gather();
    measure_factored();
    for (Meeting& meeting : meetings_) {
      throw_if_stopped(stop_);
      if (meeting.layer.is_dense) measure_dense(meeting);
    }
    collect();
    return std::move(comparison_);
  }

 private:
  int files() const { return static_cast<int>(adapters_.size()); }

  void gather() {
    std::map<Target, Meeting> by_target;
    for (std::size_t file = 0; file < adapters_.size(); ++file) {
      const BoundAdapter& adapter = *adapters_[file];
      ComparedFile compared{.name = adapter.file->path().filename().string()};
      for (const BoundModule& module : adapter.modules) {
        if (!module.delta->changes_weight()) continue;  // biases are not compared
        ++compared.layers;
        if (module.delta->needs_base() && !has_weights_) {
          ++compared.unknown;
          continue;
        }
        Meeting& meeting = by_target[module.target];
        meeting.modules.resize(adapters_.size());
        meeting.modules[file] = &module;
        meeting.layer.is_dense |= !module.delta->is_zero() && !has_factors(*module.delta);
      }
      comparison_.files.push_back(std::move(compared));
    }
    for (auto& [target, meeting] : by_target) {
      describe(target, meeting);
      meetings_.push_back(std::move(meeting));
    }
  }

  static bool has_factors(const ModuleDelta& delta) {
    return delta.thin() != nullptr || delta.kronecker() != nullptr || delta.tucker() != nullptr;
  }

  void describe(Target target, Meeting& meeting) const {
    const auto component = static_cast<std::size_t>(target.component);
    const auto layer = static_cast<std::size_t>(target.layer);
    ComparedLayer& described = meeting.layer;
    described.target = target;
    described.name =
        components_[component].name + "." + components_[component].modules[layer].weight_name();
    const std::string& block = blocks_.modules(component)[layer].block;
    described.block = block.empty() ? kOther : block;
    described.gram = Gram(files());
    for (const BoundModule* module : meeting.modules) described.adapts.push_back(module != nullptr);
  }

  void measure_factored() {
    std::exception_ptr failure;
    std::mutex mutex;
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(meetings_.size()); ++i) {
      Meeting& meeting = meetings_[static_cast<std::size_t>(i)];
      if (meeting.layer.is_dense) continue;
      try {
        throw_if_stopped(stop_);
        measure(meeting);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
  }

  static bool acts(const BoundModule* module) {
    return module != nullptr && !module->delta->is_zero();
  }

  /// A whole change for the product of two Kronecker pairs that do not match: rare.
  DeltaForm dense(const BoundModule& module) const {
    return DeltaForm::dense_form(*module.delta,
                                 [&] { return pristine_weight(*module.placement, components_); });
  }

  double product(const BoundModule& module, const DeltaForm& form, const DeltaForm& other) const {
    return DeltaForm::has_product(form, other) ? DeltaForm::product(form, other)
                                               : DeltaForm::product(dense(module), other);
  }

  void measure(Meeting& meeting) const {
    std::vector<DeltaForm> forms(adapters_.size());
    for (int i = 0; i < files(); ++i) {
      const BoundModule* module = meeting.modules[static_cast<std::size_t>(i)];
      if (!acts(module)) continue;
      DeltaForm& form = forms[static_cast<std::size_t>(i)];
      form = DeltaForm::of(*module->delta);
      for (int j = 0; j <= i; ++j)
        meeting.layer.gram.at(j, i) = product(*module, form, forms[static_cast<std::size_t>(j)]);
    }
  }

  /// Files without factors first: each is made whole, meets all that come after it, and is let go.
  void measure_dense(Meeting& meeting) const {
    std::vector<int> order;
    for (int i = 0; i < files(); ++i) {
      if (acts(meeting.modules[static_cast<std::size_t>(i)])) order.push_back(i);
    }
    const auto module = [&](int file) -> const BoundModule& {
      return *meeting.modules[static_cast<std::size_t>(file)];
    };
    const auto form_of = [&](int file) {
      return has_factors(*module(file).delta) ? DeltaForm::of(*module(file).delta)
                                              : dense(module(file));
    };
    std::ranges::stable_partition(order, [&](int i) { return !has_factors(*module(i).delta); });
    for (std::size_t first = 0; first < order.size(); ++first) {
      const int i = order[first];
      const DeltaForm form = form_of(i);
      meeting.layer.gram.at(i, i) = DeltaForm::product(form, form);
      for (std::size_t second = first + 1; second < order.size(); ++second) {
        const int j = order[second];
        meeting.layer.gram.at(i, j) = product(module(j), form_of(j), form);
      }
    }
  }

  void collect() {
    std::vector<std::string> order = blocks_.names();
    order.emplace_back(kOther);
    std::map<std::ptrdiff_t, ComparedBlock> blocks;  // by place in the order
    for (Meeting& meeting : meetings_) {
      const auto place = std::ranges::find(order, meeting.layer.block) - order.begin();
      ComparedBlock& block = blocks[place];
      if (block.layers++ == 0) block.name = meeting.layer.block, block.gram = Gram(files());
      block.gram.add(meeting.layer.gram);
      comparison_.total.add(meeting.layer.gram);
      comparison_.layers.push_back(std::move(meeting.layer));
    }
    for (auto& [place, block] : blocks) comparison_.blocks.push_back(std::move(block));
  }

  std::span<const std::shared_ptr<const BoundAdapter>> adapters_;
  std::span<const Component> components_;
  ModelBlocks blocks_;
  StopToken stop_;
  bool has_weights_ = false;
  std::vector<Meeting> meetings_;
  Comparison comparison_;
};

}  // namespace

void Gram::add(const Gram& other) {
  for (std::size_t i = 0; i < sums_.size(); ++i) sums_[i] += other.sums_[i];
}

double Gram::norm(int i) const {
  return std::sqrt(std::max(at(i, i), 0.0));
}

std::optional<double> Gram::cosine(int i, int j) const {
  const double norms = norm(i) * norm(j);
  if (!(norms > 0)) return std::nullopt;
  return std::clamp(at(i, j) / norms, -1.0, 1.0);
}

double Gram::share(int i) const {
  double sum = 0;
  for (int k = 0; k < files_; ++k) sum += at(k, k);
  return sum > 0 ? at(i, i) / sum : 0;
}

double Gram::combined() const {
  double alone = 0, together = 0;
  for (int i = 0; i < files_; ++i) {
    alone += at(i, i);
    for (int j = 0; j < files_; ++j) together += at(i, j);
  }
  return alone > 0 ? std::max(together, 0.0) / alone : 1;
}

Comparison compare(std::span<const std::shared_ptr<const BoundAdapter>> adapters,
                   const ModelNames& model, StopToken stop) {
  return Comparer(adapters, model, std::move(stop)).compare();
}

}  // namespace velatura::lora::tools
