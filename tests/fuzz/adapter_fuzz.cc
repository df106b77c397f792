// Any bytes as an adapter on one of the families: parsed, grouped, bound, applied to the weights,
// converted; what comes of it is an account of every tensor, or an Error. What the bytes mean:
// adapter_grammar.h. Lists of tensors that are nearly right reach what random files do not; in
// files the header's text alone is the fuzzer's, and the framing that the safetensors fuzzer
// breaks is whole.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <span>

#include "lora/tools/compare.h"
#include "lora/tools/convert.h"
#include "tests/fuzz/adapter_grammar.h"
#include "tests/fuzz/delta_rules.h"
#include "tests/fuzz/small_families.h"
#include "tests/support/adapter_changes.h"
#include "weights/blob.h"
#include "weights/formats/safetensors.h"

namespace {

using namespace velatura;

/// A rule of ours that an input broke: the log says which.
[[noreturn]] void broken(std::string_view rule) {
  fmt::print(stderr, "broken: {}\n", rule);
  std::abort();
}

void list_tensors(std::string_view title, const lora::tools::Account& account) {
  fmt::print(stderr, "{} ({}):\n", title, account.model);
  for (const lora::TensorFate& tensor : account.report.tensors) {
    const weights::TensorInfo* info = account.source->source().find(tensor.name);
    fmt::print(stderr, "  {} {} {}: {} {}\n", tensor.name, info->shape.to_string(),
               to_string(info->dtype), to_string(tensor.fate), tensor.reason);
  }
}

class Bytes {
 public:
  explicit Bytes(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  unsigned next() {
    if (bytes_.empty()) return 0;
    const unsigned byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  template <typename T, std::size_t count>
  const T& one_of(const T (&all)[count]) {
    return all[next() % count];
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

std::shared_ptr<const weights::Source> list_of(Bytes bytes, const lora::NameIndex& index,
                                               const std::vector<std::string>& spellings) {
  testing::MemorySource source;
  std::set<std::string> names;
  constexpr int kMostTensors = 24;
  constexpr std::int64_t kMostRank = 5;
  std::string module = spellings.front();
  Shape weight;
  for (int i = 0; i < kMostTensors && !bytes.empty(); ++i) {
    if (const unsigned high = bytes.next(); high != 0 || i == 0) {
      const std::string& spelling = spellings[(high * 256 + bytes.next()) * 131 % spellings.size()];
      const auto* entry = index.find(spelling);
      weight = entry == nullptr ? Shape{3, 5} : entry->placement->weight;
      module = spelling.substr(0, spelling.find(" of "));  // a place in a list of so many
    }
    const std::string name = module + std::string(bytes.one_of(fuzz::kSuffixes));
    const DType type = bytes.one_of(fuzz::kTypes);
    const std::int64_t rank = bytes.next() % kMostRank, any = bytes.next() % 9;
    const auto kind =
        static_cast<fuzz::ShapeKind>(bytes.next() % static_cast<unsigned>(fuzz::ShapeKind::count));
    const Tensor values = fuzz::pattern(fuzz::shape_of(kind, weight, rank, any));
    if (!names.insert(name).second) continue;
    Tensor tensor =
        is_floating(type) ? from_f32(values, type) : Tensor::zeros(values.shape(), type);
    source.add(name, std::move(tensor));
  }
  return std::make_shared<const testing::MemorySource>(std::move(source));
}

/// The header reaches to the last brace; the data is as long as it is.
std::shared_ptr<const weights::Source> file_of(std::span<const std::uint8_t> text) {
  std::size_t header = text.size();
  while (header > 0 && text[header - 1] != '}') --header;
  std::vector<std::byte> bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(header >> (8 * i) & 0xff));
  const auto rest = std::as_bytes(text);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return weights::open_safetensors(weights::Blob::of(std::move(bytes), "fuzz"));
}

void change_weights(const lora::BoundAdapter& adapter, std::span<const lora::Component> components,
                    bool is_small) {
  constexpr std::int64_t kMostRank = 4096;  // ΔW costs rank · weight
  for (const lora::BoundModule& module : adapter.modules) {
    if (module.delta->rank() > kMostRank) continue;
    const auto pristine = [&] { return lora::pristine_weight(*module.placement, components); };
    const Tensor change = module.delta->weight_change(pristine, 0.75f, 0);
    const auto& target = components[static_cast<std::size_t>(module.target.component)]
                             .modules[static_cast<std::size_t>(module.target.layer)];
    if (change.defined() && change.shape() != target.weight && module.delta->remark().empty())
      broken(fmt::format("the change of {} is {}, its weight {}", module.placement->path,
                         change.shape().to_string(), target.weight.to_string()));
    const std::string rule = is_small ? fuzz::broken_rule(*module.delta, pristine) : std::string();
    if (!rule.empty())
      broken(fmt::format("\"{}\" on {}: {}", module.tensor, module.placement->path, rule));
    module.delta->bias_change([&] { return pristine_bias(*module.placement, components); }, -2);
  }
}

/// A file beside itself: the same on every layer.
void compare_with_itself(const lora::tools::Account& account) {
  const std::vector both(2, account.bound);
  for (const auto& layer : lora::tools::compare(both, *account.names).layers) {
    const double own = layer.gram.at(0, 0), shared = layer.gram.at(0, 1);
    if (std::abs(own - shared) > 1e-4 * std::max(1.0, own))
      broken(fmt::format("{}: its squares are {}, beside itself {}", layer.name, own, shared));
  }
}

/// Far beyond any rounding of what a tensor of `type` holds, far below a part lost or taken twice.
double tolerance(DType type, double largest) {
  constexpr double kRoundings = 256;
  return kRoundings * std::ldexp(std::max(1.0, largest), type == DType::f32 ? -23 : -7);
}

[[noreturn]] void is_another(const lora::tools::Account& actual,
                             const lora::tools::Account& expected, std::string_view difference) {
  list_tensors("the file", expected);
  list_tensors("its conversion", actual);
  broken(fmt::format("the conversion {}", difference));
}

void require_same(const lora::tools::Account& actual, const lora::tools::Account& expected,
                  DType type) {
  const auto before = testing::changes_of(expected);
  if (before.empty()) return;
  if (actual.bound == nullptr) is_another(actual, expected, "is refused: " + actual.refusal);
  const auto after = testing::changes_of(actual);
  for (const auto& [part, change] : before) {
    const auto same = after.find(part);
    const auto& path = expected.names->components[static_cast<std::size_t>(part.first.component)]
                           .modules[static_cast<std::size_t>(part.first.layer)]
                           .path;
    if (same == after.end()) is_another(actual, expected, "does nothing to " + path);
    double largest = 0;
    for (const float value : change.floats()) largest = std::max<double>(largest, std::abs(value));
    for (std::int64_t i = 0; i < change.count(); ++i) {
      const double difference = static_cast<double>(same->second.data<float>()[i]) -
                                static_cast<double>(change.data<float>()[i]);
      if (std::abs(difference) <= tolerance(type, largest)) continue;
      is_another(
          actual, expected,
          fmt::format("does something else to {}{}: {} for {}", path, part.second ? "'s bias" : "",
                      same->second.data<float>()[i], change.data<float>()[i]));
    }
  }
}

/// What we write, we read, and it does the same.
void convert_as(unsigned what, const lora::tools::Account& account, bool is_comparable) {
  using lora::tools::Form;
  constexpr Form kForms[] = {Form::kohya, Form::diffusers, Form::comfy};
  const unsigned form = what & fuzz::kFormBits;
  if (form == std::size(kForms)) return;
  const bool is_fitted = (what & fuzz::kIsFitted) != 0;
  const lora::tools::Conversion converted =
      lora::tools::convert(account, {.form = kForms[form],
                                     .type = {},
                                     .fold_alpha = (what & fuzz::kIsFolded) != 0,
                                     .dense = (what & fuzz::kIsDense) != 0,
                                     .rank = is_fitted ? 2 : 0,
                                     .drop_unknown = true});
  std::vector<std::byte> header =
      weights::safetensors_header(converted.tensors, converted.metadata);
  std::uint64_t whole = header.size();
  for (const weights::NamedTensor& tensor : converted.tensors) whole += tensor.tensor.byte_size();
  weights::open_safetensors_header(weights::Blob::of(std::move(header), "converted"), whole);
  if (is_fitted || !is_comparable) return;

  testing::MemorySource source;
  DType coarsest = DType::f32;
  for (const weights::NamedTensor& tensor : converted.tensors) {
    if (tensor.tensor.dtype() == DType::f8_e4m3) return;  // a folded alpha may round to nothing
    if (tensor.tensor.dtype() != DType::f32) coarsest = DType::bf16;
    source.add(tensor.name, tensor.tensor);
  }
  for (const auto& [key, value] : converted.metadata) source.set_metadata(key, value);
  const auto file = lora::AdapterFile::from_source(
      std::make_shared<const testing::MemorySource>(std::move(source)), "converted.safetensors");
  require_same(lora::tools::account_for(file, account.names, false), account, coarsest);
}

}  // namespace

/// The models' names take seconds under the sanitizers: not on any input's account. Small inputs
/// are not worth waking threads for.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  ::setenv("OMP_NUM_THREADS", "1", 0);
  fuzz::small_families();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size <= fuzz::kChoiceBytes) return 0;
  const auto& families = fuzz::small_families();
  const fuzz::SmallFamily& family = families[(data[0] & fuzz::kFamilyBits) % families.size()];
  const std::vector<std::string>& dialect =
      family.spellings[std::min<std::size_t>(data[1], family.spellings.size() - 1)];
  const unsigned what = data[2];
  const std::span rest(data + fuzz::kChoiceBytes, size - fuzz::kChoiceBytes);
  try {
    const bool is_file = (data[0] & fuzz::kIsFile) != 0;
    const auto source = is_file ? file_of(rest)
                                : list_of(Bytes(rest), *family.names->index,
                                          dialect.empty() ? family.spellings.back() : dialect);
    const auto file = lora::AdapterFile::from_source(source, "fuzz.safetensors");
    const lora::tools::Account account = lora::tools::account_for(file, family.names, true);
    if (account.report.tensors.size() != source->tensors().size())
      broken(fmt::format("{} tensors, {} in the account", source->tensors().size(),
                         account.report.tensors.size()));
    if (account.bound == nullptr) return 0;
    if ((what & fuzz::kIsApplied) != 0) {
      change_weights(*account.bound, family.names->components, !is_file);
      if (!is_file) compare_with_itself(account);
    }
    convert_as(what, account, !is_file);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) broken(error.what());  // ours, not the file's
  }
  return 0;
}
