#include "backend/cpu/dnnl/primitives.h"

#include <omp.h>

#include <functional>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "backend/cpu/dnnl/api.h"
#include "backend/cpu/weight_forms.h"
#include "base/error.h"

namespace velatura::backend::cpu {

namespace {

using dnnl::memory;

/// FNV-1a over the fields of a specification.
class Hash {
 public:
  Hash& add(std::int64_t value) {
    for (int shift = 0; shift < 64; shift += 16) {
      state_ = (state_ ^ static_cast<std::uint64_t>((value >> shift) & 0xffff)) * 0x100000001b3u;
    }
    return *this;
  }
  std::size_t value() const { return static_cast<std::size_t>(state_); }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325u;
};

std::size_t hash_of(const ProductSpec& s) {
  return Hash()
      .add(static_cast<int>(s.type))
      .add(s.rows)
      .add(s.in)
      .add(s.out)
      .add(static_cast<int>(s.activation))
      .add(s.bias | s.column_scales << 1 | s.residual << 2 | s.accumulate << 3)
      .value();
}

std::size_t hash_of(const ConvolutionSpec& s) {
  return Hash()
      .add(static_cast<int>(s.type))
      .add(s.batch)
      .add(s.height)
      .add(s.width)
      .add(s.in)
      .add(s.out_height)
      .add(s.out_width)
      .add(s.out)
      .add(s.kernel_height << 32 | s.kernel_width)
      .add(s.stride)
      .add(s.pad_top << 24 | s.pad_left << 16 | s.pad_bottom << 8 | s.pad_right)
      .add(static_cast<int>(s.activation))
      .add(s.bias | s.column_scales << 1 | s.residual << 2)
      .value();
}

/// oneDNN partitions a primitive's work for a number of threads when it is made.
template <typename Spec>
struct Key {
  Spec spec;
  int threads;
  bool operator==(const Key&) const = default;
};

template <typename Spec>
struct KeyHash {
  std::size_t operator()(const Key<Spec>& key) const {
    return hash_of(key.spec) * 31 + static_cast<std::size_t>(key.threads);
  }
};

/// Specification → prepared primitive; entries stay for the life of the process.
template <typename Spec, typename Prepared>
class Cache {
 public:
  std::shared_ptr<const Prepared> get(const Spec& spec,
                                      const std::function<Prepared(const Spec&)>& make) {
    const Key<Spec> key{spec, omp_get_max_threads()};
    {
      const std::shared_lock lock(mutex_);
      if (const auto found = prepared_.find(key); found != prepared_.end()) return found->second;
    }
    auto fresh = std::make_shared<const Prepared>(make(spec));
    const std::unique_lock lock(mutex_);
    return prepared_.emplace(key, std::move(fresh)).first->second;
  }

