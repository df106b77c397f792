// Any bytes as an adapter on every family: parsed, grouped, hashed, bound, applied to the weights,
// converted; what comes of it is an account of every tensor, or an Error. The first byte chooses
// the family and whether the rest is a file as it is, or a list of modules, suffixes and shapes
// that are nearly right, which reaches what random bytes do not.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <set>
#include <span>

#include "lora/tools/convert.h"
#include "tests/fuzz/small_families.h"
#include "weights/blob.h"
#include "weights/formats/safetensors.h"

namespace {

using namespace velatura;

constexpr const char* kSuffixes[] = {".lora_down.weight",
                                     ".lora_up.weight",
                                     ".lora_mid.weight",
                                     ".lora_A.weight",
                                     ".lora_B.weight",
                                     ".lora_A.default.weight",
                                     ".lora_B.default.weight",
                                     ".lora_B.bias",
                                     "_lora.down.weight",
                                     "_lora.up.weight",
                                     ".lora.down.weight",
                                     ".lora.up.weight",
                                     ".lora_linear_layer.down.weight",
                                     ".lora_linear_layer.up.weight",
                                     ".down.weight",
                                     ".up.weight",
                                     ".lora_a",
                                     ".lora_b",
                                     ".alpha",
                                     ".scale",
                                     ".scalar",
                                     ".dora_scale",
                                     ".lora_magnitude_vector",
                                     ".magnitude",
                                     ".hada_w1_a",
                                     ".hada_w1_b",
                                     ".hada_w2_a",
                                     ".hada_w2_b",
                                     ".hada_t1",
                                     ".hada_t2",
                                     ".lokr_w1",
                                     ".lokr_w1_a",
                                     ".lokr_w1_b",
                                     ".lokr_w2",
                                     ".lokr_w2_a",
                                     ".lokr_w2_b",
                                     ".lokr_t1",
                                     ".lokr_t2",
                                     ".a1.weight",
                                     ".a2.weight",
                                     ".b1.weight",
                                     ".b2.weight",
                                     ".bm.weight",
                                     ".weight",
                                     ".on_input",
                                     ".ia3_l",
                                     ".oft_blocks",
                                     ".oft_blocks.0",
                                     ".oft_blocks.1",
                                     ".oft_diag",
                                     ".rescale",
                                     ".oft_R.weight",
                                     ".oft_R.scaled_oft",
                                     ".diff",
                                     ".diff_b",
                                     ".w_norm",
                                     ".b_norm",
                                     ".set_weight",
                                     ".reshape_weight",
                                     ".bias_indices",
                                     ".bias_values",
                                     ".bias_size",
                                     ".bias",
                                     ""};
constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16, DType::i64, DType::i16, DType::u8};

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

 private:
  std::span<const std::uint8_t> bytes_;
};

/// A shape that some role of some kind has on a weight, or nearly.
Shape shape_of(Bytes& bytes, const Shape& weight) {
  const std::int64_t rank = bytes.next() % 6, out = weight.rank() > 0 ? weight[0] : 1;
  const std::int64_t in = weight.rank() > 1 ? weight[1] : 1;
  const std::int64_t kernel = weight.rank() == 4 ? weight[2] : 1;
  const std::int64_t half = std::max<std::int64_t>(out / 2, 1), any = bytes.next() % 9;
  switch (bytes.next() % 16) {
    case 0:
      return {};
    case 1:
      return {1};
    case 2:
      return {out};
    case 3:
      return {rank, in};
    case 4:
      return {out, rank};
    case 5:
      return weight;
    case 6:
      return {rank, in, kernel, kernel};
    case 7:
      return {out, rank, 1, 1};
    case 8:
      return {rank, rank, kernel, kernel};
    case 9:
      return {out, 1};
    case 10:
      return {1, in};
    case 11:
      return {2, half, half};
    case 12:
      return {rank, in * kernel * kernel};
    case 13:
      return {any, rank};
    case 14:
      return {half, std::max<std::int64_t>(in / 2, 1)};
    default:
      return {any, any, any};
  }
}

std::shared_ptr<const weights::Source> made_of(Bytes bytes, const fuzz::SmallFamily& family) {
  testing::MemorySource source;
  std::set<std::string> names;
  constexpr int kMostTensors = 48;
  std::string module = family.spellings.front();
  Shape weight;
  for (int i = 0; i < kMostTensors && !bytes.empty(); ++i) {
    if (const unsigned high = bytes.next(); high != 0 || i == 0) {  // 0: the same module goes on
      module = family.spellings[(high * 256 + bytes.next()) * 131 % family.spellings.size()];
      const auto* entry = family.names->index->find(module);
      weight = entry == nullptr ? Shape{3, 5} : entry->placement->weight;
    }
    const std::string name = module + kSuffixes[bytes.next() % std::size(kSuffixes)];
    const DType type = kTypes[bytes.next() % std::size(kTypes)];
    const Tensor values = fuzz::pattern(shape_of(bytes, weight));
    if (!names.insert(name).second) continue;
    Tensor tensor =
        is_floating(type) ? from_f32(values, type) : Tensor::zeros(values.shape(), type);
    source.add(name, std::move(tensor));
  }
  return std::make_shared<const testing::MemorySource>(std::move(source));
}

void change_weights(const lora::BoundAdapter& adapter,
                    std::span<const lora::Component> components) {
  constexpr std::int64_t kMostRank = 4096;  // ΔW costs rank · weight
  for (const lora::BoundModule& module : adapter.modules) {
    if (module.delta->rank() > kMostRank) continue;
    const auto pristine = [&] { return lora::pristine_weight(*module.placement, components); };
    const Tensor change = module.delta->weight_change(pristine, 0.75f, 0);
    const auto& target = components[static_cast<std::size_t>(module.target.component)]
                             .modules[static_cast<std::size_t>(module.target.layer)];
    if (change.defined() && change.shape() != target.weight && module.delta->remark().empty())
      std::abort();
    module.delta->bias_change(-2);
  }
}

}  // namespace

/// The models' names take seconds under the sanitizers: not on any input's account.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  fuzz::small_families();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto& families = fuzz::small_families();
  const fuzz::SmallFamily& family = families[data[0] % families.size()];
  const std::span rest(data + 1, size - 1);
  try {
    const auto bytes = std::as_bytes(rest);
    const auto source =
        (data[0] & 0x80) == 0
            ? made_of(Bytes(rest), family)
            : weights::open_safetensors(weights::Blob::of({bytes.begin(), bytes.end()}, "fuzz"));
    const auto file = lora::AdapterFile::from_source(source, "fuzz.safetensors");
    const lora::tools::Account account = lora::tools::account_for(file, family.names, true);
    if (account.report.tensors.size() != source->tensors().size()) std::abort();
    if (account.bound == nullptr) return 0;
    change_weights(*account.bound, family.names->components);
    // One form an input: each lists a whole model's names.
    constexpr lora::tools::Form kForms[] = {lora::tools::Form::kohya, lora::tools::Form::diffusers,
                                            lora::tools::Form::comfy};
    lora::tools::convert(account, {.form = kForms[size % std::size(kForms)], .drop_unknown = true});
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) std::abort();  // our own mistake, not the file's
  }
  return 0;
}
