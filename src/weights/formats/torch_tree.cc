#include "weights/formats/torch_tree.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "base/error.h"

namespace velatura::weights {

namespace {

using pickle::Document;
using pickle::Kind;
using pickle::kNoNode;
using pickle::Node;
using pickle::NodeId;

// Bounds of a tree: far above real checkpoints, small enough that a hostile one ends soon.
constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxVisits = 2'000'000;
constexpr std::size_t kMaxNameBytes = 1024;
/// A view with zero strides is larger than its storage; beyond this it is no checkpoint.
constexpr std::uint64_t kMaxExpandedBytes = 64 << 20;

struct NamedType {
  std::string_view name;
  DType type;
};

constexpr std::array kStorageTypes = {NamedType{"DoubleStorage", DType::f64},
                                      NamedType{"FloatStorage", DType::f32},
                                      NamedType{"HalfStorage", DType::f16},
                                      NamedType{"BFloat16Storage", DType::bf16},
                                      NamedType{"LongStorage", DType::i64},
                                      NamedType{"IntStorage", DType::i32},
                                      NamedType{"ShortStorage", DType::i16},
                                      NamedType{"CharStorage", DType::i8},
                                      NamedType{"ByteStorage", DType::u8},
                                      NamedType{"BoolStorage", DType::boolean},
                                      NamedType{"UntypedStorage", DType::u8},
                                      NamedType{"Float8_e4m3fnStorage", DType::f8_e4m3},
                                      NamedType{"Float8_e5m2Storage", DType::f8_e5m2}};

constexpr std::array kElementTypes = {NamedType{"torch.float64", DType::f64},
                                      NamedType{"torch.float32", DType::f32},
                                      NamedType{"torch.float16", DType::f16},
                                      NamedType{"torch.bfloat16", DType::bf16},
                                      NamedType{"torch.float8_e4m3fn", DType::f8_e4m3},
                                      NamedType{"torch.float8_e5m2", DType::f8_e5m2},
                                      NamedType{"torch.int64", DType::i64},
                                      NamedType{"torch.int32", DType::i32},
                                      NamedType{"torch.int16", DType::i16},
                                      NamedType{"torch.int8", DType::i8},
                                      NamedType{"torch.uint8", DType::u8},
                                      NamedType{"torch.bool", DType::boolean}};

/// Containers and builders of tensors: what a tree may name. None of them is ever called; their
/// meaning is written out below.
constexpr std::array<std::string_view, 19> kTreeGlobals = {
    "collections.OrderedDict",
    "collections.defaultdict",
    "builtins.dict",
    "__builtin__.dict",
    "builtins.list",
    "__builtin__.list",
    "_codecs.encode",
    "torch.Size",
    "torch.device",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.nn.modules.container.ParameterDict",
    "torch.nn.modules.container.ParameterList",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._tensor._rebuild_from_type_v2"};

template <std::size_t N>
std::optional<DType> type_named(const std::array<NamedType, N>& types, std::string_view name) {
  for (const NamedType& entry : types) {
    if (entry.name == name) return entry.type;
  }
  return std::nullopt;
}

/// "torch.HalfStorage", "torch.cuda.HalfStorage", "torch.storage.UntypedStorage" → "HalfStorage" …
std::optional<DType> storage_type(std::string_view global) {
  for (const std::string_view module : {"torch.storage.", "torch.cuda.", "torch."}) {
    if (global.starts_with(module)) return type_named(kStorageTypes, global.substr(module.size()));
  }
  return std::nullopt;
}

bool may_stand_in_tree(std::string_view global) {
  return std::find(kTreeGlobals.begin(), kTreeGlobals.end(), global) != kTreeGlobals.end() ||
         type_named(kElementTypes, global).has_value() || storage_type(global).has_value();
}

/// One tuple of a persistent id: ("storage", type, key, location, elements[, view of it]).
struct StorageId {
  std::string key;
  DType type = DType::u8;
  std::uint64_t count = 0;
  std::uint64_t view_offset = 0;
};

StorageId read_storage_id(const Document& document, const Node& persistent,
                          const std::string& file) {
  const Node& id = document[persistent.items[0]];
  const auto refuse = [&](const char* what) {
    fail(ErrorKind::bad_file, "\"{}\": a storage of the pickle {}", file, what);
  };
  if (id.kind != Kind::tuple || id.items.size() < 5 || document[id.items[0]].text != "storage") {
    refuse("is not described as torch does (\"storage\", type, key, location, count)");
  }
  const Node& type = document[id.items[1]];
  const Node& key = document[id.items[2]];
  const Node& count = document[id.items[4]];
  if (type.kind != Kind::global || key.kind != Kind::text || key.text.size() > kMaxNameBytes ||
      count.kind != Kind::integer || count.big || count.integer < 0) {
    refuse("has a type, key or count of the wrong kind");
  }
  const std::optional<DType> element = storage_type(type.text);
  if (!element) {
    fail(ErrorKind::unsupported, "\"{}\": storage \"{}\" has the type {}, which is not supported",
         file, key.text, type.text);
  }
  StorageId result{std::string(key.text), *element, static_cast<std::uint64_t>(count.integer), 0};
  if (id.items.size() > 5 &&
      document[id.items[5]].kind == Kind::tuple) {  // legacy: (key, offset, count) of a view
    const Node& view = document[id.items[5]];
    if (view.items.size() < 2 || document[view.items[1]].kind != Kind::integer ||
        document[view.items[1]].integer < 0) {
      refuse("is a view without an offset");
    }
    result.view_offset = static_cast<std::uint64_t>(document[view.items[1]].integer);
  }
  return result;
}

class TreeReader {
 public:
  TreeReader(const Document& document, const std::map<std::string, StorageInfo>& storages,
             const std::string& file)
      : document_(document), storages_(storages), file_(file) {}

  TensorTree read() {
    NodeId root = document_.root;
    if (is_mapping(root)) {
      for (const auto& [key, value] : pairs(root)) {
        if (document_[key].kind == Kind::text && document_[key].text == "state_dict" &&
            is_mapping(value))
          root = value;
      }
      if (root != document_.root) {
        for (const auto& [key, value] : pairs(document_.root)) {
          if (document_[key].kind == Kind::text && document_[key].text.size() <= kMaxNameBytes) {
            scalar(value, std::string(document_[key].text));
          }
        }
      }
    }
    check_globals(root);
    visit(root, "", 0);
    return std::move(tree_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void refuse(std::string_view path, fmt::format_string<Args...> format,
                           Args&&... args) const {
    fail(ErrorKind::bad_file, "\"{}\": \"{}\" of the pickle {}", file_, path.substr(0, 200),
         fmt::format(format, std::forward<Args>(args)...));
  }

  std::string_view callee(const Node& call) const {
    const Node& node = document_[call.items[0]];
    return node.kind == Kind::global ? node.text : std::string_view();
  }
  const std::vector<NodeId>& arguments(const Node& call) const {
    return document_[call.items[1]].items;
  }

  bool is_mapping(NodeId id) const {
    const Node& node = document_[id];
    if (node.kind == Kind::dict) return true;
    if (node.kind != Kind::call) return false;
    const std::string_view name = callee(node);
    return name == "collections.OrderedDict" || name == "collections.defaultdict" ||
           name.ends_with(".dict");
  }
  std::vector<std::pair<NodeId, NodeId>> pairs(NodeId id) const {
    const Node& node = document_[id];
    std::vector<std::pair<NodeId, NodeId>> result;
    if (node.kind == Kind::call) {  // Python 2 wrote OrderedDict([[key, value], …])
      for (const NodeId argument : arguments(node)) {
        if (document_[argument].kind != Kind::list) continue;
        for (const NodeId item : document_[argument].items) {
          if (document_[item].items.size() == 2)
            result.emplace_back(document_[item].items[0], document_[item].items[1]);
        }
      }
    }
    const std::vector<NodeId>& flat = node.kind == Kind::call ? node.extra : node.items;
    for (std::size_t i = 0; i + 1 < flat.size(); i += 2) result.emplace_back(flat[i], flat[i + 1]);
    return result;
  }

  /// Everything the tree reaches, arguments and states included, names nothing foreign.
  void check_globals(NodeId root) const {
    std::vector<bool> seen(document_.nodes.size());
    std::vector<NodeId> open = {root};
    for (std::size_t next = 0; next < open.size(); ++next) {
      const Node& node = document_[open[next]];
      if (node.kind == Kind::global && !may_stand_in_tree(node.text)) {
        fail(ErrorKind::bad_file,
             "\"{}\": the tensors of this pickle need the Python object {}, which does not belong "
             "to "
             "a checkpoint and is never loaded; use a safetensors version of the file",
             file_, node.text);
      }
      const auto reach = [&](NodeId id) {
        if (!seen[id]) open.push_back(id);
        seen[id] = true;
      };
      for (const NodeId id : node.items) reach(id);
      for (const NodeId id : node.extra) reach(id);
      if (is_parameter_container(node)) {
        reach_parameters(node, reach);
      } else if (node.state != kNoNode) {
        reach(node.state);
      }
    }
  }

  /// torch's ParameterDict and ParameterList: modules, whose state holds much beside the
  /// parameters.
  bool is_parameter_container(const Node& node) const {
    return node.kind == Kind::call && callee(node).starts_with("torch.nn.modules.container.") &&
           node.state != kNoNode && is_mapping(node.state);
  }
  template <typename Visit>
  void reach_parameters(const Node& container, const Visit& visit_value) const {
    for (const auto& [key, value] : pairs(container.state)) {
      if (document_[key].text == "_parameters") visit_value(value);
    }
  }

  void visit(NodeId id, const std::string& path, int depth) {
    if (depth > kMaxDepth) refuse(path, "nests deeper than {} levels", kMaxDepth);
    if (++visits_ > kMaxVisits) refuse(path, "is one of more than {} values", kMaxVisits);
    const Node& node = document_[id];
    if (scalar(id, path)) return;
    if (is_mapping(id)) {
      for (const auto& [key, value] : pairs(id)) visit(value, join(path, key), depth + 1);
    } else if (node.kind == Kind::list || node.kind == Kind::tuple) {
      for (std::size_t i = 0; i < node.items.size(); ++i)
        visit(node.items[i], join(path, std::to_string(i)), depth + 1);
    } else if (node.kind == Kind::call) {
      visit_call(node, path, depth);
    }
  }
  void visit_call(const Node& call, const std::string& path, int depth) {
    const std::string_view name = callee(call);
    const std::vector<NodeId>& args = arguments(call);
    if (name.starts_with("torch._utils._rebuild_tensor")) {
      tensor(name, args, path);
    } else if (name.starts_with("torch._utils._rebuild_parameter")) {
      if (args.empty()) refuse(path, "is a parameter without a tensor");
      visit(args[0], path, depth + 1);
    } else if (name ==
               "torch._tensor._rebuild_from_type_v2") {  // (builder, class, its arguments, state)
      if (args.size() < 3 || document_[args[2]].kind != Kind::tuple)
        refuse(path, "is a tensor without arguments");
      tensor(document_[args[0]].text, document_[args[2]].items, path);
    } else if (is_parameter_container(call)) {
      reach_parameters(call, [&](NodeId value) { visit(value, path, depth + 1); });
    }
  }

  /// Records numbers and texts; false for anything else.
  bool scalar(NodeId id, const std::string& path) {
    const Node& node = document_[id];
    std::string text;
    switch (node.kind) {
      case Kind::none:
        return true;
      case Kind::boolean:
        text = node.integer != 0 ? "true" : "false";
        break;
      case Kind::integer:
        if (node.big) return true;
        text = std::to_string(node.integer);
        break;
      case Kind::real:
        text = fmt::format("{}", node.real);
        break;
      case Kind::text:
        if (node.text.size() > kMaxNameBytes) return true;
        text = node.text;
        break;
      default:
        return false;
    }
    tree_.scalars.emplace(path, std::move(text));
    return true;
  }

  std::string join(const std::string& path, NodeId key) const {
    const Node& node = document_[key];
    if (node.kind == Kind::integer && !node.big) return join(path, std::to_string(node.integer));
    if (node.kind != Kind::text) refuse(path, "has a key that is neither text nor number");
    if (node.text.size() > kMaxNameBytes) refuse(path, "has a key of {} bytes", node.text.size());
    return join(path, std::string(node.text));
  }
  std::string join(const std::string& path, const std::string& name) const {
    std::string result = path.empty() ? name : path + "." + name;
    if (result.size() > kMaxNameBytes)
      refuse(path, "has a name of more than {} bytes", kMaxNameBytes);
    return result;
  }

  void tensor(std::string_view builder, const std::vector<NodeId>& args, const std::string& path) {
    if (args.size() < 4 || document_[args[0]].kind != Kind::persistent)
      refuse(path, "is a tensor without a storage");
    const StorageId id = read_storage_id(document_, document_[args[0]], file_);
    TensorView view{.info = {.name = path.empty() ? "tensor" : path, .shape = {}, .dtype = id.type},
                    .storage = id.key};
    if (builder == "torch._utils._rebuild_tensor_v3") {
      const std::optional<DType> type =
          args.size() < 7 ? std::nullopt : type_named(kElementTypes, document_[args[6]].text);
      if (!type) refuse(path, "has an element type that is not supported");
      view.info.dtype = *type;
    }
    const std::vector<std::int64_t> offset = integers({args[1]}, path);
    const std::vector<std::int64_t> extents = integers(sequence(args[2], path), path);
    view.strides = integers(sequence(args[3], path), path);
    if (view.strides.size() != extents.size())
      refuse(path, "has {} extents and {} strides", extents.size(), view.strides.size());
    view.info.shape = shape_of(extents, path);
    if (__builtin_add_overflow(static_cast<std::uint64_t>(offset[0]), id.view_offset,
                               &view.offset)) {
      refuse(path, "begins beyond its storage");
    }
    check_inside_storage(view);
    if (!names_.insert(view.info.name).second) refuse(path, "appears twice");
    tree_.tensors.push_back(std::move(view));
  }

  Shape shape_of(const std::vector<std::int64_t>& extents, std::string_view path) const {
    try {
      const Shape shape(extents);
      shape.count();
      return shape;
    } catch (const Error& error) {
      refuse(path, "has an impossible shape: {}", error.what());
    }
  }

  void check_inside_storage(const TensorView& view) const {
    const std::string& path = view.info.name;
    const std::uint64_t width = size_of(view.info.dtype);
    const std::uint64_t elements = storages_.at(view.storage).bytes / width;
    const auto count = static_cast<std::uint64_t>(view.info.shape.count());
    std::uint64_t last = view.offset;
    for (int axis = 0; count > 0 && axis < view.info.shape.rank(); ++axis) {
      std::uint64_t reach = 0;
      if (__builtin_mul_overflow(
              static_cast<std::uint64_t>(view.info.shape[axis] - 1),
              static_cast<std::uint64_t>(view.strides[static_cast<std::size_t>(axis)]), &reach) ||
          __builtin_add_overflow(last, reach, &last)) {
        refuse(path, "has strides beyond 64 bits");
      }
    }
    if (count > 0 ? last >= elements : view.offset > elements) {
      refuse(path, "of shape {} reaches element {} of a storage of {}", view.info.shape.to_string(),
             last, elements);
    }
    if (count > elements && count > kMaxExpandedBytes / width) {
      refuse(path, "expands {} elements to {}", elements, view.info.shape.to_string());
    }
  }

  const std::vector<NodeId>& sequence(NodeId id, std::string_view path) const {
    const Node* node = &document_[id];
    if (node->kind == Kind::call && callee(*node) == "torch.Size" && arguments(*node).size() == 1) {
      node = &document_[arguments(*node)[0]];
    }
    if (node->kind != Kind::tuple && node->kind != Kind::list)
      refuse(path, "has a shape that is no list of numbers");
    return node->items;
  }
  std::vector<std::int64_t> integers(const std::vector<NodeId>& ids, std::string_view path) const {
    if (ids.size() > Shape::kMaxRank)
      refuse(path, "has {} axes, at most {} are possible", ids.size(), Shape::kMaxRank);
    std::vector<std::int64_t> values;
    for (const NodeId id : ids) {
      const Node& node = document_[id];
      if (node.kind != Kind::integer || node.big || node.integer < 0)
        refuse(path, "has an extent, stride or offset that is no natural number");
      values.push_back(node.integer);
    }
    return values;
  }

  const Document& document_;
  const std::map<std::string, StorageInfo>& storages_;
  const std::string& file_;
  TensorTree tree_;
  std::set<std::string> names_;
  std::size_t visits_ = 0;
};

}  // namespace

bool TensorView::contiguous() const {
  std::int64_t expected = 1;
  for (int axis = info.shape.rank(); axis-- > 0;) {
    if (info.shape[axis] != 1 && strides[static_cast<std::size_t>(axis)] != expected) return false;
    expected *= info.shape[axis];
  }
  return true;
}

std::map<std::string, StorageInfo> storages_of(const Document& document, const std::string& file) {
  std::map<std::string, StorageInfo> storages;
  for (const Node& node : document.nodes) {
    if (node.kind != Kind::persistent) continue;
    const StorageId id = read_storage_id(document, node, file);
    StorageInfo info{.bytes = 0, .type = id.type};
    if (__builtin_mul_overflow(id.count, std::uint64_t{size_of(id.type)}, &info.bytes)) {
      fail(ErrorKind::bad_file, "\"{}\": storage \"{}\" claims {} elements", file, id.key,
           id.count);
    }
    const auto [known, added] = storages.emplace(id.key, info);
    if (!added && (known->second.bytes != info.bytes || known->second.type != info.type)) {
      fail(ErrorKind::bad_file,
           "\"{}\": storage \"{}\" is declared twice, with different sizes or types", file, id.key);
    }
  }
  return storages;
}

TensorTree read_tensor_tree(const Document& document,
                            const std::map<std::string, StorageInfo>& storages,
                            const std::string& file) {
  return TreeReader(document, storages, file).read();
}

}  // namespace velatura::weights