 private:
  std::shared_mutex mutex_;
  std::unordered_map<Key<Spec>, std::shared_ptr<const Prepared>, KeyHash<Spec>> prepared_;
};

struct PreparedProduct {
  dnnl::matmul primitive;
  memory::desc x, weight, bias, vector, y, scratch;
};

struct PreparedConvolution {
  dnnl::convolution_forward primitive;
  memory::desc x, weight, bias, vector, y, scratch;
};

const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

memory::data_type type_of(DType type) {
  return type == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

void append_activation(dnnl::post_ops& ops, ops::Activation activation) {
  using dnnl::algorithm;
  using ops::Activation;
  switch (activation) {
    case Activation::none:
      return;
    case Activation::silu:
      return api::append_eltwise(ops, algorithm::eltwise_swish, 1.0f);
    case Activation::quick_gelu:
      return api::append_eltwise(ops, algorithm::eltwise_swish, 1.702f);
    case Activation::gelu:
      return api::append_eltwise(ops, algorithm::eltwise_gelu_erf, 0.0f);
    case Activation::relu:
      return api::append_eltwise(ops, algorithm::eltwise_relu, 0.0f);
    case Activation::leaky_relu:
      return api::append_eltwise(ops, algorithm::eltwise_relu, 0.2f);
  }
}

/// Post-operations run in the order of the header's formula.
dnnl::primitive_attr attributes_of(ops::Activation activation, const memory::desc* column_scales,
                                   const memory::desc* residual, bool accumulate) {
  dnnl::post_ops ops;
  append_activation(ops, activation);
  if (column_scales) ops.append_binary(dnnl::algorithm::binary_mul, *column_scales);
  if (residual) ops.append_binary(dnnl::algorithm::binary_add, *residual);
  if (accumulate) ops.append_sum(1.0f);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(ops);
  // The library's own scratchpad is not safe for two jobs at once.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

template <typename Make>
auto supported(const char* what, DType type, const Make& make) {
  try {
    return make();
  } catch (const dnnl::error& error) {
    fail(ErrorKind::unsupported,
         "{} in {} is not available on this CPU (oneDNN: {}); use --precision f32", what,
         to_string(type), error.what());
  }
}

PreparedProduct make_product(const ProductSpec& spec) {
  return supported("linear", spec.type, [&] {
    const auto type = type_of(spec.type);
    const memory::desc x({spec.rows, spec.in}, type, memory::dims{spec.in, 1});
    const memory::desc weight({spec.in, spec.out}, type, memory::dims{1, spec.in});
    const memory::desc y({spec.rows, spec.out}, type, memory::dims{spec.out, 1});
    const memory::desc vector({1, spec.out}, memory::data_type::f32, memory::dims{spec.out, 1});
    const memory::desc bias = spec.bias ? vector : memory::desc();
    const auto attributes = attributes_of(spec.activation, spec.column_scales ? &vector : nullptr,
                                          spec.residual ? &y : nullptr, spec.accumulate);
    const auto description = api::matmul(engine(), x, weight, bias, y, attributes);
    return PreparedProduct{dnnl::matmul(description),    x, weight, bias, vector, y,
                           description.scratchpad_desc()};
  });
}

PreparedConvolution make_convolution(const ConvolutionSpec& spec) {
  return supported("conv2d", spec.type, [&] {
    using tag = memory::format_tag;
    const auto type = type_of(spec.type);
    const memory::desc x({spec.batch, spec.in, spec.height, spec.width}, type, tag::nhwc);
    const memory::desc weight({spec.out, spec.in, spec.kernel_height, spec.kernel_width}, type,
                              tag::any);
    const memory::desc y({spec.batch, spec.out, spec.out_height, spec.out_width}, type, tag::nhwc);
    const memory::desc bias =
        spec.bias ? memory::desc({spec.out}, memory::data_type::f32, tag::a) : memory::desc();
    const memory::desc vector({1, spec.out, 1, 1}, memory::data_type::f32, tag::nhwc);
    const auto attributes = attributes_of(spec.activation, spec.column_scales ? &vector : nullptr,
                                          spec.residual ? &y : nullptr, false);
    const auto description = api::convolution(
        engine(), x, weight, bias, y, {spec.stride, spec.stride}, {spec.pad_top, spec.pad_left},
        {spec.pad_bottom, spec.pad_right}, attributes);
    return PreparedConvolution{
        dnnl::convolution_forward(description), x, description.weights_desc(), bias, vector, y,
        description.scratchpad_desc()};
  });
}

template <typename Prepared>
void execute(const Prepared& prepared, ops::Activation activation, bool column_scales,
             bool residual, const void* weight, const ProductArguments& arguments) {
  const auto view = [](const memory::desc& layout, const void* data) {
    return memory(layout, engine(), const_cast<void*>(data));
  };
  std::unordered_map<int, memory> values{{DNNL_ARG_SRC, view(prepared.x, arguments.x)},
                                         {DNNL_ARG_WEIGHTS, view(prepared.weight, weight)},
                                         {DNNL_ARG_DST, view(prepared.y, arguments.y)}};
  if (arguments.bias) values.emplace(DNNL_ARG_BIAS, view(prepared.bias, arguments.bias));
  int position = activation == ops::Activation::none ? 0 : 1;
  if (column_scales) {
    values.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(position++) | DNNL_ARG_SRC_1,
                   view(prepared.vector, arguments.column_scales));
  }
  if (residual) {
    values.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(position++) | DNNL_ARG_SRC_1,
                   view(prepared.y, arguments.residual));
  }
  if (const std::size_t size = prepared.scratch.get_size(); size > 0) {
    values.emplace(DNNL_ARG_SCRATCHPAD, view(prepared.scratch, thread_scratch(size)));
  }
  dnnl::stream stream(engine());
  prepared.primitive.execute(stream, values);
  stream.wait();
}

/// The weight in the layout the primitive chose, once a layout.
const void* packed(const ops::Weight& weight, const ConvolutionSpec& spec,
                   const memory::desc& layout) {
  const auto make = [&]() -> std::shared_ptr<const void> {
    const memory::desc plain({spec.out, spec.in, spec.kernel_height, spec.kernel_width},
                             type_of(spec.type), memory::format_tag::oihw);
    const Tensor values = in_type(weight.original(), spec.type);
    auto pages = std::make_shared<Pages>(layout.get_size());
    memory from(plain, engine(), const_cast<std::byte*>(values.bytes()));
    memory to(layout, engine(), pages->data());
    dnnl::stream stream(engine());
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
    return pages;
  };
  const auto form = weight.form("dnnl " + api::fingerprint(layout), make);
  return static_cast<const Pages*>(form.get())->data();
}

}  // namespace

void run_product(const ProductSpec& spec, const ProductArguments& arguments) {
  static Cache<ProductSpec, PreparedProduct> cache;
  const auto prepared = cache.get(spec, make_product);
  execute(*prepared, spec.activation, spec.column_scales, spec.residual, arguments.weight,
          arguments);
}

void run_convolution(const ConvolutionSpec& spec, const ops::Weight& weight,
                     const ProductArguments& arguments) {
  static Cache<ConvolutionSpec, PreparedConvolution> cache;
  const auto prepared = cache.get(spec, make_convolution);
  execute(*prepared, spec.activation, spec.column_scales, spec.residual,
          packed(weight, spec, prepared->weight), arguments);
}

}  // namespace velatura::backend::cpu
