// Reading a Python pickle (protocols 0 to 5, CPython Lib/pickletools.py) into inert values. Nothing
// is ever imported, called or constructed: a global is its name, a call is its callee and
// arguments. What the values mean to torch is in torch_tree.h.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::weights::pickle {

enum class Kind : std::uint8_t {
  none,
  boolean,  ///< integer
  integer,  ///< integer; beyond 64 bits: `text` holds the two's complement, little-endian, or its
            ///< digits
  real,     ///< real
  text,     ///< text, UTF-8 as far as the file is honest
  bytes,    ///< text
  tuple,    ///< items
  list,     ///< items
  dict,     ///< items: key, value, key, value …
  set,      ///< items
  global,   ///< text: "module.name"
  call,  ///< items: callee, then its arguments as one tuple; then whatever was appended or set on
         ///< it, in `extra`
  persistent,  ///< items: the one persistent id
};

/// Index of a node in its document; values are shared by index (and may be cyclic), so there is
/// nothing to free.
using NodeId = std::uint32_t;
constexpr NodeId kNoNode = 0xffffffffu;

struct Node {
  Kind kind = Kind::none;
  bool big = false;  ///< an integer beyond 64 bits
  std::int64_t integer = 0;
  double real = 0;
  std::string_view text;
  std::vector<NodeId> items;
  std::vector<NodeId> extra;  ///< of a call: list items or dict pairs added later
  NodeId state = kNoNode;     ///< what BUILD gave it
};

struct Document {
  std::deque<Node> nodes;
  std::deque<std::string>
      decoded;  ///< texts that differ from the file's bytes (escapes); the others point into them
  NodeId root = kNoNode;
  std::uint64_t length = 0;  ///< bytes up to and including STOP

  const Node& operator[](NodeId id) const { return nodes[id]; }
  const Node& top() const { return nodes[root]; }
};

/// Reads one pickle from the front of `bytes`, which must outlive the document. `file` is for
/// messages. Throws bad_file with the position; memory stays within a fixed multiple of the bytes
/// read and of kMaxNodes.
Document parse(std::span<const std::byte> bytes, const std::string& file);

constexpr std::uint64_t kMaxPickleBytes = 64 << 20;
constexpr std::size_t kMaxNodes = 4'000'000;

}  // namespace velatura::weights::pickle
